"""Everything that can be done, in any order, retried, and cut off before or after its commit; beside it a
ledger so small that one sees it is right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, select

from backend.chat.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound, ParleyError
from backend.ledger import tables, teams
from backend.ledger.records import Credits, Most, NewCall, NewJob, Outcome, Terms
from tests.ledger.world import BY_THE_JOB, JOB_TTL_S, LEASE_S, TOKENS, USD, Cut, World
from tests.postgres import Postgres

TEAMS = {"by-job": BY_THE_JOB, "by-usd": USD, "by-token": TOKENS}
CUTS = st.sampled_from([None, None, None, "before", "after"])
Call = tuple[str, str, str]
"""Team, job, and the name of the call and of its stream."""
STATES = st.sampled_from(["done", "stopped", "cut", "failed", "interrupted"])
FAILURES = ("failed", "interrupted", "withdrawn")


@dataclass
class SmallJob:
    team: str
    opened_s: float
    status: str = "pending"
    held: int = 0
    charged: int | None = None
    calls: list[str] = field(default_factory=list)


@dataclass
class SmallCall:
    job: str
    held: int
    begun_s: float
    state: str = "running"
    tokens: int = 0
    micro_usd: int = 0


@dataclass
class Small:
    """All that a ledger is, in memory."""

    granted: dict[str, int] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, SmallJob] = field(default_factory=dict)
    calls: dict[str, SmallCall] = field(default_factory=dict)
    gifts: set[str] = field(default_factory=set)

    def held(self, team: str) -> int:
        return sum(job.held for job in self.jobs.values() if job.team == team)

    def free(self, team: str) -> int:
        return self.granted[team] - self.spent[team] - self.held(team)

    def grant(self, team: str, amount: int, once: str) -> None:
        if once in self.gifts:
            return
        if self.free(team) + amount < 0:
            raise InvalidRequest("")
        self.granted[team] += amount
        self.gifts.add(once)

    def credits(self, terms: Terms, tokens: int, micro_usd: int) -> int:
        used = {
            "job_based": 0.0,
            "consumption_usd": micro_usd * terms.credits_per_dollar / 1_000_000,
            "consumption_tokens": tokens / terms.tokens_per_credit,
        }[terms.budget_mode]
        return int(used) + (used > int(used))

    def begin(self, job_id: str, call_id: str, most: Most, now_s: float) -> None:
        job = self.jobs[job_id]
        if call_id in self.calls:
            return
        if job.status in ("completed", "failed"):
            raise Conflict("")
        amount = self.credits(TEAMS[job.team], most.tokens, most.micro_usd)
        amount = amount if job.held else max(amount, 1)
        if amount > self.free(job.team):
            raise InsufficientCredits("")
        job.held += amount
        job.status = "in_progress"
        job.calls.append(call_id)
        self.calls[call_id] = SmallCall(job_id, amount, now_s)

    def settle(
        self, call_id: str, state: str, tokens: int, micro_usd: int, status: str | None = None
    ) -> None:
        call = self.calls[call_id]
        job = self.jobs[call.job]
        if call.state != "running":
            return
        call.state, call.tokens, call.micro_usd = state, tokens, micro_usd
        if state == "withdrawn":
            job.calls.remove(call_id)
            if job.status == "in_progress":
                job.held -= min(call.held, job.held - (1 if job.calls else 0))
        self.bill(job)
        if status or call.job == call_id:
            self.end(call.job, status or ("failed" if state in FAILURES else "completed"))

    def end(self, job_id: str, status: str) -> None:
        job = self.jobs[job_id]
        if job.status not in ("completed", "failed"):
            job.status = status
            self.bill(job)

    def bill(self, job: SmallJob) -> None:
        calls = [self.calls[call_id] for call_id in job.calls]
        if job.charged is not None or job.status in ("pending", "in_progress"):
            return
        if job.status == "failed":
            job.charged, job.held = 0, 0
        elif all(call.state != "running" for call in calls):
            used = sum(call.tokens for call in calls), sum(call.micro_usd for call in calls)
            due = max(1, self.credits(TEAMS[job.team], *used))
            job.charged = min(due, job.held + self.free(job.team))
            job.held = 0
            self.spent[job.team] += job.charged

    def sweep(self, now_s: float) -> None:
        for job_id, job in self.jobs.items():
            running = [call for name in job.calls if (call := self.calls[name]).state == "running"]
            leased = any(call.begun_s + LEASE_S > now_s for call in running)
            if job.opened_s + JOB_TTL_S <= now_s and not leased:
                self.end(job_id, "failed")


def refusal_of(attempt: Callable[[], object]) -> type[ParleyError] | None:
    try:
        attempt()
    except ParleyError as exc:
        return type(exc)
    return None


class Machine(RuleBasedStateMachine):
    """`make` gives a new, empty World."""

    make: Callable[[], World]

    jobs = Bundle("jobs")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make()
        self.small = Small()
        self.passed_s = 0.0
        self.last: tuple[Callable[[], object], Callable[[Small], None]] | None = None

    def teardown(self) -> None:
        assert self.world.accounts.audit() == []
        self.world.close()

    def do(
        self, really: Callable[[], object], simply: Callable[[Small], None], cut: str | None = None
    ) -> bool:
        """Do it in both; they agree on what becomes of it. Whether it happened."""
        wanted = deepcopy(self.small)
        refusal = refusal_of(lambda: simply(wanted))
        self.last = (really, simply)
        self.world.database.cut = cut
        try:
            assert refusal_of(really) is refusal
        except Cut:
            self.world.database.close()  # its connections are gone, and all else that it had
            if cut == "before":
                return False
        self.world.database.cut = None
        if refusal is None:
            self.small = wanted
        return refusal is None

    @initialize(credits=st.lists(st.integers(0, 30), min_size=3, max_size=3))
    def begin_teams(self, credits: list[int]) -> None:
        for amount, (team, terms) in zip(credits, TEAMS.items(), strict=True):
            self.world.team(amount, terms, team)
            self.small.granted[team], self.small.spent[team] = amount, 0

    @rule(team=st.sampled_from(list(TEAMS)), amount=st.integers(-20, 20).filter(bool), cut=CUTS)
    def grant(self, team: str, amount: int, cut: str | None) -> None:
        once = f"gift-{next(self.world.ids)}"
        self.do(
            lambda: self.world.accounts.grant(team, amount, "because", once=once),
            lambda small: small.grant(team, amount, once),
            cut,
        )

    @rule(target=jobs, team=st.sampled_from(list(TEAMS)), cut=CUTS)
    def open(self, team: str, cut: str | None) -> object:
        job_id = f"job-{next(self.world.ids)}"
        opened_s = self.passed_s

        def simply(small: Small) -> None:
            small.jobs.setdefault(job_id, SmallJob(team, opened_s))

        done = self.do(lambda: self.world.ledger.open_job(NewJob(job_id, team, "chat")), simply, cut)
        return (team, job_id) if done else multiple()

    @rule(
        target=calls,
        job=jobs,
        most=st.builds(Most, st.integers(0, 9000), st.integers(0, 90_000)),
        cut=CUTS,
    )
    def begin(self, job: tuple[str, str], most: Most, cut: str | None) -> object:
        team, job_id = job
        name, now_s = f"s{next(self.world.ids)}", self.passed_s
        call = NewCall(name, job_id, team, name, "demo", most)
        done = self.do(
            lambda: self.world.ledger.begin_call(call),
            lambda small: small.begin(job_id, name, most, now_s),
            cut,
        )
        return (team, job_id, name) if done else multiple()

    @rule(
        target=calls,
        team=st.sampled_from(list(TEAMS)),
        most=st.builds(Most, st.integers(0, 4000), st.integers(0, 40_000)),
        cut=CUTS,
    )
    def begin_with_its_job(self, team: str, most: Most, cut: str | None) -> object:
        return self.begun(team, most, cut) or multiple()

    def begun(self, team: str, most: Most, cut: str | None) -> Call | None:
        name, opened_s = f"both-{next(self.world.ids)}", self.passed_s
        call, job = NewCall(name, name, team, name, "demo", most), NewJob(name, team, "chat")

        def simply(small: Small) -> None:
            small.jobs.setdefault(name, SmallJob(team, opened_s))
            small.begin(name, name, most, opened_s)

        done = self.do(lambda: self.world.ledger.begin_call(call, job), simply, cut)
        return (team, name, name) if done else None

    @rule(
        team=st.sampled_from(list(TEAMS)),
        tokens=st.integers(0, 6000),
        end_first=st.booleans(),
        status=st.sampled_from(["completed", "completed", "failed"]),
        cuts=st.tuples(CUTS, CUTS),
    )
    def whole_job(
        self, team: str, tokens: int, end_first: bool, status: str, cuts: tuple[str | None, str | None]
    ) -> None:
        """From its call to its end, which come in either order."""
        call = self.begun(team, Most(4000, 40_000), None)
        if call is None:
            return
        turns = [
            lambda cut: self.settle(call, "done", tokens, tokens * 10, cut),
            lambda cut: self.end(call, status, cut),
        ]
        for turn, cut in zip(turns[::-1] if end_first else turns, cuts, strict=True):
            turn(cut)

    @rule(call=calls, state=STATES, tokens=st.integers(0, 12_000), micros=st.integers(0, 99_000), cut=CUTS)
    def settle(self, call: Call, state: str, tokens: int, micros: int, cut: str | None) -> None:
        self.settle_stream(call[2], state, tokens, micros, cut)

    def settle_stream(self, name: str, state: str, tokens: int, micros: int, cut: str | None) -> None:
        outcome = Outcome(name, state, tokens // 2, tokens - tokens // 2, micros, "usage")
        self.do(
            lambda: self.world.ledger.settle(outcome),
            lambda small: small.settle(name, state, tokens, micros),
            cut,
        )

    @rule(call=calls, cut=CUTS)
    def withdraw(self, call: Call, cut: str | None) -> None:
        self.do(
            lambda: self.world.ledger.settle(Outcome(call[2], "withdrawn")),
            lambda small: small.settle(call[2], "withdrawn", 0, 0),
            cut,
        )

    @rule(job=st.one_of(jobs, calls), status=st.sampled_from(["completed", "completed", "failed"]), cut=CUTS)
    def end(self, job: tuple[str, ...], status: str, cut: str | None) -> None:
        self.do(
            lambda: self.world.ledger.end_job(job[0], job[1], status),
            lambda small: small.end(job[1], status),
            cut,
        )

    @rule(call=calls, state=STATES, status=st.sampled_from(["completed", "failed"]), cut=CUTS)
    def settle_and_end(self, call: Call, state: str, status: str, cut: str | None) -> None:
        def simply(small: Small) -> None:
            small.settle(call[2], state, 100, 100, status)
            small.end(call[1], status)

        outcome = Outcome(call[2], state, 50, 50, 100, "estimate")
        self.do(lambda: self.world.ledger.settle(outcome, status), simply, cut)

    @precondition(lambda self: self.last is not None)
    @rule(cut=CUTS)
    def retry(self, cut: str | None) -> None:
        """Whoever did the last thing did not hear of it, and does it again."""
        assert self.last is not None
        self.do(*self.last, cut)

    @rule(job=jobs)
    def another_teams(self, job: tuple[str, str]) -> None:
        team, job_id = job
        other = next(name for name in TEAMS if name != team)

        def simply(small: Small) -> None:
            raise NotFound("")

        self.do(lambda: self.world.ledger.end_job(other, job_id, "completed"), simply)
        self.last = None

    @rule(seconds=st.sampled_from([1.0, LEASE_S + 1, JOB_TTL_S / 2]))
    def time_passes(self, seconds: float) -> None:
        self.passed_s += seconds
        self.world.clock.forward(seconds)
        self.last = None

    @rule(reconciles=st.booleans())
    def sweep(self, reconciles: bool) -> None:
        """Whoever finds a call without its process settles it as far as it is known."""
        assert self.world.accounts.audit() == []
        swept = self.world.ledger.sweep()
        self.small.sweep(self.passed_s)
        self.last = None
        for call in swept.overdue if reconciles else ():
            self.settle_stream(call.stream_id, "interrupted", 1500, 1500, None)

    @invariant()
    def both_are_the_same(self) -> None:
        small = self.small
        found = self.world.database.read(everything)
        assert found.credits == {
            team: Credits(granted, small.free(team), small.held(team), small.spent[team])
            for team, granted in small.granted.items()
        }
        assert all(min(credits.free, credits.held, credits.spent) >= 0 for credits in found.credits.values())
        assert found.jobs == {
            job_id: (job.status, job.held, job.charged) for job_id, job in small.jobs.items()
        }
        assert found.calls == {
            stream_id: (call.state, call.tokens, call.micro_usd) for stream_id, call in small.calls.items()
        }


@dataclass
class Found:
    credits: dict[str, Credits]
    jobs: dict[str, tuple[str, int, int | None]]
    calls: dict[str, tuple[str, int, int]]


def everything(tx: Connection) -> Found:
    """All that matters, as of one moment."""
    return Found(
        {team.team_id: team.credits for team in teams.page(tx, 9, 0)},
        {row.job_id: (row.status, row.held, row.charged) for row in tx.execute(select(tables.jobs))},
        {
            row.stream_id: (row.state, row.prompt_tokens + row.completion_tokens, row.micro_usd)
            for row in tx.execute(select(tables.calls))
        },
    )


def run(make: Callable[[], World], examples: int) -> None:
    machine = type("Machine", (Machine,), {"make": staticmethod(make)})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=checks
        ),
    )


def test_in_any_order_sqlite_is_balanced_after_every_commit(made: Path) -> None:
    with TemporaryDirectory() as folder:

        def make() -> World:
            for path in Path(folder).iterdir():
                path.unlink()
            shutil.copy(made, Path(folder) / "ledger.db")
            return World(f"sqlite:///{folder}/ledger.db")

        run(make, examples=40)


def test_in_any_order_postgresql_is_balanced_after_every_commit(postgres: Postgres) -> None:
    def make() -> World:
        world = World(postgres.url)
        world.empty()
        return world

    run(make, examples=20)
