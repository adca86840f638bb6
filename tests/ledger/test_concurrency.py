"""Many at once, in threads and in processes, some of which die."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import func, select

from backend.chat.errors import InsufficientCredits, ParleyError
from backend.ledger.records import Credits, Most, NewCall, NewJob, Outcome
from backend.ledger.tables import calls, entries
from tests.ledger.world import TOKENS, World

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60


def at_once(count: int, attempt: Callable[[int], object]) -> Counter[str]:
    """What became of so many attempts, all begun together."""
    gate = threading.Barrier(count)
    became: list[str] = []

    def one(number: int) -> None:
        gate.wait(PATIENCE_S)
        try:
            attempt(number)
            became.append("done")
        except ParleyError as exc:
            became.append(exc.type)

    threads = [threading.Thread(target=one, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(became) == count
    return Counter(became)


@contextmanager
def spender(what: str, url: str, name: str, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-m", "tests.ledger.spender", what, url, name, str(first), str(count)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str]) -> Iterator[int]:
    assert process.stdout is not None
    return map(int, process.stdout)


def test_of_fifty_calls_at_once_with_credit_for_one_there_is_one(world: World) -> None:
    world.team(1)
    jobs = [world.job() for _ in range(50)]
    became = at_once(50, lambda number: world.call(jobs[number], stream_id=f"s{number}"))
    assert became == {"done": 1, "insufficient_credits": 49}
    assert world.credits() == Credits(1, 0, 1, 0)


def test_the_same_call_begun_by_many_at_once_holds_once(world: World) -> None:
    world.team(10, TOKENS)
    job, call = NewJob("j", "acme", "chat"), NewCall("c", "j", "acme", "s", "demo", Most(3000, 0))
    assert at_once(20, lambda _: world.ledger.begin_call(call, job)) == {"done": 20}
    assert world.credits() == Credits(10, 7, 3, 0)


def test_a_call_that_many_settle_at_once_is_settled_by_one_of_them(world: World) -> None:
    world.team(10, TOKENS)
    call = world.call(world.job(job_id="j"), Most(9000, 0))
    states = ("done", "stopped", "cut", "failed", "interrupted")
    settled = []

    def settle(number: int) -> None:
        outcome = Outcome(call.stream_id, states[number % 5], 0, 100 * number, number, "usage")
        status = ("completed", "failed", None)[number % 3]
        settled.append(world.ledger.settle(outcome, status))

    assert at_once(20, settle) == {"done": 20}
    assert len({(one.state, one.tokens, one.settled_at) for one in settled}) == 1
    assert len([kind for kind, _ in world.kinds() if kind == "charge"]) <= 1
    assert world.credits().held == 0


def test_a_job_that_many_end_at_once_pays_once(world: World) -> None:
    world.team(10)
    job = world.job()
    world.settle(world.call(job))
    bills = []
    at_once(20, lambda number: bills.append(world.end(job, ("completed", "failed")[number % 2]).bill))
    assert all(bill == bills[0] for bill in bills)
    assert world.credits().free + world.credits().spent == 10
    assert world.kinds()[:2] == [("grant", 10), ("hold", 1)]
    assert len(world.kinds()) == 3


def test_a_job_that_ends_as_its_call_is_settled_is_billed_for_it(world: World) -> None:
    world.team(1000, TOKENS)
    for number in range(10):
        job = world.job(job_id=f"j{number}")
        call = world.call(job, Most(5000, 0))
        both = (
            lambda call=call: world.settle(call, tokens=4001),  # type: ignore[misc]
            lambda job=job: world.end(job),  # type: ignore[misc]
        )
        at_once(2, lambda which, both=both: both[which]())  # type: ignore[misc]
        assert world.end(job).charged == 5
    assert world.credits() == Credits(1000, 950, 0, 50)


def test_teams_and_keys_made_at_once_are_one_of_a_name(world: World) -> None:
    assert at_once(10, lambda _: world.team(5)) == {"done": 1, "invalid_request": 9}
    assert world.credits() == Credits(5, 5, 0, 0)
    assert at_once(10, lambda _: world.accounts.grant("acme", 7, "paid", once="invoice")) == {"done": 10}
    assert world.credits().granted == 12


def test_everything_at_once_neither_loses_nor_makes_a_credit(world: World) -> None:
    for team_id in ("acme", "rival"):
        world.team(30, TOKENS, team_id)

    def live(number: int) -> None:
        mine = random.Random(number)
        for turn in range(4):
            team_id, name = mine.choice(("acme", "rival")), f"{number}-{turn}"
            try:
                call = NewCall(name, name, team_id, name, "demo", Most(mine.randint(0, 6000), 0))
                world.ledger.begin_call(call, NewJob(name, team_id, "chat"))
            except InsufficientCredits:
                world.accounts.grant(team_id, 3, "more")
                continue
            outcome = Outcome(name, "done", 0, mine.randint(0, 6000), 0, "usage")
            world.ledger.settle(outcome, mine.choice(("completed", "failed", None)))
            if mine.random() < 0.3:
                world.ledger.sweep()

    assert at_once(16, live) == {"done": 16}
    assert world.accounts.audit() == []


def test_processes_of_which_one_is_killed_spend_no_more_than_there_is(world: World) -> None:
    world.team(100)
    with (
        spender("jobs", world.url, "a", 0, 167) as one,
        spender("jobs", world.url, "b", 0, 167) as two,
        spender("jobs", world.url, "c", 0, 166) as victim,
    ):
        list(islice(lines(victim), 10))
        victim.kill()
        assert [len(list(lines(process))) for process in (one, two)] == [167, 167]
        assert (one.wait(PATIENCE_S), two.wait(PATIENCE_S), victim.wait(PATIENCE_S)) == (0, 0, -9)
    credits = world.credits()
    assert credits.free == 0
    assert credits.held + credits.spent == 100
    assert credits.held <= 1
    assert world.accounts.audit() == []
    world.clock.at = datetime.now(UTC) + timedelta(seconds=10)
    for call in world.ledger.sweep().overdue:
        world.settle(call, state="interrupted")
    credits = world.credits()
    assert (credits.held, credits.spent + credits.free) == (0, 100)
    assert [kind for kind, _ in world.kinds()].count("charge") == credits.spent

    def unsettled(tx):
        return tx.execute(select(func.count()).where(calls.c.settled_at.is_(None))).scalar()

    assert world.database.read(unsettled) == 0


def test_a_process_killed_in_a_commit_leaves_a_posting_or_none(world: World) -> None:
    world.team()
    number = 0
    for seed in range(4):
        with spender("grants", world.url, "g", number, 10_000) as process:
            said = list(islice(lines(process), random.Random(seed).randint(5, 30)))
            time.sleep(random.Random(seed).random() / 500)
            process.kill()
            number = [*said, *lines(process)][-1]  # some it said before it died
        granted = world.credits().granted
        assert number <= granted <= number + 1, seed
        assert world.accounts.audit() == []
    world.accounts.grant("acme", 1, "a credit", once=f"g-{number}")
    assert world.credits().granted == number + 1

    def most_of_a_name(tx):
        counts = select(func.count().label("n")).select_from(entries).group_by(entries.c.once).subquery()
        return tx.execute(select(func.max(counts.c.n))).scalar()

    assert world.database.read(most_of_a_name) == 1
