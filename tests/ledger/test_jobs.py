"""Jobs and calls, on every kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.chat.errors import Conflict, IdempotencyMismatch, InsufficientCredits, InvalidRequest, NotFound
from backend.ledger.records import Credits, JobLimits, Most, NewCall, NewJob, Once, Outcome
from tests.ledger.world import JOB_TTL_S, LEASE_S, NOTHING, TOKENS, USD, World


def test_a_job_holds_at_its_first_call_and_pays_when_it_is_completed(world: World) -> None:
    world.team(10)
    job = world.job()
    assert (job.status, world.credits()) == ("pending", Credits(10, 10, 0, 0))
    call = world.call(job)
    assert world.credits() == Credits(10, 9, 1, 0)
    world.call(job, stream_id="second")
    assert world.credits() == Credits(10, 9, 1, 0)
    assert world.ledger.job("acme", job.job_id).status == "in_progress"
    world.settle(call, tokens=7)
    world.ledger.settle(Outcome("second", "failed", error="broke off"))
    ended = world.end(job)
    assert (ended.status, ended.due, ended.charged, ended.held) == ("completed", 1, 1, 0)
    assert world.credits() == Credits(10, 9, 0, 1)
    assert world.kinds() == [("grant", 10), ("hold", 1), ("charge", 1)]


def test_the_bill_says_what_the_calls_came_to(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    world.settle(world.call(job, Most(2000, 0), "one"), tokens=1200, micro_usd=34)
    world.call(job, Most(1000, 0), "two")
    world.ledger.settle(Outcome("two", "failed", 5, 6, 7, latency_ms=9, error="the upstream broke off"))
    bill = world.end(job).bill
    assert bill == world.end(job).bill == world.ledger.job("acme", job.job_id).bill
    lines = bill.pop("calls")
    assert bill == {
        "job_id": job.job_id, "status": "completed", "completed_at": bill["completed_at"], "total_calls": 2,
        "successful_calls": 1, "failed_calls": 1, "total_tokens": 1211, "total_micro_usd": 41,
        "avg_latency_ms": 8, "credits_charged": 2, "credits_remaining": 8,
    }  # fmt: skip
    assert [(line["call_id"], line["tokens"], line["error"]) for line in lines] == [
        ("call-one", 1200, None),
        ("call-two", 11, "the upstream broke off"),
    ]


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize("again", ["completed", "failed"])
def test_ending_a_job_twice_changes_nothing_the_second_time(world: World, status: str, again: str) -> None:
    world.team(10)
    job = world.job()
    world.settle(world.call(job))
    first = world.end(job, status)
    credits = world.credits()
    assert world.end(job, again) == first
    assert world.credits() == credits == Credits(10, *((9, 0, 1) if status == "completed" else (10, 0, 0)))


def test_a_failed_job_pays_nothing_and_its_calls_stay_recorded(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    world.settle(world.call(job, Most(5000, 0)), tokens=4999)
    ended = world.end(job, "failed")
    assert world.credits() == Credits(10, 10, 0, 0)
    assert ended.bill["total_tokens"] == 4999


def test_in_consumption_modes_every_call_holds_its_most_and_the_rest_is_let_go(world: World) -> None:
    world.team(100, USD)
    job = world.job()
    one = world.call(job, Most(0, 50_001))
    two = world.call(job, Most(0, 200_000))
    assert world.credits() == Credits(100, 74, 26, 0)
    world.settle(one, micro_usd=10_001)
    world.settle(two, micro_usd=20_000, state="stopped")
    assert world.end(job).charged == 4  # 3.0001, rounded up once
    assert world.credits() == Credits(100, 96, 0, 4)


def test_what_was_generated_before_a_break_is_paid_for(world: World) -> None:
    world.team(100, TOKENS)
    job = world.job()
    for state in ("stopped", "cut", "failed", "interrupted"):
        world.settle(world.call(job, Most(1000, 0)), tokens=600, state=state)
    assert world.end(job).charged == 3


def test_without_enough_credits_nothing_begins(world: World) -> None:
    world.team(5, TOKENS)
    job = world.job()
    with pytest.raises(InsufficientCredits) as refused:
        world.call(job, Most(5001, 0), "dear")
    assert (refused.value.status, refused.value.type) == (402, "insufficient_credits")
    with pytest.raises(NotFound):
        world.ledger.call("dear")
    assert world.ledger.job("acme", job.job_id) == job
    assert world.credits() == Credits(5, 5, 0, 0)


def test_a_job_and_its_one_call_are_begun_together_or_not_at_all(world: World) -> None:
    world.team(0)
    job, call = NewJob("j", "acme", "chat"), NewCall("c", "j", "acme", "s", "demo", NOTHING)
    with pytest.raises(InsufficientCredits):
        world.ledger.begin_call(call, job)
    with pytest.raises(NotFound):
        world.ledger.job("acme", "j")
    world.accounts.grant("acme", 1, "more")
    assert world.ledger.begin_call(call, job) == world.ledger.begin_call(call, job)
    settled = world.ledger.settle(Outcome("s", "done", 1, 2, 3, "usage"), job_status="completed")
    again = world.ledger.settle(Outcome("s", "failed", 9, 9, 9), job_status="failed")
    assert (settled, settled.tokens, again.basis) == (again, 3, "usage")
    assert world.ledger.job("acme", "j").charged == 1


def test_an_ended_job_takes_no_more_calls(world: World) -> None:
    world.team(10)
    for status in ("completed", "failed"):
        job = world.job()
        world.end(job, status)
        with pytest.raises(Conflict) as refused:
            world.call(job)
        assert refused.value.status == 409


def nowhere(world: World, team_id: str, job_id: str) -> Iterator[Callable[[], object]]:
    """All that can be done with a job, where there is none."""
    ledger = world.ledger
    yield lambda: ledger.job(team_id, job_id)
    yield lambda: ledger.calls(team_id, job_id)
    yield lambda: ledger.end_job(team_id, job_id, "completed")
    yield lambda: ledger.add_metadata(team_id, job_id, {})
    yield lambda: ledger.begin_call(NewCall("c", job_id, team_id, "s", "demo", NOTHING))


def test_another_teams_job_is_not_found_as_one_that_never_was(world: World) -> None:
    world.team(10)
    world.team(10, team_id="rival")
    told = set()
    for job_id in (world.job().job_id, "never"):
        for attempt in nowhere(world, "rival", job_id):
            with pytest.raises(NotFound) as refused:
                attempt()
            told.add(refused.value.message)
    assert len(told) == 1


def test_ids_that_are_taken_are_refused(world: World) -> None:
    world.team(10)
    world.team(10, team_id="rival")
    job = world.job(job_id="mine")
    call = world.call(job, stream_id="mine")
    with pytest.raises(Conflict):
        world.job("rival", "mine")
    other = world.job("rival")
    for call_id, stream_id in ((call.call_id, "other"), ("other", "mine")):
        with pytest.raises(Conflict):
            world.ledger.begin_call(NewCall(call_id, other.job_id, "rival", stream_id, "demo", NOTHING))
    assert world.credits("rival") == Credits(10, 10, 0, 0)


def test_a_job_and_its_call_may_have_the_same_id(world: World) -> None:
    world.team(10, TOKENS)
    world.ledger.begin_call(
        NewCall("same", "same", "acme", "same", "demo", Most(2000, 0)), NewJob("same", "acme", "chat")
    )
    other = world.job()
    world.settle(world.call(other, Most(1000, 0), "withdrawn"), state="withdrawn")
    world.ledger.settle(Outcome("same", "done", 0, 3500, 0, "usage"), "completed")
    assert world.credits() == Credits(10, 6, 0, 4)


def test_beginning_a_call_again_holds_once(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    assert world.call(job, Most(3000, 0), "one") == world.call(job, Most(3000, 0), "one")
    assert world.credits() == Credits(10, 7, 3, 0)


def test_the_first_settlement_of_a_call_stands(world: World) -> None:
    world.team(10)
    call = world.call(world.job())
    first = world.settle(call, tokens=5)
    assert world.settle(call, tokens=50, state="interrupted") == first
    assert world.ledger.call(call.stream_id) == first


def test_a_job_completed_while_a_call_runs_is_billed_by_the_last_of_them(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    world.settle(world.call(job, Most(1000, 0)), tokens=500)
    running = [world.call(job, Most(3000, 0)) for _ in range(2)]
    ended = world.end(job)
    assert (ended.status, ended.bill, ended.charged) == ("completed", None, None)
    assert world.credits() == Credits(10, 3, 7, 0)
    with pytest.raises(Conflict):
        world.call(job)
    world.settle(running[0], tokens=2000, state="cut")
    assert world.end(job).bill is None
    world.settle(running[1], tokens=501)
    billed = world.end(job)
    assert (billed.charged, billed.bill["total_tokens"]) == (4, 3001)
    world.settle(running[1], tokens=5000)
    assert world.end(job) == billed
    assert world.credits() == Credits(10, 6, 0, 4)


def test_a_job_failed_while_a_call_runs_lets_go_at_once_and_the_call_is_recorded_later(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    call = world.call(job, Most(3000, 0))
    ended = world.end(job, "failed")
    assert (world.credits(), ended.bill) == (Credits(10, 10, 0, 0), None)
    assert world.settle(call, tokens=2000).tokens == 2000
    bill = world.end(job).bill
    assert bill is not None
    assert (bill["status"], bill["total_tokens"], bill["credits_charged"]) == ("failed", 2000, 0)
    assert world.end(job, "failed").bill == bill
    assert world.credits() == Credits(10, 10, 0, 0)


def test_a_job_past_its_time_is_given_until_its_call_ends(world: World) -> None:
    world.team(10)
    job = world.job()
    world.clock.forward(JOB_TTL_S - 1)
    call = world.call(job)
    world.clock.forward(2)
    assert world.ledger.sweep().failed == []
    world.clock.forward(LEASE_S)
    assert [*world.ledger.sweep().failed] == [job.job_id], "who runs it is gone"
    assert world.settle(call).state == "done"
    assert world.credits() == Credits(10, 10, 0, 0)


def test_a_bill_over_its_hold_takes_what_is_free_and_no_more(world: World) -> None:
    world.team(5, TOKENS)
    job = world.job()
    world.settle(world.call(job, Most(2000, 0)), tokens=3500)
    assert world.end(job).charged == 4
    other = world.job()
    world.settle(world.call(other, Most(1000, 0)), tokens=9000)
    ended = world.end(other)
    assert (ended.due, ended.charged) == (9, 1)
    assert world.credits() == Credits(5, 0, 0, 5)


def test_a_job_without_calls_is_a_job(world: World) -> None:
    world.team(1)
    assert world.end(world.job()).charged == 1
    assert world.end(world.job()).charged == 0  # there is nothing left to take
    assert world.credits() == Credits(1, 0, 0, 1)


def test_a_call_that_never_began_holds_nothing_and_is_on_no_bill(world: World) -> None:
    world.team(10, TOKENS)
    job = world.job()
    world.settle(world.call(job, Most(3000, 0)), state="withdrawn")
    assert world.credits() == Credits(10, 10, 0, 0)
    world.settle(world.call(job, Most(1000, 0)), tokens=1)
    bill = world.end(job).bill
    assert (bill["total_calls"], bill["credits_charged"]) == (1, 1)
    with pytest.raises(InvalidRequest):
        world.settle(world.call(world.job()), tokens=1, state="withdrawn")


def test_a_job_goes_on_holding_its_credit_when_its_first_call_is_withdrawn(world: World) -> None:
    world.team(10)
    job = world.job()
    first = world.call(job)
    world.call(job)
    world.settle(first, state="withdrawn")
    assert world.credits() == Credits(10, 9, 1, 0)


def test_a_team_that_changes_its_terms_pays_begun_jobs_by_the_old_ones(world: World) -> None:
    world.team(10)
    job = world.job()
    world.settle(world.call(job), tokens=5000)
    world.accounts.change_team("acme", {"budget_mode": "consumption_tokens"})
    assert world.end(job).charged == 1
    later = world.job()
    world.settle(world.call(later, Most(5000, 0)), tokens=5000)
    assert world.end(later).charged == 5


def test_the_sweep_fails_jobs_past_their_time_and_names_the_calls_whose_lease_is_over(world: World) -> None:
    world.team(10)
    old = world.job()
    left = world.call(old)
    world.clock.forward(LEASE_S / 2)
    kept = world.call(old)
    assert world.ledger.sweep().overdue == []
    world.clock.forward(LEASE_S / 2 + 1)
    assert world.ledger.renew([kept.stream_id, "unknown"]) == 1
    assert [call.call_id for call in world.ledger.sweep().overdue] == [left.call_id]
    world.settle(left, tokens=3, state="interrupted")
    world.clock.forward(JOB_TTL_S - 1.5 * LEASE_S)
    young = world.job()
    world.clock.forward(LEASE_S / 2)
    swept = world.ledger.sweep()
    assert (swept.failed, [call.call_id for call in swept.overdue]) == ([old.job_id], [kept.call_id])
    assert world.ledger.job("acme", old.job_id).status == "failed"
    assert world.ledger.job("acme", young.job_id).status == "pending"
    assert world.credits() == Credits(10, 10, 0, 0)
    assert world.ledger.sweep().failed == []


def test_a_completed_job_that_waits_for_a_call_is_not_failed_by_its_age(world: World) -> None:
    world.team(10)
    job = world.job()
    call = world.call(job)
    world.end(job)
    world.clock.forward(JOB_TTL_S + 1)
    assert world.ledger.sweep().failed == []
    world.settle(call, state="interrupted")
    assert world.end(job).charged == 1


def test_metadata_is_merged_key_by_key(world: World) -> None:
    world.team(10)
    job = world.ledger.open_job(NewJob("j", "acme", "chat", "ann", {"a": 1, "b": {"c": None}}))
    assert world.ledger.add_metadata("acme", "j", {"a": 2, "d": []}).metadata == {
        "a": 2, "b": {"c": None}, "d": [],
    }  # fmt: skip
    ended = world.ledger.end_job("acme", "j", "failed", {"e": "\u2028"}, "no use")
    assert (ended.metadata["e"], ended.error_message, ended.user_id) == ("\u2028", "no use", job.user_id)


def test_metadata_of_a_job_and_of_a_call_is_bounded(world: World) -> None:
    world.team(10)
    most = JobLimits().metadata_bytes
    full = {"a": "\u00e9" * ((most - len('{"a":""}')) // 2)}
    world.ledger.open_job(NewJob("j", "acme", "chat", metadata=full))
    more = full | {"b": 1}
    refused: list[Callable[[], object]] = [
        lambda: world.ledger.open_job(NewJob("k", "acme", "chat", metadata=more)),
        lambda: world.ledger.add_metadata("acme", "j", {"b": 1}),
        lambda: world.ledger.end_job("acme", "j", "completed", {"b": 1}),
        lambda: world.ledger.begin_call(NewCall("c", "j", "acme", "s", "demo", NOTHING, metadata=more)),
        lambda: world.ledger.begin_call(
            NewCall("c", "k", "acme", "s", "demo", NOTHING), NewJob("k", "acme", "chat", metadata=more)
        ),
    ]
    for attempt in refused:
        with pytest.raises(InvalidRequest, match=f"metadata may have {most} bytes in all"):
            attempt()
    job = world.ledger.job("acme", "j")
    assert (job.status, job.metadata, world.ledger.calls("acme", "j")) == ("pending", full, [])
    assert world.ledger.add_metadata("acme", "j", {"a": 1}).metadata == {"a": 1}
    with pytest.raises(NotFound):
        world.ledger.job("acme", "k")


def test_jobs_are_listed_in_pages_the_newest_first(world: World) -> None:
    world.team(10)
    world.team(10, team_id="rival")
    world.job("rival")
    made = [world.job().job_id for _ in range(5)]
    world.ledger.end_job("acme", made[1], "failed")
    assert [job.job_id for job in world.ledger.jobs("acme", 2, 1)] == [made[3], made[2]]
    assert [job.job_id for job in world.ledger.jobs("acme", 9, 0, "failed")] == [made[1]]
    with pytest.raises(InvalidRequest):
        world.ledger.jobs("acme", 9, 0, "lost")


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("s", "running"),
        Outcome("s", "done", basis="guess"),
        Outcome("s", "done", prompt_tokens=-1),
        Outcome("s", "done", completion_tokens=2**63),
        Outcome("s", "done", micro_usd=1.5),  # type: ignore[arg-type]
        Outcome("s", "done", micro_usd=True),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(world: World, outcome: Outcome) -> None:
    world.team(1)
    world.call(world.job(), stream_id="s")
    with pytest.raises(InvalidRequest):
        world.ledger.settle(outcome)
    assert world.ledger.call("s").state == "running"


def test_settling_a_stream_that_no_call_has_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.ledger.settle(Outcome("nobodys", "done"))


def test_a_request_that_is_sent_again_opens_and_ends_one_job(world: World) -> None:
    world.team(5)
    opening, ending = Once("opening", "body"), Once("ending", "body")
    job = world.ledger.open_job(NewJob("a", "acme", "chat"), opening)
    assert world.ledger.open_job(NewJob("b", "acme", "chat"), opening) == job
    with pytest.raises(IdempotencyMismatch):
        world.ledger.open_job(NewJob("c", "acme", "other"), Once("opening", "another"))
    ended = world.ledger.end_job("acme", "a", "completed", once=ending)
    assert world.ledger.end_job("acme", "a", "completed", once=ending) == ended
    with pytest.raises(IdempotencyMismatch):
        world.ledger.end_job("acme", "a", "failed", once=Once("ending", "another"))
    assert [job.job_id for job in world.ledger.jobs("acme", 10)] == ["a"]
    assert world.credits() == Credits(5, 4, 0, 1)


def test_of_many_of_one_request_at_once_one_opens_a_job(world: World) -> None:
    world.team()
    once, names = Once("opening", "body"), [f"job-{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda name: world.ledger.open_job(NewJob(name, "acme", "chat"), once), names))
    assert len({job.job_id for job in made}) == len(world.ledger.jobs("acme", 100)) == 1
