"""What the jobs API answers: jobs, calls, costs, usage."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from parley_client.completions import Completion
from parley_client.reading import Reading

Outcome: TypeAlias = Literal["completed", "failed"]
JobStatus: TypeAlias = Literal["pending", "in_progress", "completed", "failed"]


class Job(Reading):
    job_id: str
    team_id: str | None = None
    user_id: str | None = None
    job_type: str | None = None
    status: JobStatus
    metadata: dict[str, Any] | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None


class JobPage(Reading):
    jobs: list[Job]


class CallResponse(Reading):
    content: str | None = None
    finish_reason: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class CallMetadata(Reading):
    tokens_used: int | None = None
    latency_ms: float | None = None
    model: str | None = None
    cost_usd: float | None = None


class CallResult(Completion):
    """One model call of a job: OpenAI's completion, and what the job knows of it."""

    call_id: str
    response: CallResponse = Field(default_factory=CallResponse)
    metadata: CallMetadata = Field(default_factory=CallMetadata)


class Call(Reading):
    """As a job's bill names it."""

    call_id: str
    purpose: str | None = None
    model_group: str | None = None
    tokens: int | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    error: str | None = None


class Costs(Reading):
    total_calls: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    total_tokens: int = 0
    total_cost_usd: float = 0.0
    avg_latency_ms: float | None = None
    credit_applied: bool | None = None
    credits_remaining: int | None = None


class JobResult(Reading):
    """A job that has ended."""

    job_id: str
    status: Outcome
    completed_at: datetime | None = None
    total_calls: int
    credits_remaining: int | None = None
    costs: Costs
    calls: list[Call]


class JobCosts(Reading):
    """What a job has cost so far, call by call."""

    job_id: str
    costs: Costs = Field(default_factory=Costs)
    calls: list[Call] = Field(default_factory=list)


class OneCallJob(CallResult):
    """A job made, called once and completed, in one request."""

    job_id: str
    status: JobStatus
    costs: Costs = Field(default_factory=Costs)
    credits_remaining: int | None = None


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


class TeamUsage(Reading):
    """`period` is a month, `2026-11`, or a day, `2026-11-20`, in UTC."""

    team_id: str
    period: str
    summary: UsageSummary
    job_types: dict[str, JobTypeUsage]
    models: dict[str, Any]


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


class Team(Reading):
    team_id: str
    budget_mode: str
    credits: Credits
