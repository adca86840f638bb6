"""Errors as clients of each dialect expect them."""

from __future__ import annotations

from typing import Any

from backend.chat.errors import ParleyError
from backend.chat.events import Failed

OPENAI_CODES = {
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "rate_limited": ("requests", "rate_limit_exceeded"),
}
"""Type and code of the errors that OpenAI itself has a code for."""


def chat_error(error: ParleyError | Failed, request_id: str | None, **fields: Any) -> dict[str, Any]:
    """`{"error", "code", "type", "request_id"?, …}`: a refusal's body and a broken answer's last event."""
    named = {} if request_id is None else {"request_id": request_id}
    if isinstance(error, Failed):
        said = {"error": error.error, "code": error.code, "type": error.type}
        return {**said, **named, "tokens": error.tokens, "timestamp": error.at, **fields}
    said = {"error": error.message, "code": error.status, "type": error.type}
    return {**said, **named, **error.extras, **fields}


def openai_error(error: ParleyError) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`, as OpenAI's SDKs read it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    kind, code = OPENAI_CODES.get(error.type, (kind, error.type))
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}
