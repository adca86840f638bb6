"""Sessions and messages as JSON fields, as a page of a list, and as downloads."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from typing import Any

from backend.chat.errors import InvalidRequest
from backend.chat.log import Log
from backend.chat.sessions import Message, Session
from backend.wire.chat import ending_fields


def summary_fields(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "title": session.title,
        "model": session.model,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "message_count": session.message_count,
    }


def session_fields(session: Session, messages: Sequence[Message], live: Log | None) -> dict[str, Any]:
    """The session with these of its messages, and the answer it is giving now."""
    return {
        **summary_fields(session),
        "system": session.system,
        "messages": [message_fields(message) for message in messages],
        "live_stream": live_fields(live),
    }


def live_fields(live: Log | None) -> dict[str, Any] | None:
    """The answer a session is giving now."""
    if live is None:
        return None
    header = live.header
    return {"stream_id": header.stream_id, "count": live.count, "question_id": header.question_id}


def message_fields(message: Message) -> dict[str, Any]:
    fields = {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        "status": message.status,
        "model": message.model,
        "tokens": message.tokens,
        "created_at": message.created_at,
    }
    if message.stream_id is not None:
        fields["stream_id"] = message.stream_id
    return {**fields, **ending_fields(message.closing)} if message.closing else fields


def write_cursor(last: Session) -> str:
    """Where the next page begins."""
    return base64.urlsafe_b64encode(f"{last.updated_at} {last.session_id}".encode()).decode()


def read_cursor(text: str | None) -> tuple[str, str] | None:
    """(updated_at, session_id) of the last one seen. Raises InvalidRequest."""
    if text is None:
        return None
    try:
        updated_at, session_id = base64.urlsafe_b64decode(text).decode("ascii").split(" ")
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest("cursor must be the next_cursor of a page before") from exc
    return updated_at, session_id


def markdown(session: Session, messages: Sequence[Message]) -> str:
    """A session to read: a heading a message, then its text. Where several come after the same one, each says
    which version it is."""
    parts = [f"# {' '.join((session.title or '').split()) or 'Untitled'}"]
    if session.system:
        parts += ["## System", session.system]
    versions = Counter(message.parent_id for message in messages)
    seen = Counter[str | None]()
    for message in messages:
        place, count = message.parent_id, versions[message.parent_id]
        seen[place] += 1
        version = f", version {seen[place]} of {count}" if count > 1 else ""
        ending = "" if message.status == "done" else f" ({message.status})"
        heading = f"## {message.role.capitalize()}{version}{ending}"
        parts += [heading, f"*{message.created_at}*", message.content]
    return "\n\n".join(parts) + "\n"
