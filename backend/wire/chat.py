"""The chat API's bodies, checked by models; and its answers, as JSON fields."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from backend.chat.errors import InvalidRequest
from backend.chat.events import Closing, Failed, Finished, Header
from backend.chat.log import Log
from backend.chat.requests import ChatRequest, JobCall, Parent
from backend.wire.body import NO_NUL, Body, whole

M = TypeVar("M", bound="Strict")

SESSION_ID = r"^[A-Za-z0-9_-]{1,64}$"
MESSAGE_ID = SESSION_ID
MAX_KEY_CHARS = 255
MAX_SYSTEM_CHARS = 32_000
NOT_BLANK = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
"""Names the characters that are blank to some readers of patterns and not to others."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
SystemPrompt = Annotated[str, Field(max_length=MAX_SYSTEM_CHARS, pattern=NO_NUL)]
Whole = BeforeValidator(whole)
Temperature = Annotated[float, Field(ge=0, le=2)]


def without_default(schema: dict[str, Any]) -> None:
    """Has the schema of a field not say that to leave it out is to say null."""
    del schema["default"]


class Strict(BaseModel):
    """Unknown fields are refused, and nothing is turned into what it is not."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ChatBody(Strict):
    """A question."""

    message: str = Field(pattern=NOT_BLANK)
    """What to ask; not blank."""
    session_id: str | None = Field(default=None, pattern=SESSION_ID)
    """The conversation it belongs to. A new id begins one; without an id the server makes one."""
    parent_id: str | None = Field(default=None, pattern=MESSAGE_ID, json_schema_extra=without_default)
    """The message that it comes after; null: it begins the conversation. Without it, the newest one. With the
    `parent_id` of an earlier question it is another version of that one, which stays."""
    model: Name | None = None
    """A name from `/api/status`; without it the session's model, else the default."""
    system: SystemPrompt | None = None
    """For this question only; on a new session it is kept."""
    temperature: Temperature | None = None
    """Without it, the upstream's choice."""
    max_tokens: Annotated[int, Field(ge=1), Whole] | None = None
    """Without it, the most that is allowed."""
    partial: bool = True
    """Whether every event repeats the text so far. Traffic then grows with the square of the answer."""


class SessionBody(Strict):
    """What can be set of a session; `null` clears."""

    title: Name | None = None
    """Without it, the first question's first line."""
    model: Name | None = None
    """A name from `/api/status`, for questions that name none."""
    system: SystemPrompt | None = None
    """The system prompt of questions that bring none."""


def parse(model: type[M], body: Body) -> M:
    """The body as a model. Raises InvalidRequest naming the first field that is wrong."""
    try:
        return model.model_validate(body.fields)
    except ValidationError as exc:
        raise InvalidRequest(_sentence(exc.errors(include_url=False)[0])) from exc


