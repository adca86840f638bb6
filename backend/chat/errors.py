"""Everything that can go wrong, as one tree; every door renders these and nothing else.

ParleyError
├── Refused                  nothing was generated; the true HTTP status goes out
│   ├── InvalidJson          400  the body is not JSON
│   ├── InvalidRequest       400  JSON, but not what this route takes
│   ├── Unauthorized         401  no token, or none that counts
│   ├── InsufficientCredits  402  the team has too few free credits for it
│   ├── Forbidden            403
│   ├── NotFound             404  no such thing, or somebody else's
│   ├── ModelNotFound        404
│   ├── TooSlow              408  the body took too long to arrive
│   ├── SessionBusy          409  carries the running stream's id
│   ├── Conflict             409  what is there already does not allow it
│   ├── StreamExpired        410
│   ├── PayloadTooLarge      413
│   ├── UnsupportedMediaType 415
│   ├── IdempotencyMismatch  422
│   ├── RateLimited          429  asked too often; carries when to ask again
│   └── Unavailable          503  full, draining, or without a store; carries when to retry
└── Broken                   ends an answer that had begun: the last event of its stream
    ├── UpstreamError        502
    ├── UpstreamTimeout      504
    ├── Interrupted          503  its writer is gone
    └── Internal             500

Beside it stands Misconfigured: the program cannot run as it is set up, and never meets a caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ParleyError(Exception):
    """One sentence a person can act on, a stable `type`, an HTTP `status`, and extra fields."""

    type: str
    status: int

    def __init__(self, message: str, **extras: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extras = extras


class Refused(ParleyError):
    """The request was turned away before anything was generated."""


class InvalidJson(Refused):
    type, status = "invalid_json", 400


class InvalidRequest(Refused):
    type, status = "invalid_request", 400


class Unauthorized(Refused):
    type, status = "unauthorized", 401


class InsufficientCredits(Refused):
    type, status = "insufficient_credits", 402


class Forbidden(Refused):
    type, status = "forbidden", 403


class NotFound(Refused):
    type, status = "not_found", 404


class ModelNotFound(Refused):
    type, status = "model_not_found", 404


class TooSlow(Refused):
    type, status = "invalid_request", 408


class SessionBusy(Refused):
    type, status = "session_busy", 409

    def __init__(self, stream_id: str) -> None:
        super().__init__(
            "This session is still answering; wait for it, follow its stream or stop it first",
            stream_id=stream_id,
        )


class Conflict(Refused):
    type, status = "invalid_request", 409


class StreamExpired(Refused):
    type, status = "stream_expired", 410


class PayloadTooLarge(Refused):
    type, status = "payload_too_large", 413


class UnsupportedMediaType(Refused):
    type, status = "unsupported_media_type", 415


class IdempotencyMismatch(Refused):
    type, status = "idempotency_mismatch", 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with another body; use a new key for a new question")


class RateLimited(Refused):
    """`retry_after_s` is when there is room again, in whole seconds."""

    type, status = "rate_limited", 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message, retry_after=retry_after_s)


class Unavailable(Refused):
    """`retry_after_s` is when it is worth asking again, in whole seconds."""

    type, status = "unavailable", 503

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message, retry_after=retry_after_s)


BROKE_OFF = "The model's answer broke off before its end; ask again"
ABOUT_THE_REQUEST = frozenset({400, 409, 413, 415, 422})
"""Statuses of an upstream that are about what was asked: it would fare no better elsewhere."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an upstream refused with: the HTTP status, the seconds it asks us to wait, and `type`, `param`
    and `code` of its error, as far as it said them."""

    status: int
    retry_after_s: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


class Broken(ParleyError):
    """The answer had begun and could not be finished. `complaint` is what an upstream refused with."""

    complaint: Complaint | None = None

    @property
    def outcome(self) -> str:
        """What a call of the upstream came to: its type, or `refused` if it was about the request."""
        about_it = self.complaint is not None and self.complaint.status in ABOUT_THE_REQUEST
        return "refused" if about_it else self.type


class UpstreamError(Broken):
    type, status = "upstream_error", 502

    def __init__(self, message: str, complaint: Complaint | None = None) -> None:
        super().__init__(message)
        self.complaint = complaint


class UpstreamTimeout(Broken):
    type, status = "upstream_timeout", 504


class Interrupted(Broken):
    type, status = "interrupted", 503


class Internal(Broken):
    type, status = "internal", 500


class Misconfigured(Exception):
    """The program refuses to start; the sentence says what to set."""
