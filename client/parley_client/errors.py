"""Everything a call can raise, as one tree.

ParleyError
├── Verdict                    the server says so: `status`, `type`, its sentence
│   ├── InvalidRequest         400, 405, 408, 414, 431: invalid_json, invalid_request
│   │   ├── PayloadTooLarge    413
│   │   ├── UnsupportedMediaType 415
│   │   └── IdempotencyMismatch 422
│   ├── Unauthorized           401
│   ├── InsufficientCredits    402
│   ├── Forbidden              403
│   ├── NotFound               404
│   │   └── ModelNotFound      404
│   ├── Conflict               409: the job has ended, the team exists …
│   │   └── SessionBusy        409: `stream_id` is the answer under way
│   ├── StreamExpired          410
│   ├── RateLimited            429: `retry_after`
│   └── ServerError            500 and above
│       ├── UpstreamError      502
│       ├── UpstreamTimeout    504
│       ├── Interrupted        503: the answer broke off; what there was stands
│       ├── Unavailable        503: `retry_after`
│       └── Internal           500
├── ConnectionFailed           no verdict
│   ├── Unreachable            the request never arrived
│   └── ConnectionLost         it may have
├── BadAnswer                  the server answered, and not as Parley does
└── InvalidOutput              structured output that stayed invalid: `attempts`, with what each cost
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from parley_client.structured import Attempt


class ParleyError(Exception):
    """`status` is 0 where no answer came. `requests` is how many were sent for it."""

    usual_type: ClassVar[str] = "error"
    usual_status: ClassVar[int] = 0

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,
        status: int | None = None,
        stream_id: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or self.usual_type
        self.status = self.usual_status if status is None else status
        self.stream_id = stream_id
        self.request_id = request_id
        self.retry_after = retry_after
        self.extras: Mapping[str, Any] = extras or {}
        self.requests = 1


class Verdict(ParleyError):
    pass


class InvalidRequest(Verdict):
    usual_type, usual_status = "invalid_request", 400


class PayloadTooLarge(InvalidRequest):
    usual_type, usual_status = "payload_too_large", 413


class UnsupportedMediaType(InvalidRequest):
    usual_type, usual_status = "unsupported_media_type", 415


class IdempotencyMismatch(InvalidRequest):
    usual_type, usual_status = "idempotency_mismatch", 422


class Unauthorized(Verdict):
    usual_type, usual_status = "unauthorized", 401


class InsufficientCredits(Verdict):
    usual_type, usual_status = "insufficient_credits", 402


class Forbidden(Verdict):
    usual_type, usual_status = "forbidden", 403


class NotFound(Verdict):
    usual_type, usual_status = "not_found", 404


class ModelNotFound(NotFound):
    usual_type, usual_status = "model_not_found", 404


class Conflict(Verdict):
    usual_type, usual_status = "conflict", 409


class SessionBusy(Conflict):
    usual_type, usual_status = "session_busy", 409


class StreamExpired(Verdict):
    usual_type, usual_status = "stream_expired", 410


class RateLimited(Verdict):
    usual_type, usual_status = "rate_limited", 429


class ServerError(Verdict):
    usual_type, usual_status = "internal", 500


class UpstreamError(ServerError):
    usual_type, usual_status = "upstream_error", 502


class UpstreamTimeout(ServerError):
    usual_type, usual_status = "upstream_timeout", 504


class Interrupted(ServerError):
    usual_type, usual_status = "interrupted", 503


class Unavailable(ServerError):
    usual_type, usual_status = "unavailable", 503


class Internal(ServerError):
    usual_type, usual_status = "internal", 500


class ConnectionFailed(ParleyError):
    usual_type = "connection_failed"


class Unreachable(ConnectionFailed):
    usual_type = "unreachable"


class ConnectionLost(ConnectionFailed):
    usual_type = "connection_lost"


class BadAnswer(ParleyError):
    usual_type = "bad_answer"


class InvalidOutput(ParleyError):
    """`attempts` are all answers, in order: what was wrong with each, and what it cost."""

    usual_type = "invalid_output"

    def __init__(self, message: str, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(message)
        self.attempts = tuple(attempts)
