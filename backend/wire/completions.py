"""Requests for OpenAI's chat completions, as its SDKs send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.chat.errors import InvalidRequest
from backend.chat.requests import MAX_TOKENS_FIELDS, ChatRequest, Completion, JobCall
from backend.wire.body import NO_NUL, Body, whole
from backend.wire.chat import idempotency_key

FORBIDDEN = ("api_key", "api_base", "base_url", "api_version", "headers", "extra_headers")
"""Credentials and addresses: the server has its own."""
OURS = ("model", "messages", "stream", "stream_options")
"""What is not passed on as it is."""
ALONE = JobCall()
KINDS: dict[Any, str] = {str: "text", bool: "true or false", dict: "an object", list: "a list"}


@dataclass(frozen=True, slots=True)
class CompletionBounds:
    """What a request may ask for at most."""

    max_answer_tokens: int
    max_messages: int
    max_choices: int


def is_completion(body: Body) -> bool:
    """Whether it is of this dialect, and not of the short one."""
    return "messages" in body.fields and "prompt" not in body.fields


def completion_schema(anything: dict[str, Any], bounds: CompletionBounds) -> dict[str, Any]:
    """What `completion_request` takes, as a JSON schema; `anything` is that of any JSON value we read."""
    number = {"type": ["number", "null"], "minimum": 0}
    max_tokens = {"type": ["integer", "null"], "minimum": 1, "maximum": bounds.max_answer_tokens}
    refused = {"type": "null", "description": "Not taken from a request: the server has its own."}
    text = {"type": ["string", "null"], "pattern": NO_NUL}
    message = {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"type": "string", "pattern": NO_NUL},
            "content": {"anyOf": [text, {"type": "array", "items": anything}]},
        },
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": anything,
    }
    return {
        "type": "object",
        "description": "A conversation, as OpenAI's SDKs send it. Fields not told of here are passed on.",
        "required": ["messages"],
        "properties": {
            "messages": {
                "type": "array",
                "description": "The conversation; `content` is text or a list of parts.",
                "minItems": 1,
                "maxItems": bounds.max_messages,
                "items": message,
            },
            "model": {**text, "description": "A name from `/v1/models`; without it the default."},
            "stream": {
                "type": ["boolean", "null"],
                "description": "Whether the answer comes as events, a piece of text each.",
            },
            "stream_options": {
                "type": ["object", "null"],
                "description": "Only with `stream`. `include_usage`: the usage comes last.",
                "properties": {"include_usage": {"type": ["boolean", "null"]}},
                "propertyNames": {"pattern": NO_NUL},
                "additionalProperties": anything,
            },
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": bounds.max_choices},
            "temperature": {**number, "maximum": 2},
            "top_p": {**number, "maximum": 1},
            "max_completion_tokens": {
                **max_tokens,
                "description": "Without it and `max_tokens`, the most that is allowed.",
            },
            "max_tokens": {**max_tokens, "description": "Its older name; of both, the smaller counts."},
            **dict.fromkeys(FORBIDDEN, refused),
        },
        "anyOf": [
            {"properties": {"stream_options": {"type": "null"}}},
            {"required": ["stream"], "properties": {"stream": {"const": True}}},
        ],
        "propertyNames": {"pattern": NO_NUL, "not": {"const": "prompt"}},
        "additionalProperties": anything,
    }


def completion_request(
    body: Body, key: str | None, bounds: CompletionBounds, *, runs_on: bool, call: JobCall = ALONE
) -> ChatRequest:
    """The request, checked where a wrong field would cost something here or break it; the rest is for the
    model to judge. Raises InvalidRequest with `param`."""
    fields = {name: value for name, value in body.fields.items() if value is not None}
    for name in FORBIDDEN:
        if name in fields:
            raise wrong(name, f"{name} is not taken from a request; the server has its own")
    max_tokens = [checked_max_tokens(fields, name, bounds.max_answer_tokens) for name in MAX_TOKENS_FIELDS]
    choices = number(fields, "n", 1, bounds.max_choices)
    number(fields, "temperature", 0, 2, float)
    number(fields, "top_p", 0, 1, float)
    include_usage = checked_stream(fields)
    options = {name: value for name, value in fields.items() if name not in OURS}
    if "stream_options" in fields:
        options["stream_options"] = fields["stream_options"]
    return ChatRequest(
        message="",
        model=of_kind(fields, "model", str),
        max_tokens=min((asked for asked in max_tokens if asked), default=bounds.max_answer_tokens),
        keep=False,
        completion=Completion(
            checked_messages(fields, bounds.max_messages), options, choices or 1, include_usage
        ),
        runs_on=runs_on,
        idempotency_key=idempotency_key(key),
        fingerprint=body.fingerprint,
        call=call,
    )


def checked_max_tokens(fields: dict[str, Any], name: str, most: int) -> int | None:
    asked: int | None = number(fields, name, 1)
    if asked is not None and asked > most:
        raise wrong(name, f"{name} is over {most} (MAX_ANSWER_TOKENS); ask for fewer")
    return asked


def checked_stream(fields: dict[str, Any]) -> bool:
    """Whether a stream is to end with its usage."""
    streaming = of_kind(fields, "stream", bool)
    options = of_kind(fields, "stream_options", dict)
    if options is None:
        return False
    if not streaming:
        raise wrong("stream_options", "stream_options are only allowed when stream is true")
    return of_kind(options, "include_usage", bool) is True


def checked_messages(fields: dict[str, Any], at_most: int) -> Sequence[dict[str, Any]]:
    messages: list[Any] | None = of_kind(fields, "messages", list)
    if not messages:
        raise wrong("messages", "messages are empty; send one at least")
    if len(messages) > at_most:
        raise wrong("messages", f"messages are over {at_most} (MAX_MESSAGES); send fewer")
    for place, message in enumerate(messages):
        name = f"messages[{place}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise wrong(name, f"{name} must be an object with a role")
        if not isinstance(message.get("content"), str | list | None):
            raise wrong(f"{name}.content", f"{name}.content must be text or a list of parts")
    return messages


def number(fields: dict[str, Any], name: str, least: int, most: int | None = None, kind: Any = int) -> Any:
    """A field's number, None if it is not there; as the whole number it is, where it must be one."""
    value = fields.get(name)
    if kind is int and value is not None:
        fields[name] = value = whole(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | kind):
        raise wrong(name, f"{name} must be a {'whole number' if kind is int else 'number'}")
    if value < least or (most is not None and value > most):
        raise wrong(
            name, f"{name} must be {f'at least {least}' if most is None else f'from {least} to {most}'}"
        )
    return value


def of_kind(fields: dict[str, Any], name: str, kind: Any) -> Any:
    """A field's value, None if it is not there."""
    value = fields.get(name)
    if value is not None and not isinstance(value, kind):
        raise wrong(name, f"{name} must be {KINDS[kind]}")
    return value


def wrong(param: str, sentence: str) -> InvalidRequest:
    return InvalidRequest(sentence, param=param)
