"""What is kept of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from backend.chat.events import Closing

TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation of one owner; times are ISO 8601 UTC with microseconds, so they sort as text."""

    owner: str
    session_id: str
    title: str | None
    model: str | None
    system: str | None
    created_at: str
    updated_at: str
    message_count: int = 0


class Changes(TypedDict, total=False):
    """What an owner may change of a session."""

    title: str | None
    model: str | None
    system: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. An answer's `status` is the state its stream ended in and `closing` says how; a
    question's is `done`. `tokens` counts an answer's text pieces. `parent_id` is the message it comes after:
    of an answer its question; None where a conversation begins."""

    id: str
    role: str
    content: str
    status: str
    created_at: str
    model: str | None = None
    tokens: int | None = None
    stream_id: str | None = None
    closing: Closing | None = None
    parent_id: str | None = None


def title_from(question: str) -> str:
    """A title made of a question's first line, cut at a word."""
    line = " ".join(question.strip().partition("\n")[0].split())
    if len(line) <= TITLE_CHARS:
        return line
    return line[: TITLE_CHARS - 1].rsplit(" ", 1)[0] + "…"
