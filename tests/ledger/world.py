"""A ledger to try, on a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection, text

from backend.ledger.accounts import Accounts
from backend.ledger.database import Database, T, Work
from backend.ledger.ledger import Ledger
from backend.ledger.records import Call, Credits, Job, JobLimits, Most, NewCall, NewJob, Outcome, Terms
from backend.ledger.tables import metadata
from tests.fakes.runtime import ThreadRuntime

JOB_TTL_S = 1000.0
LEASE_S = 100.0
BY_THE_JOB = Terms()
USD = Terms("consumption_usd", credits_per_dollar=100)
TOKENS = Terms("consumption_tokens", tokens_per_credit=1000)
NOTHING = Most(0, 0)


class Clock(ThreadRuntime):
    """A `Runtime` whose days pass when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> str:
        self.at += timedelta(microseconds=1)
        return self.at.isoformat(timespec="microseconds")

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Cut(BaseException):
    """The process died."""


class CutDatabase(Database):
    """A Database whose process can die before or after its next commit."""

    cut: str | None = None

    def write(self, work: Work[T]) -> T:
        cut, self.cut = self.cut, None

        def dies(tx: Connection) -> T:
            result = work(tx)
            if cut == "before":
                raise Cut
            return result

        result = super().write(dies)
        if cut == "after":
            raise Cut
        return result


@dataclass
class World:
    url: str
    clock: Clock = field(default_factory=Clock)
    ids: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """What a process does at its start."""
        self.database = CutDatabase(self.url, self.clock, patience_s=2.0)
        self.ledger = Ledger(self.database, self.clock, JobLimits(JOB_TTL_S, LEASE_S))
        self.accounts = Accounts(self.database, self.clock)

    def close(self) -> None:
        self.database.close()

    def team(self, credits: int = 0, terms: Terms = BY_THE_JOB, team_id: str = "acme", **more: Any) -> str:
        """The key of a new team."""
        return self.accounts.create_team(team_id, terms, credits, **more)[1]

    def job(self, team_id: str = "acme", job_id: str | None = None, job_type: str = "chat") -> Job:
        return self.ledger.open_job(NewJob(job_id or f"job-{next(self.ids)}", team_id, job_type))

    def call(self, job: Job, most: Most = NOTHING, stream_id: str | None = None) -> Call:
        stream_id = stream_id or f"stream-{next(self.ids)}"
        return self.ledger.begin_call(
            NewCall(f"call-{stream_id}", job.job_id, job.team_id, stream_id, "demo", most)
        )

    def settle(self, call: Call, tokens: int = 0, micro_usd: int = 0, state: str = "done") -> Call:
        return self.ledger.settle(
            Outcome(call.stream_id, state, 0, tokens, micro_usd, basis="usage", latency_ms=7)
        )

    def end(self, job: Job, status: str = "completed") -> Job:
        return self.ledger.end_job(job.team_id, job.job_id, status)

    def credits(self, team_id: str = "acme") -> Credits:
        return self.accounts.team(team_id).credits

    def kinds(self, team_id: str = "acme") -> list[tuple[str, int]]:
        """Its postings, the oldest first."""
        return [(row.kind, row.amount) for row in reversed(self.accounts.entries(team_id, 1000))]

    def run(self, statement: str, **values: Any) -> None:
        """Behind the ledger's back."""
        self.database.write(lambda tx: tx.execute(text(statement), values).close())

    def empty(self) -> None:
        def work(tx: Connection) -> None:
            for table in reversed(metadata.sorted_tables):
                tx.execute(table.delete())

        self.database.write(work)


OpenWorld = Callable[[], World]
