"""The short dialect of `/v1/chat/completions`: a prompt in, chunks of text and `[DONE]` out."""

from __future__ import annotations

import json
from typing import Any

import orjson

from backend.chat.errors import InvalidJson, InvalidRequest, ParleyError
from backend.chat.events import Batch, Failed
from backend.chat.log import Log, texts_of
from backend.chat.requests import ChatRequest
from backend.wire.body import NO_NUL, Body, read_body, whole
from backend.wire.chat import NOT_BLANK, idempotency_key
from backend.wire.completions import FORBIDDEN
from backend.wire.openai import DONE, closing_of

MAX_PROMPT_CHARS = 5000


def read_prompt_body(raw: bytes) -> Body:
    """The body, or the refusal this dialect has for there being none."""
    try:
        return read_body(raw)
    except (InvalidJson, InvalidRequest) as exc:
        raise InvalidJson("No JSON body provided") from exc


def prompt_schema(anything: dict[str, Any]) -> dict[str, Any]:
    """What `prompt_request` takes, as a JSON schema; `anything` is that of any JSON value we read."""
    return {
        "type": "object",
        "description": "A prompt. Other fields are ignored.",
        "required": ["prompt", "stream"],
        "properties": {
            "prompt": {
                "type": "string",
                "description": "What to ask; not blank.",
                "maxLength": MAX_PROMPT_CHARS,
                "pattern": NOT_BLANK,
            },
            "stream": {"const": True},
            "model": {
                "type": ["string", "null"],
                "description": "A name from `/api/status`.",
                "pattern": NO_NUL,
            },
            "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
            "max_tokens": {
                "type": ["integer", "null"],
                "description": "What is over the most that is allowed is lowered to it.",
                "minimum": 1,
                "maximum": 2**64 - 1,
            },
        },
        "propertyNames": {"pattern": NO_NUL, "not": {"enum": list(FORBIDDEN)}},
        "additionalProperties": anything,
    }


def prompt_request(body: Body, key: str | None, max_answer_tokens: int) -> ChatRequest:
    """The question. Raises InvalidRequest with this dialect's sentences."""
    fields = body.fields
    prompt = fields.get("prompt", "")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidRequest("Prompt cannot be empty")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise InvalidRequest(f"Prompt exceeds maximum length of {MAX_PROMPT_CHARS} chars")
    if fields.get("stream") is not True:
        raise InvalidRequest("stream parameter must be true")
    for name in FORBIDDEN:
        if name in fields:
            raise InvalidRequest(f"{name} is not taken from a request; the server has its own")
    return ChatRequest(
        message=prompt,
        model=_field(fields, "model", str),
        temperature=_field(fields, "temperature", int | float, 0, 2),
        max_tokens=min(_field(fields, "max_tokens", int, 1) or max_answer_tokens, max_answer_tokens),
        keep=False,
        idempotency_key=idempotency_key(key),
        fingerprint=body.fingerprint,
    )


def _field(
    fields: dict[str, Any], name: str, kind: Any, at_least: float = 0, at_most: float | None = None
) -> Any:
    value = fields.get(name) if kind is not int else whole(fields.get(name))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InvalidRequest(f"{name} is of the wrong type")
    if not isinstance(value, str) and (value < at_least or (at_most is not None and value > at_most)):
        bounds = f"at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise InvalidRequest(f"{name} must be {bounds}")
    return value


def chunks(batch: Batch) -> bytes:
    """One chunk a text piece."""
    return b"".join(
        b'data: {"choices": [{"delta": {"content": %b}}]}\n\n' % orjson.dumps(text)
        for text in texts_of(batch.entries)
        if text
    )


class Texts:
    """An answer as chunks of nothing but text, then `[DONE]` or the error."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def of(self, batch: Batch) -> bytes:
        return chunks(batch)

    def ending(self, after: int) -> bytes:  # noqa: ARG002  (nobody comes back to this dialect)
        """What follows the last text. The log must be closed."""
        closing = closing_of(self._log)
        return error_event(closing) if isinstance(closing, Failed) else DONE


def error_event(error: ParleyError | Failed) -> bytes:
    sentence = error.error if isinstance(error, Failed) else error.message
    data = json.dumps({"error": sentence, "code": error_status(error)}, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


def error_status(error: ParleyError | Failed) -> int:
    """The dialect knows one status for an upstream's faults and one for ours."""
    if error.type.startswith("upstream_"):
        return 502
    return error.code if isinstance(error, Failed) else error.status
