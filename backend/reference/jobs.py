"""The shapes of what the jobs API and the management of teams answer; a test holds real answers against
them."""

from __future__ import annotations

from typing import Any, Literal

from backend.reference.answers import Count, Id, Time
from backend.reference.completions import ChatCompletion
from backend.reference.schemas import Shape, absent

JobStatus = Literal["pending", "in_progress", "completed", "failed"]
CallState = Literal["running", "done", "stopped", "cut", "failed", "interrupted"]


class JobCreated(Shape):
    """A job that was made."""

    job_id: Id
    team_id: str
    status: JobStatus
    created_at: Time


class Job(JobCreated):
    """A job."""

    user_id: str | None
    job_type: str
    metadata: dict[str, Any]
    error_message: str | None
    started_at: Time | None
    completed_at: Time | None
    expires_at: Time
    """If it has not ended by then, it fails."""
    credits_held: Count
    credits_charged: Count


class JobList(Shape):
    """A page of a team's jobs, the newest first."""

    jobs: list[Job]
    limit: Count
    offset: Count


class CallResponse(Shape):
    content: str | None
    finish_reason: str
    tool_calls: list[dict[str, Any]] = absent()


class CallMetadata(Shape):
    tokens_used: Count
    latency_ms: Count
    model: str
    cost_usd: float | None
    """Null if it is yet to be recorded."""


class CallResult(ChatCompletion):
    """A call that is answered: OpenAI's completion, and what the job knows of it."""

    call_id: Id
    job_id: Id
    response: CallResponse
    metadata: CallMetadata


class JobCall(Shape):
    """A call as its job's bill has it."""

    call_id: Id
    purpose: str | None
    model_group: str | None
    model: str
    state: CallState
    tokens: Count
    latency_ms: Count | None
    cost_usd: float
    error: str | None


class Costs(Shape):
    total_calls: Count
    successful_calls: Count
    failed_calls: Count
    total_tokens: Count
    total_cost_usd: float
    avg_latency_ms: Count
    credit_applied: bool
    credits_remaining: Count


class JobCosts(Shape):
    """What a job has cost so far, call by call."""

    job_id: Id
    status: JobStatus
    costs: Costs
    calls: list[JobCall]


class JobResult(Shape):
    """A job that has ended, and its bill."""

    job_id: Id
    status: Literal["completed", "failed"]
    completed_at: Time
    total_calls: Count
    credits_charged: Count
    credits_remaining: Count
    costs: Costs
    calls: list[JobCall]


class OneCallJob(CallResult):
    """A job of one call, answered and charged."""

    status: JobStatus
    completed_at: Time
    costs: Costs
    credits_remaining: Count


class UsageSummary(Shape):
    total_jobs: Count
    successful_jobs: Count
    failed_jobs: Count
    total_calls: Count
    total_tokens: Count
    credits_spent: Count
    avg_ttft_ms: Count | None
    total_cost_usd: float


class JobTypeUsage(Shape):
    count: Count
    cost_usd: float


class ModelUsage(Shape):
    calls: Count
    tokens: Count
    avg_ttft_ms: Count | None
    cost_usd: float


class DayUsage(ModelUsage):
    credits: Count


class TeamUsage(Shape):
    """What a team used in a month or a day, UTC."""

    team_id: str
    period: str
    summary: UsageSummary
    job_types: dict[str, JobTypeUsage]
    models: dict[str, ModelUsage]
    days: dict[str, DayUsage]


class ModelDay(Shape):
    """What a day's calls of one model took."""

    day: str
    model: str
    calls: Count
    failed_calls: Count
    """Of these."""
    prompt_tokens: Count
    completion_tokens: Count
    avg_ttft_ms: Count | None
    """To the first token, of those that came to one."""
    cost_usd: float


class DailyUsage(Shape):
    """A page of what a team used, in the order of days and models. Days are in UTC."""

    team_id: str
    period: str
    usage: list[ModelDay]
    limit: Count
    offset: Count


class Credits(Shape):
    """`granted` is the sum of the others."""

    granted: Count
    free: Count
    held: Count
    spent: Count


class CreditEntry(Shape):
    """A change of a team's credits, and what it had after it. A `grant` adds to `granted` and `free`, a
    `hold` moves from `free` to `held`, a `release` back, a `charge` from `held` to `spent`."""

    number: Count
    at: Time
    kind: Literal["grant", "hold", "release", "charge"]
    amount: int
    """Above 0, but for a `grant` that takes back."""
    job_id: Id | None
    reason: str
    balance: Credits


class CreditLedger(Shape):
    """What a team has, and a page of how it came to that, the newest first."""

    team_id: str
    credits: Credits
    entries: list[CreditEntry]
    limit: Count
    offset: Count


class Team(Shape):
    """Who pays."""

    team_id: str
    budget_mode: Literal["job_based", "consumption_usd", "consumption_tokens"]
    credits_per_dollar: Count
    tokens_per_credit: Count
    rate_limit: str | None
    model_groups: list[str] | None
    """Null: all."""
    created_at: Time
    credits: Credits


class NewTeam(Team):
    """With its first key, which is shown this once."""

    virtual_key: str


class TeamList(Shape):
    teams: list[Team]


class Balance(Shape):
    team_id: str
    credits: Credits


class Key(Shape):
    """A virtual key, by what it begins with."""

    key_id: Id
    team_id: str
    prefix: str
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None


class NewKey(Key):
    """With its text, which is shown this once."""

    virtual_key: str


class KeyList(Shape):
    keys: list[Key]


class ModelGroup(Shape):
    """A name for several models, which are asked in their order until one answers."""

    name: str
    members: list[str]
    source: Literal["file", "default", "admin"]


class ModelGroupList(Shape):
    model_groups: list[ModelGroup]


class ModelGroupDeleted(Shape):
    deleted: Literal[True]
    name: str
