"""Errors as clients of each dialect expect them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.chat.errors import ABOUT_THE_REQUEST, ParleyError
from backend.chat.events import Failed

OPENAI_CODES = {
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "rate_limited": ("requests", "rate_limit_exceeded"),
}
"""Type and code of the errors that OpenAI itself has a code for."""
PASSED_ON = ABOUT_THE_REQUEST | {429}
"""Statuses of an upstream that a caller gets as they are."""


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
    return _openai(error.message, error.type, error.status, {"param": error.extras.get("param")})


def openai_failure(failed: Failed) -> dict[str, Any]:
    """The same of an answer that broke off: what the upstream itself called it stands first."""
    fields = failed.complaint.fields if failed.complaint else {}
    return _openai(failed.error, failed.type, failure_status(failed), fields)


def failure_status(failed: Failed) -> int:
    """The upstream's own status where it is about the request, which the caller may mend, or about its rate;
    where it is about us or the upstream, a gateway's."""
    said = failed.complaint.status if failed.complaint else None
    return said if said in PASSED_ON else failed.code


def _openai(message: str, type_: str, status: int, fields: Mapping[str, str | None]) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    kind, code = OPENAI_CODES.get(type_, (kind, type_))
    if status == 429:
        kind, code = OPENAI_CODES["rate_limited"]
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **fields}}
