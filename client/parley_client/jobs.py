"""What the jobs API answers: jobs, calls, costs, usage."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from parley_client.completions import Completion
from parley_client.reading import Reading

Outcome: TypeAlias = Literal["completed", "failed"]
JobStatus: TypeAlias = Literal["pending", "in_progress", "completed", "failed"]


class JobCreated(Reading):
    """A job that was made."""

    job_id: str
    team_id: str
    status: JobStatus
    created_at: datetime


class Job(JobCreated):
    """A job. If it has not ended by `expires_at`, it fails; `credits_held` are its team's until it has."""

    user_id: str | None = None
    job_type: str
    metadata: dict[str, Any]
    error_message: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    credits_held: int = 0
    credits_charged: int = 0


class JobPage(Reading):
    """The newest first."""

    jobs: list[Job]
    limit: int | None = None
    offset: int | None = None


class CallResponse(Reading):
    content: str | None = None
    finish_reason: str
    tool_calls: list[dict[str, Any]] | None = None


class CallMetadata(Reading):
    """`model` is the name that was asked for. `cost_usd` is None if it is yet to be recorded."""

    tokens_used: int
    latency_ms: float
    model: str
    cost_usd: float | None = None


class CallResult(Completion):
    """One model call of a job: OpenAI's completion, and what the job knows of it."""

    call_id: str
    job_id: str | None = None
    response: CallResponse
    metadata: CallMetadata


class Call(Reading):
    """As a job's bill names it. `state` is running, done, stopped, cut, failed or interrupted; `latency_ms`
    is None while it runs."""

    call_id: str
    purpose: str | None = None
    model_group: str | None = None
    model: str | None = None
    state: str | None = None
    tokens: int
    latency_ms: float | None = None
    cost_usd: float | None = None
    error: str | None = None


class Costs(Reading):
    """`credit_applied` says whether the team was charged, `credits_remaining` what it has left."""

    total_calls: int
    successful_calls: int
    failed_calls: int
    total_tokens: int
    total_cost_usd: float
    avg_latency_ms: float
    credit_applied: bool
    credits_remaining: int


class JobResult(Reading):
    """A job that has ended, and its bill."""

    job_id: str
    status: Outcome
    completed_at: datetime
    total_calls: int
    credits_charged: int | None = None
    credits_remaining: int
    costs: Costs
    calls: list[Call]


class JobCosts(Reading):
    """What a job has cost so far, call by call."""

    job_id: str
    status: JobStatus | None = None
    costs: Costs
    calls: list[Call]


class OneCallJob(CallResult):
    """A job made, called once and completed, in one request."""

    job_id: str
    status: JobStatus
    completed_at: datetime | None = None
    costs: Costs
    credits_remaining: int


class UsageSummary(Reading):
    total_jobs: int
    successful_jobs: int
    failed_jobs: int
    total_calls: int
    total_tokens: int
    total_cost_usd: float
    credits_spent: int
    avg_ttft_ms: int | None = None


class JobTypeUsage(Reading):
    count: int
    cost_usd: float


class ModelUsage(Reading):
    calls: int
    tokens: int
    cost_usd: float
    avg_ttft_ms: float | None = None


class DayUsage(ModelUsage):
    credits: int


class TeamUsage(Reading):
    """`period` is a month, `2026-11`, or a day, `2026-11-20`, in UTC; `days` are those with something in
    them."""

    team_id: str
    period: str
    summary: UsageSummary
    job_types: dict[str, JobTypeUsage]
    models: dict[str, ModelUsage]
    days: dict[str, DayUsage] = Field(default_factory=dict)


class ModelDay(Reading):
    """What a day's calls of one model took; `avg_ttft_ms` is their mean time to the first token."""

    day: str
    model: str
    calls: int
    failed_calls: int
    prompt_tokens: int
    completion_tokens: int
    avg_ttft_ms: int | None = None
    cost_usd: float


class DailyUsage(Reading):
    """A page, in the order of days and models."""

    team_id: str
    period: str
    usage: list[ModelDay]
    limit: int
    offset: int


class Credits(Reading):
    granted: int
    free: int
    held: int
    spent: int


class CreditEntry(Reading):
    """One change of a team's credits, and what it had after it."""

    number: int
    at: datetime
    kind: Literal["grant", "hold", "release", "charge"]
    amount: int
    job_id: str | None = None
    reason: str
    balance: Credits


class CreditLedger(Reading):
    """What a team has, and a page of how it came to that, the newest first."""

    team_id: str
    credits: Credits
    entries: list[CreditEntry]
    limit: int
    offset: int


class Team(Reading):
    """Who pays, and how; `model_groups` None: it may use all."""

    team_id: str
    budget_mode: Literal["job_based", "consumption_usd", "consumption_tokens"]
    credits_per_dollar: int
    tokens_per_credit: int
    rate_limit: str | None
    model_groups: list[str] | None
    created_at: datetime
    credits: Credits
