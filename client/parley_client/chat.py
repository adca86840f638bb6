"""What the chat API answers: the events of an answer, sessions, the state of a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, TypedDict

from parley_client.completions import Usage
from parley_client.reading import Reading


class Token(Reading):
    """One more piece of text; `count` numbers them 1, 2, 3 …"""

    token: str
    count: int
    partial: str | None = None


class Reset(Reading):
    """Rare, after a crash of the server: `partial` takes the place of all text read so far."""

    partial: str
    count: int


class Done(Reading):
    """The end of an answer. `finish_reason` is stop, length, tool_calls, content_filter, stopped or
    detached."""

    full_response: str
    finish_reason: str
    tokens: int
    session_id: str
    stream_id: str
    message_id: str | None = None
    model: str | None = None
    duration: float | None = None
    tokens_per_second: float | None = None
    ttft_ms: float | None = None
    usage: Usage | None = None
    usage_source: str | None = None
    history_dropped: int | None = None
    timestamp: datetime | None = None


ChatEvent: TypeAlias = Token | Reset | Done


class StreamState(Reading):
    """`state` is running, done, stopped, failed or interrupted."""

    stream_id: str
    session_id: str | None = None
    question_id: str | None = None
    state: str
    count: int
    text: str
    finish_reason: str | None = None


class Stopped(Reading):
    """`state` is stopped, or how the answer had ended before."""

    stream_id: str
    state: str
    tokens: int
    upstream_closed_ms: float | None = None


class Message(Reading):
    """`parent_id` is the message it comes after: an answer's is its question; None where a conversation
    begins. Messages that come after the same one are versions of each other."""

    id: str
    parent_id: str | None = None
    role: str
    content: str
    status: str
    model: str | None = None
    tokens: int | None = None
    created_at: datetime | None = None


class LiveStream(Reading):
    """`question_id` is the message that it answers."""

    stream_id: str
    count: int
    question_id: str | None = None


class SessionSummary(Reading):
    session_id: str
    title: str | None = None
    model: str | None = None
    created_at: datetime
    updated_at: datetime
    message_count: int


class Session(SessionSummary):
    """`live_stream` is the answer under way, to `resume`."""

    system: str | None = None
    messages: list[Message]
    live_stream: LiveStream | None = None


Versions: TypeAlias = Literal["all"]
"""Which of a session's messages are wanted, if not those of the newest version alone."""


class SessionChanges(TypedDict, total=False):
    """What of a session can be set; None clears it."""

    title: str | None
    model: str | None
    system: str | None


class SessionPage(Reading):
    """Newest first; `next_cursor` is None on the last page."""

    sessions: list[SessionSummary]
    next_cursor: str | None = None


class Deleted(Reading):
    deleted: bool
    session_id: str
