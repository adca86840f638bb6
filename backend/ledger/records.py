"""What the ledger gives, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODES = ("job_based", "consumption_usd", "consumption_tokens")
"""How a team pays: a credit a completed job, or for what its calls cost or took."""

ENDED = ("completed", "failed")
STATUSES = ("pending", "in_progress", *ENDED)

GENERATED = ("done", "stopped", "cut")
"""States of a call that gave what was wanted of it, or as much of it as was."""
BROKEN = ("failed", "interrupted")
SETTLED = (*GENERATED, *BROKEN, "withdrawn")
BASES = ("usage", "estimate")
"""What a call's tokens were taken from: what the upstream said, or our own count."""


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Of jobs and calls: a job fails that has not ended within `job_ttl_s`; a call that is not settled or
    renewed within `lease_s` is taken for one whose process died; the metadata of either, as JSON, has up to
    `metadata_bytes`."""

    job_ttl_s: float = 86_400.0
    lease_s: float = 900.0
    metadata_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Terms:
    """How credits are reckoned."""

    budget_mode: str = "job_based"
    credits_per_dollar: int = 100
    tokens_per_credit: int = 1000


@dataclass(frozen=True, slots=True)
class Credits:
    granted: int
    free: int
    held: int
    spent: int


@dataclass(frozen=True, slots=True)
class Team:
    """`model_groups` None: it may use all."""

    team_id: str
    terms: Terms
    rate_limit: str | None
    model_groups: Sequence[str] | None
    created_at: str
    credits: Credits

    def may_use(self, group: str) -> bool:
        return self.model_groups is None or group in self.model_groups


@dataclass(frozen=True, slots=True)
class Key:
    """A virtual key as it is listed: `prefix` is all that is kept of its text."""

    key_id: str
    team_id: str
    prefix: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is done once: `name` is a digest of whose it is, of what, and of its idempotency key,
    `body` one of what it said."""

    name: str
    body: str


@dataclass(frozen=True, slots=True)
class NewJob:
    job_id: str
    team_id: str
    job_type: str
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """`bill` is the answer its completion gave, None until there is one; `due` is what that came to,
    `charged` what the team had of it. `metadata` is the job's own."""

    job_id: str
    team_id: str
    user_id: str | None
    job_type: str
    metadata: Mapping[str, Any]
    terms: Terms
    status: str
    error_message: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str
    held: int
    due: int | None
    charged: int | None
    bill: Mapping[str, Any] | None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def billed(self) -> bool:
        return self.bill is not None


@dataclass(frozen=True, slots=True)
class Most:
    """What a call can take at most: its prompt and `max_tokens` for every choice, and their price."""

    tokens: int
    micro_usd: int


@dataclass(frozen=True, slots=True)
class NewCall:
    call_id: str
    job_id: str
    team_id: str
    stream_id: str
    model: str
    most: Most
    model_group: str | None = None
    purpose: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 0
    """As they are estimated; what is known if nothing else comes to be."""


@dataclass(frozen=True, slots=True)
class Call:
    call_id: str
    job_id: str
    team_id: str
    stream_id: str
    purpose: str | None
    model_group: str | None
    model: str
    metadata: Mapping[str, Any]
    state: str
    held: int
    prompt_tokens: int
    completion_tokens: int
    micro_usd: int
    basis: str | None
    latency_ms: int | None
    ttft_ms: int | None
    error: str | None
    created_at: str
    leased_until: str
    settled_at: str | None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: `state` is one of SETTLED, `basis` one of BASES. `model` is who answered, if that
    was not who was asked. `withdrawn` is for one that never began: nothing was generated."""

    stream_id: str
    state: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    micro_usd: int = 0
    basis: str = "estimate"
    latency_ms: int | None = None
    ttft_ms: int | None = None
    error: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A posting. `amount` is above 0, but for a `grant` that takes back."""

    number: int
    team_id: str
    kind: str
    amount: int
    job_id: str | None
    reason: str
    who: str
    at: str
    once: str


@dataclass(frozen=True, slots=True)
class Line:
    """A posting, and what the team had after it."""

    entry: Entry
    balance: Credits


@dataclass(frozen=True, slots=True)
class Used:
    """What calls took together. `ttft_ms` is the sum of their times to the first token, of the `timed_calls`
    that came to one."""

    calls: int = 0
    failed_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    micro_usd: int = 0
    timed_calls: int = 0
    ttft_ms: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(*(getattr(self, name) + getattr(other, name) for name in Used.__slots__))

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def avg_ttft_ms(self) -> int | None:
        return round(self.ttft_ms / self.timed_calls) if self.timed_calls else None


@dataclass(frozen=True, slots=True)
class Cell:
    """What a day's calls of one model took."""

    day: str
    model: str
    used: Used


@dataclass(frozen=True, slots=True)
class Swept:
    """`failed` are jobs whose time was over; `overdue` are calls whose lease is, for somebody to settle."""

    failed: Sequence[str]
    overdue: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    team_id: str
    what: str
