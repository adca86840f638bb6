"""The chat API's events over Socket.IO: their payloads, checked by models; and what is sent, as packets.

A packet is an encoded Socket.IO event of the default namespace (protocol revision 5).
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field

from backend.chat.errors import InvalidRequest
from backend.chat.events import Batch, Failed, Header
from backend.chat.log import Log, texts_of
from backend.chat.news import News
from backend.wire.body import Body, body_of
from backend.wire.chat import MAX_KEY_CHARS, SESSION_ID, ChatBody, Strict, closing_fields
from backend.wire.errors import chat_error
from backend.wire.sessions import live_fields

StreamId = Annotated[str, Field(min_length=1, max_length=64)]
SessionId = Annotated[str, Field(pattern=SESSION_ID)]


class ChatStreamBody(ChatBody):
    """`chat_stream`. Without `session_id` the question goes into the connection's own session."""

    partial: bool = False
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=MAX_KEY_CHARS)


class ChatResumeBody(Strict):
    """`chat_resume`; `after` is the count of the last token that one has."""

    stream_id: StreamId
    after: int = Field(default=0, ge=0, lt=10**15)
    partial: bool = False


class ChatStopBody(Strict):
    """`chat_stop`."""

    stream_id: StreamId


class SessionBody(Strict):
    """`session_join` and `session_leave`."""

    session_id: SessionId


def payload_of(arguments: tuple[Any, ...]) -> Body:
    """The one argument of an event. Raises InvalidRequest."""
    if len(arguments) != 1:
        raise InvalidRequest("An event takes one payload, a JSON object")
    if isinstance(arguments[0], dict) and "_placeholder" in arguments[0]:
        raise InvalidRequest("Binary payloads are not taken; send the fields as a JSON object")
    return body_of(arguments[0])


def packet(event: str, fields: dict[str, Any]) -> str:
    return f'2["{event}",{orjson.dumps(fields).decode()}]'


def acknowledgement(number: str, fields: dict[str, Any]) -> str:
    """For the event that was sent with this number."""
    return f"3{number}[{orjson.dumps(fields).decode()}]"


def token_packet(header: Header, batch: Batch, partial: str | None = None) -> str:
    """A batch's text as one `chat_token`, its `count` that of the last piece; empty if it has no text."""
    texts = [text for text in texts_of(batch.entries) if text]
    if not texts:
        return ""
    fields = {
        "token": "".join(texts),
        "count": batch.count + len(texts),
        "stream_id": header.stream_id,
        "session_id": header.session_id,
    }
    if partial is not None:
        fields["partial"] = partial
    return packet("chat_token", fields)


def closing_packet(log: Log) -> str:
    """The last event. The log must be closed."""
    assert log.closing is not None
    if isinstance(log.closing, Failed):
        ids = {"session_id": log.header.session_id, "stream_id": log.header.stream_id}
        return packet("chat_stream_error", {**chat_error(log.closing, None), **ids})
    return packet("chat_complete", closing_fields(log, log.closing))


def reset_packet(header: Header, text: str, count: int) -> str:
    """For a reader ahead of what is stored: forget yours, this is all there is."""
    ids = {"stream_id": header.stream_id, "session_id": header.session_id}
    return packet("chat_reset", {"partial": text, "count": count, **ids})


def news_packet(news: News) -> str:
    fields = {"session_id": news.session_id, "change": news.change, "live_stream": live_fields(news.live)}
    return packet("session_updated", fields)