def _sentence(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"])[:100]
    if error["type"] == "extra_forbidden":
        return f"Unknown field {place!r}; leave it out"
    if error["type"] == "missing":
        return f"The field {place!r} is required"
    if (place, error["type"]) == ("message", "string_pattern_mismatch"):
        return "The field 'message' is blank; write a question"
    if place in ("session_id", "parent_id"):
        return f"The field {place!r} must be 1 to 64 letters, digits, - and _"
    return f"The field {place!r} is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}"


def chat_request(
    body: Body, key: str | None, max_message_chars: int, max_answer_tokens: int
) -> tuple[ChatRequest, bool]:
    """The question, and whether each event shall carry the text so far. Raises InvalidRequest."""
    asked = parse(ChatBody, body)
    return question(asked, key, max_message_chars, max_answer_tokens), asked.partial


def question(asked: ChatBody, key: str | None, max_message_chars: int, max_answer_tokens: int) -> ChatRequest:
    """What a model cannot check of a question: the limits that are set."""
    if len(asked.message) > max_message_chars:
        raise InvalidRequest(
            f"The field 'message' is over {max_message_chars} characters (MAX_MESSAGE_CHARS); shorten it"
        )
    if asked.max_tokens is not None and asked.max_tokens > max_answer_tokens:
        raise InvalidRequest(
            f"The field 'max_tokens' is over {max_answer_tokens} (MAX_ANSWER_TOKENS); ask for fewer"
        )
    return ChatRequest(
        message=asked.message,
        session_id=asked.session_id,
        parent=Parent(asked.parent_id) if "parent_id" in asked.model_fields_set else None,
        model=asked.model,
        system=asked.system,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        idempotency_key=idempotency_key(key),
        fingerprint=fingerprint_of(asked),
        call=JobCall(job_type="chat"),
    )


def fingerprint_of(asked: ChatBody) -> str:
    """The same for what asks the same, over whichever door: how the answer is sent is not part of it. To say
    null is to leave it out, but for the parent."""
    fields = asked.model_dump(exclude_none=True, exclude={"partial", "idempotency_key"})
    if "parent_id" in asked.model_fields_set:
        fields["parent_id"] = asked.parent_id
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def idempotency_key(key: str | None) -> str | None:
    if key is not None and not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidRequest(f"The Idempotency-Key must have 1 to {MAX_KEY_CHARS} characters")
    return key


def closing_fields(log: Log, closing: Finished) -> dict[str, Any]:
    """What a finished answer ends with, on every chat door."""
    header = log.header
    per_second = closing.tokens / closing.duration_s if closing.duration_s > 0 else 0.0
    return {
        "tokens": closing.tokens,
        "duration": round(closing.duration_s, 3),
        "tokens_per_second": round(per_second, 2),
        "ttft_ms": closing.ttft_ms,
        "full_response": log.text,
        "session_id": header.session_id,
        "stream_id": header.stream_id,
        "message_id": header.message_id,
        "model": header.model,
        "finish_reason": closing.finish_reason,
        **usage_fields(closing),
        "timestamp": closing.at,
    }


def usage_fields(closing: Finished) -> dict[str, Any]:
    """What was used, who says so if not the model, and how much history was left out, if any was."""
    usage = closing.usage
    counts = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    fields: dict[str, Any] = {"usage": {**counts, **usage.details}}
    if usage.estimated:
        fields["usage_source"] = "estimate"
    if closing.history_dropped:
        fields["history_dropped"] = closing.history_dropped
    return fields


def ids_of(header: Header) -> dict[str, str | None]:
    """What an answer is known by as it begins; outside any session there is no question to be found."""
    question_id = header.question_id if header.session_id is not None else None
    return {"stream_id": header.stream_id, "session_id": header.session_id, "question_id": question_id}


def stream_fields(log: Log) -> dict[str, Any]:
    """A stream's state, for who asks instead of following."""
    header, closing = log.header, log.closing
    fields: dict[str, Any] = {
        **ids_of(header),
        "message_id": header.message_id,
        "model": header.model,
        "state": log.state,
        "count": log.count,
        "text": log.text,
        "created_at": header.created_at,
    }
    return {**fields, **ending_fields(closing)} if closing else fields


def ending_fields(closing: Closing) -> dict[str, Any]:
    """How an answer ended, in short."""
    if isinstance(closing, Failed):
        return {"error": closing.error, "code": closing.code, "type": closing.type, "ended_at": closing.at}
    return {
        "finish_reason": closing.finish_reason,
        "duration": round(closing.duration_s, 3),
        "ttft_ms": closing.ttft_ms,
        **usage_fields(closing),
        "ended_at": closing.at,
    }


def stop_fields(log: Log) -> dict[str, Any]:
    """What a stop came to. `upstream_closed_ms` is null when there was nothing left to close."""
    closed_ms = log.closing.upstream_closed_ms if isinstance(log.closing, Finished) else None
    return {
        "stream_id": log.header.stream_id,
        "state": log.state,
        "tokens": log.count,
        "upstream_closed_ms": closed_ms,
    }
