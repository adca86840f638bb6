"""What the server's refusals and httpx's exceptions become."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from parley_client.errors import (
    BadAnswer,
    Conflict,
    ConnectionLost,
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    Internal,
    Interrupted,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    ParleyError,
    PayloadTooLarge,
    RateLimited,
    ServerError,
    SessionBusy,
    StreamExpired,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
    Verdict,
)

TYPES: Mapping[str, type[Verdict]] = {
    "invalid_json": InvalidRequest,
    "invalid_request": InvalidRequest,
    "payload_too_large": PayloadTooLarge,
    "unsupported_media_type": UnsupportedMediaType,
    "idempotency_mismatch": IdempotencyMismatch,
    "unauthorized": Unauthorized,
    "insufficient_credits": InsufficientCredits,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "model_not_found": ModelNotFound,
    "session_busy": SessionBusy,
    "stream_expired": StreamExpired,
    "rate_limited": RateLimited,
    "upstream_error": UpstreamError,
    "upstream_timeout": UpstreamTimeout,
    "interrupted": Interrupted,
    "unavailable": Unavailable,
    "internal": Internal,
}
"""The contract's error types."""

STATUSES: Mapping[int, type[Verdict]] = {
    401: Unauthorized,
    402: InsufficientCredits,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: StreamExpired,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: InvalidRequest,
    429: RateLimited,
    502: UpstreamError,
    503: Unavailable,
    504: UpstreamTimeout,
}
"""What a type that is not known here counts as."""

OPENAI_CODES = {"invalid_api_key": "unauthorized", "rate_limit_exceeded": "rate_limited"}
"""The two codes of `/v1` that are OpenAI's words and not ours."""

NEVER_ARRIVED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
UNSENDABLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
UNREADABLE = (httpx.DecodingError, httpx.TooManyRedirects, httpx.StreamError)


@contextmanager
def border() -> Iterator[None]:
    """Nothing of httpx's passes it: what is raised inside becomes one of ours."""
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as exc:
        raise foreign(exc) from exc


def foreign(exc: httpx.HTTPError | httpx.StreamError) -> ParleyError:
    said = str(exc) or type(exc).__name__
    if isinstance(exc, UNSENDABLE):
        return InvalidRequest(f"This cannot be sent: {said}", status=0)
    if isinstance(exc, UNREADABLE):
        return BadAnswer(f"The server's answer cannot be read: {said}")
    if isinstance(exc, NEVER_ARRIVED):
        return Unreachable(f"The server cannot be reached: {said}")
    return ConnectionLost(f"The line broke: {said}")


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ParleyError:
    """What an answer says that is not the one asked for."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if isinstance(fields, dict) and "error" in fields:
        return failure(fields, status, headers)
    if status == 429:
        return RateLimited("The server is asked too often", retry_after=_seconds(headers.get("Retry-After")))
    said = f"The server answered {status} without saying why in Parley's way"
    return BadAnswer(said, status=status, retry_after=_seconds(headers.get("Retry-After")))


def failure(
    fields: Mapping[str, Any], status: int = 0, headers: Mapping[str, str] | None = None
) -> ParleyError:
    """An error object of either dialect, `{"error": "…", "code", "type"}` or `{"error": {"message", …}}`: the
    body of a refusal, or the last event of a stream (then without `status`)."""
    headers = headers or {}
    openais = fields["error"] if isinstance(fields["error"], dict) else None
    if openais is None:
        message, type_, code = fields["error"], fields.get("type"), fields.get("code")
        extras = {name: fields[name] for name in fields if name not in ("error", "type", "code")}
    else:
        message, type_, code = openais.get("message"), _type_of(openais), openais.get("status")
        extras = {name: openais[name] for name in openais if name != "message"}
    if not isinstance(message, str):
        return BadAnswer("The server reports an error and does not say which", status=status)
    kind = TYPES.get(str(type_))
    status = status or (code if isinstance(code, int) else kind.usual_status if kind else 500)
    if (status, kind) == (409, InvalidRequest):
        kind = Conflict  # what is there already does not allow it; the type has no word of its own for that
    return (kind or STATUSES.get(status) or (ServerError if status >= 500 else InvalidRequest))(
        message,
        type=str(type_) if type_ else None,
        status=status,
        stream_id=fields.get("stream_id") or headers.get("X-Stream-Id"),
        request_id=fields.get("request_id") or headers.get("X-Request-Id"),
        retry_after=_seconds(fields.get("retry_after") or headers.get("Retry-After")),
        extras={**extras, "should_retry": headers.get("X-Should-Retry") != "false"},
    )


def _type_of(openais: Mapping[str, Any]) -> Any:
    """Ours, which `/v1` tells in `code`."""
    code = openais.get("code")
    return OPENAI_CODES.get(str(code), code) if code else openais.get("type")


def _seconds(said: Any) -> float | None:
    try:
        return max(float(said), 0.0)
    except (TypeError, ValueError):
        return None
