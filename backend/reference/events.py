"""The shapes of what the Socket.IO door says, and the table of its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from backend.reference.answers import (
    Complete,
    Count,
    Error,
    ErrorType,
    Id,
    LiveStream,
    State,
    Time,
    Token,
)
from backend.reference.schemas import Shape, absent
from backend.wire.sockets import ChatResumeBody, ChatStopBody, ChatStreamBody, SessionBody


class Refused(Error):
    """A refusal; `chat_stream_error` says the same."""

    ok: Literal[False]


class Following(Shape):
    """The answer's events follow."""

    ok: Literal[True]
    stream_id: Id
    session_id: Id | None
    question_id: Id | None
    """Null outside any session."""
    after: Count = absent()
    """Of `chat_resume`: the count from which its events begin; absent if they go on as they were."""


class StoppedHere(Shape):
    """What the stop came to."""

    ok: Literal[True]
    stream_id: Id
    state: State
    tokens: Count
    upstream_closed_ms: float | None


class Joined(Shape):
    """The session's answers are followed from now on."""

    ok: Literal[True]
    live_stream: LiveStream | None
    """The answer it is giving now, which is followed from `count` + 1."""


class Left(Shape):
    """The session is followed no more."""

    ok: Literal[True]
    session_id: Id


class ChatToken(Token):
    """One or more pieces of text; `count` is that of the last. Joined in order they are the answer."""

    stream_id: Id
    session_id: Id | None


class SocketError(Shape):
    """What went wrong."""

    error: str
    """One sentence for people; it may change."""
    code: int
    """The HTTP status it would have."""
    type: ErrorType
    """What to decide by."""


class ChatError(SocketError):
    """A refusal, or an answer that broke off."""

    ok: Literal[False] = absent()
    """Of a refusal, which is the acknowledgement as well: nothing was begun, and `stream_id`, if it is
    there, is that of an answer in the way."""
    request_id: str = absent()
    """Of a refusal: under this the server's log has it."""
    session_id: Id | None = absent()
    stream_id: Id = absent()
    tokens: Count = absent()
    """The last `count` of an answer that broke off."""
    timestamp: Time = absent()
    retry_after: Count = absent()
    """Seconds to wait."""


class ChatReset(Shape):
    """The reader has more than there is: replace it by `partial`."""

    partial: str
    count: Count
    stream_id: Id
    session_id: Id | None


class SessionUpdated(Shape):
    """A session that was joined has changed."""

    session_id: Id
    change: Literal["message", "title", "deleted"]
    live_stream: LiveStream | None


class ServerDraining(Shape):
    """When to come back."""

    reconnect_in_ms: Count
    """Everybody is told another time."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a name: what it carries and, if a client sends it, what the acknowledgement can be."""

    name: str
    says: str
    payload: type[BaseModel]
    acknowledged: tuple[type[BaseModel], ...] = ()


FROM_CLIENTS = (
    Event("chat_stream", "Ask", ChatStreamBody, (Following, Refused)),
    Event("chat_resume", "Come back", ChatResumeBody, (Following, Refused)),
    Event("chat_stop", "Stop an answer", ChatStopBody, (StoppedHere, Refused)),
    Event("session_join", "Follow every answer of a session", SessionBody, (Joined, Refused)),
    Event("session_leave", "Follow it no more", SessionBody, (Left, Refused)),
)
FROM_THE_SERVER = (
    Event("chat_token", "A piece of text", ChatToken),
    Event("chat_complete", "The answer is complete", Complete),
    Event("chat_stream_error", "A refusal, or an answer that broke off", ChatError),
    Event("chat_reset", "Replace what you have", ChatReset),
    Event("session_updated", "A session that was joined has changed", SessionUpdated),
    Event("auth_expired", "The token has run out, and the line ends", SocketError),
    Event("server_draining", "The server is going away, and the line ends", ServerDraining),
)
