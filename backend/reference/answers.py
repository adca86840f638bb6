"""The shapes of what is answered over HTTP, for the document; a test holds real answers against them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from backend.chat.errors import ParleyError
from backend.reference.schemas import Shape, absent

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
State = Literal["running", "done", "stopped", "failed", "interrupted"]


def types_of(kind: type[ParleyError]) -> set[str]:
    """The `type` of every error under a branch of the tree."""
    own = {kind.type} if hasattr(kind, "type") else set()
    return own.union(*(types_of(child) for child in kind.__subclasses__()))


ErrorType = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(types_of(ParleyError))})]


class Error(Shape):
    """A refusal."""

    error: str
    """One sentence for people; it may change."""
    code: int
    """The HTTP status."""
    type: ErrorType
    """What to decide by."""
    request_id: str
    """Under this the server's log has it."""
    stream_id: Id = absent()
    """With `session_busy`: the answer that is running."""
    free: Count = absent()
    """With `insufficient_credits`: what the team has free."""
    param: str = absent()
    """The field that is wrong, on doors that take OpenAI's."""
    tokens: Count = absent()
    """Of an answer that broke off: so many pieces there are of it."""
    timestamp: Time = absent()
    """When it broke off."""
    retry_after: Count = absent()
    """Seconds, as in `Retry-After`."""


class Usage(Shape):
    """Tokens as the model counts them, and whatever else its provider says of them; `usage_source` beside
    it is there if the provider said nothing."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class Token(Shape):
    """One more piece of text."""

    token: str
    count: Annotated[int, Field(ge=1)]
    """1, 2, 3 …; the number in the event's `id`."""
    partial: str = absent()
    """The text so far, if it was asked for and is not too long."""


class Complete(Shape):
    """The answer's end."""

    tokens: Count
    """The last `count`."""
    duration: float
    """Seconds from the question to the end."""
    tokens_per_second: float
    ttft_ms: float | None
    """Milliseconds to the first piece; null if there was none."""
    full_response: str
    """The pieces joined."""
    session_id: Id | None
    stream_id: Id
    message_id: Id
    model: str
    finish_reason: str
    """`stop`, `length`, `content_filter`, `tool_calls`; `stopped` by a person; `detached` if unfollowed."""
    usage: Usage
    usage_source: Literal["estimate"] = absent()
    """There if the provider did not count."""
    history_dropped: Count = absent()
    """So many messages of the history did not fit."""
    timestamp: Time


class Done(Complete):
    """The answer's end: the last event."""

    done: Literal[True]


class Broken(Error):
    """The answer broke off: the last event. What came before stands."""

    tokens: Count
    timestamp: Time
    session_id: Id | None


class Reset(Shape):
    """The reader has more than there is: replace it by `partial`."""

    reset: Literal[True]
    partial: str
    count: Count


class Ending(Shape):
    """How an answer ended, once it has: with a reason, or with an error."""

    ended_at: Time = absent()
    finish_reason: str = absent()
    duration: float = absent()
    ttft_ms: float | None = absent()
    usage: Usage = absent()
    usage_source: Literal["estimate"] = absent()
    history_dropped: Count = absent()
    error: str = absent()
    code: int = absent()
    type: ErrorType = absent()


class StreamState(Ending):
    """An answer, for who asks instead of following."""

    stream_id: Id
    session_id: Id | None
    question_id: Id | None
    """Null outside any session."""
    message_id: Id
    model: str
    state: State
    count: Count
    text: str
    created_at: Time


class Stopped(Shape):
    """What a stop came to."""

    stream_id: Id
    state: State
    """`stopped`, unless it had ended before."""
    tokens: Count
    upstream_closed_ms: float | None
    """How long the upstream took to let go; null if nothing was stopped."""


class Message(Ending):
    """A question or an answer."""

    id: Id
    parent_id: Id | None
    """The message it comes after: an answer's is its question. Null where a conversation begins."""
    role: Literal["user", "assistant"]
    content: str
    status: State
    model: str | None
    tokens: Count | None
    created_at: Time
    stream_id: Id = absent()


class SessionSummary(Shape):
    """A session in a list."""

    session_id: Id
    title: str | None
    model: str | None
    created_at: Time
    updated_at: Time
    message_count: Count
    """Of all versions."""


class LiveStream(Shape):
    """The answer that a session is giving now."""

    stream_id: Id
    count: Count
    question_id: Id
    """The message that it answers."""


class Session(SessionSummary):
    """A conversation."""

    system: str | None
    messages: list[Message]
    """Those that lead to the newest; with `versions=all` every one, in the order they were made."""
    live_stream: LiveStream | None
    """Show the messages, then follow this from 0."""


class SessionList(Shape):
    """A page of sessions, newest first."""

    sessions: list[SessionSummary]
    next_cursor: str | None
    """Null on the last page."""


class Deleted(Shape):
    deleted: Literal[True]
    session_id: Id


class Health(Shape):
    status: Literal["healthy"]


class Ready(Shape):
    status: Literal["ready"]


class StatusModel(Shape):
    name: str
    default: bool


class StatusStores(Shape):
    sessions: str
    streams: str


class StatusCounts(Shape):
    live_streams: Count


class Status(Shape):
    """What is running."""

    version: str
    runtime: str
    models: list[StatusModel]
    image_hosts: list[str]
    """As in a content security policy: what the chat page may show images of when its reader asks."""
    stores: StatusStores
    counts: StatusCounts
    uptime_s: float
    draining: bool
