"""A team's questions as calls: what is held, what is settled, what is left to be found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.chat.errors import Conflict, InsufficientCredits, NotFound, RateLimited, Unavailable
from backend.chat.events import Failed, Finished, Header, Price, Route, Try, Usage
from backend.chat.ports import Asking, Model
from backend.chat.requests import Caller, Completion, JobCall
from backend.ledger.admission import Billing
from backend.ledger.desk import Desk
from backend.ledger.reconciler import Reconciler
from backend.ledger.records import JobLimits, NewJob, Terms
from backend.ledger.settler import Settler
from backend.providers.catalog import Catalog
from backend.providers.demo import Demo
from backend.stores.memory import MemoryStreams
from tests.fakes.asking import asking
from tests.fakes.runtime import ThreadRuntime

AT = "2026-11-20T12:00:00.000000+00:00"
PRICE = Price(1_000_000, 2_000_000, 0)
DEMO = Model("demo", Demo(0), "demo", 1000, price=PRICE)
TEAM = Caller("team:acme", "192.0.2.1", "acme")
USAGE = Usage(10, 5, 15)
HELLO = Completion([{"role": "user", "content": "Say hello"}], {}, choices=2)


class World:
    def __init__(self, folder: Path) -> None:
        self.runtime = ThreadRuntime()
        self.desk = Desk(f"sqlite:///{folder}/ledger.db", self.runtime, JobLimits(1000, 100))
        self.settler = Settler(self.desk, self.runtime)
        models = Catalog([DEMO])
        self.room: list[Caller] = []
        self.billing = Billing(self.desk, self.settler, models, self.runtime, len, 50, self.room.append)
        self.streams = MemoryStreams(self.runtime, 3600, 10**6)
        self.reconciler = Reconciler(
            self.desk, self.settler, self.streams, models, self.runtime, len, lease_s=0
        )

    def team(self, credits: int = 5, terms: Terms | None = None) -> None:
        self.desk.accounts.create_team("acme", terms or Terms(), credits)

    def ask(self, stream_id: str = "s", caller: Caller = TEAM, call: JobCall | None = None) -> Asking:
        header = Header(stream_id, caller.owner, None, "q", "m", "demo", AT)
        log = self.streams.create(header)
        found = asking(header, caller, DEMO, completion=HELLO, max_tokens=20, call=call or JobCall())
        return Asking(log, caller, found.request, DEMO)

    def free(self) -> tuple[int, int, int]:
        credits = self.desk.accounts.team("acme").credits
        return credits.free, credits.held, credits.spent


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.settler.close(1)
    world.runtime.join()
    if world.desk.in_use:
        assert world.desk.accounts.audit() == []
    world.desk.close()


def finished(reason: str = "stop") -> Finished:
    return Finished(reason, 5, 1.0, 10.0, USAGE, AT)


def test_who_shows_no_key_pays_nothing_and_makes_no_ledger(world: World) -> None:
    asked = world.ask(caller=Caller("user:alice", "192.0.2.1"))
    world.billing.admit(asked)
    world.billing.settle(asked.log, finished())
    world.billing.withdraw(asked.log)
    world.reconciler.tend()
    assert not world.desk.in_use


def test_a_question_is_a_job_of_one_call(world: World) -> None:
    world.team()
    asked = world.ask(call=JobCall(job_type="chat"))
    world.billing.admit(asked)
    assert world.room == [TEAM]
    assert world.free() == (4, 1, 0)
    assert world.settler.running == ["s"]
    asked.log.route = Route((Try("away", "upstream_error", "best"), Try("parley", model="dear")), PRICE)
    world.billing.settle(asked.log, finished())
    call, job = world.desk.ledger.call("s"), world.desk.ledger.job("acme", "s")
    assert (call.model_group, call.model) == ("demo", "dear")
    assert (call.state, call.prompt_tokens, call.completion_tokens, call.micro_usd) == ("done", 10, 5, 20)
    assert (job.status, job.job_type, job.charged) == ("completed", "chat", 1)
    assert (world.free(), world.settler.running) == ((4, 0, 1), [])
    world.billing.settle(asked.log, finished("length"))
    assert world.desk.ledger.call("s") == call


def test_a_route_that_another_process_wrote_down_has_the_price_of_its_model(world: World) -> None:
    world.team()
    asked = world.ask()
    world.billing.admit(asked)
    asked.log.route = Route((Try("parley", model="demo"),))
    world.billing.settle(asked.log, Failed("interrupted", 503, "gone", 5, AT, usage=USAGE))
    assert world.desk.ledger.call("s").micro_usd == 20


def test_one_that_broke_off_costs_nothing_and_is_recorded(world: World) -> None:
    world.team()
    asked = world.ask()
    world.billing.admit(asked)
    failed = Failed("upstream_error", 502, "broke off", 5, AT, usage=USAGE)
    world.billing.settle(asked.log, failed)
    assert world.desk.ledger.call("s").tokens == 15
    assert world.desk.ledger.call("s").micro_usd == 20, (
        "by the model's price, where nobody is known to answer"
    )
    assert (world.desk.ledger.job("acme", "s").status, world.free()) == ("failed", (5, 0, 0))


def test_one_that_never_began_holds_nothing(world: World) -> None:
    world.team()
    asked = world.ask()
    world.billing.admit(asked)
    world.billing.withdraw(asked.log)
    assert (world.desk.ledger.call("s").state, world.free()) == ("withdrawn", (5, 0, 0))


def test_what_prompt_and_answer_can_take_is_held(world: World) -> None:
    world.team(100, Terms("consumption_tokens", tokens_per_credit=1))
    world.billing.admit(world.ask())
    assert world.free()[1] == len("Say hello") + 4 + 2 * 20
    with pytest.raises(InsufficientCredits):
        world.billing.admit(world.ask("t"))
    with pytest.raises(NotFound):
        world.desk.ledger.call("t")


def test_what_only_a_model_can_count_holds_all_that_it_could_read(world: World) -> None:
    world.team(5000, Terms("consumption_tokens", tokens_per_credit=1))
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    seen = Completion([{"role": "user", "content": [picture]}], {})
    header = Header("s", TEAM.owner, None, "q", "m", "demo", AT)
    found = asking(header, TEAM, DEMO, completion=seen, max_tokens=20)
    world.billing.admit(Asking(world.streams.create(header), TEAM, found.request, DEMO))
    assert world.free()[1] == DEMO.context_tokens + 20


def test_what_refuses_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.team()
    ledger = world.desk.ledger
    ledger.end_job("acme", ledger.open_job(NewJob("ended", "acme", "chat")).job_id, "completed")
    with pytest.raises(Conflict):
        world.billing.admit(world.ask(call=JobCall("ended")))
    with pytest.raises(NotFound):
        world.billing.admit(world.ask("t", call=JobCall("nowhere")))

    def refuse(_: Caller) -> None:
        raise RateLimited("too often", 1)

    monkeypatch.setattr(world.billing, "_check_room", refuse)
    with pytest.raises(RateLimited):
        world.billing.admit(world.ask("u"))
    assert (world.settler.running, world.free()) == ([], (4, 0, 1))


def test_one_that_may_have_begun_unseen_is_withdrawn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.team()
    ledger, begin = world.desk.ledger, world.desk.ledger.begin_call

    def lost(*call: object) -> None:
        begin(*call)  # type: ignore[arg-type]
        raise Unavailable("the line broke")

    monkeypatch.setattr(ledger, "begin_call", lost)
    with pytest.raises(Unavailable):
        world.billing.admit(world.ask())
    world.runtime.join()
    assert (ledger.call("s").state, world.free()) == ("withdrawn", (5, 0, 0))


def test_what_cannot_be_settled_is_tried_again_and_waits_for_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.team()
    asked = world.ask()
    world.billing.admit(asked)
    ledger, settle = world.desk.ledger, world.desk.ledger.settle
    tries = []

    def away(*outcome: object) -> object:
        tries.append(outcome)
        if len(tries) < 4:
            raise Unavailable("away")
        return settle(*outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "settle", away)
    monkeypatch.setattr("backend.ledger.settler.PAUSES_S", (0.3,))
    started_s = time.monotonic()
    world.billing.settle(asked.log, finished())
    assert time.monotonic() - started_s < 0.8
    assert world.settler.running == ["s"], "its lease is renewed"
    assert world.settler.settling == 1
    world.runtime.join()
    assert (ledger.call("s").state, len(tries), world.settler.running) == ("done", 4, [])
    assert world.settler.settling == 0


@pytest.mark.parametrize("how", ["finished", "interrupted", "unbegun", "gone", "running"])
def test_a_call_that_nobody_settles_is_settled_by_its_stream(world: World, how: str) -> None:
    world.team()
    asked = world.ask()
    world.billing.admit(asked)
    world.settler.forget("s")  # its process is gone
    if how in ("finished", "interrupted"):
        world.streams.append(asked.log, ["one ", "two"])
    if how == "finished":
        world.streams.close(asked.log, finished())
    elif how in ("interrupted", "unbegun"):
        world.streams.close(asked.log, Failed("interrupted", 503, "gone", 2, AT))
    elif how == "gone":
        world.streams.discard(asked.log)
    world.desk.ledger._limits = JobLimits(lease_s=-1.0)
    world.desk.ledger.renew(["s"])
    world.desk.ledger._limits = JobLimits(lease_s=100.0)
    world.reconciler.tend()
    call = world.desk.ledger.call("s")
    prompt = len("Say hello") + 4
    assert (call.state, call.prompt_tokens, call.completion_tokens) == {
        "finished": ("done", 10, 5),
        "interrupted": ("interrupted", prompt, 7),
        "unbegun": ("interrupted", 0, 0),
        "gone": ("interrupted", prompt, 0),
        "running": ("running", prompt, 0),
    }[how]
    assert call.micro_usd == (0 if how == "running" else call.prompt_tokens + 2 * call.completion_tokens)
    assert world.free()[1] == (how == "running")
    world.reconciler.tend()
    assert world.desk.ledger.call("s") == call


def test_leases_of_what_runs_here_are_renewed(world: World) -> None:
    world.team()
    world.billing.resume(Header("other", "user:alice", None, "q", "m", "demo", AT))
    world.billing.admit(world.ask())
    before = world.desk.ledger.call("s").leased_until
    world.reconciler.tend()
    assert world.desk.ledger.call("s").leased_until > before
    assert world.settler.running == ["s"]


@pytest.mark.parametrize(
    ("closing", "state"),
    [
        (Failed("interrupted", 503, "gone", 2, AT), "interrupted"),
        (Failed("upstream_error", 502, "broke off", 2, AT), "running"),
        (finished(), "running"),
        (None, "running"),
    ],
    ids=["died", "failed", "finished", "runs"],
)
def test_who_waits_for_a_bill_waits_for_no_lease_of_the_dead(
    world: World, closing: Failed | Finished | None, state: str
) -> None:
    """What ended otherwise is for its own process to settle, which knows who answered."""
    world.team()
    world.desk.ledger.open_job(NewJob("j", "acme", "chat"))
    asked = world.ask(call=JobCall("j"))
    world.billing.admit(asked)
    world.settler.forget("s")
    if closing:
        world.streams.close(asked.log, closing)
    world.desk.ledger.end_job("acme", "j", "completed")
    world.reconciler.settle_left("acme", "j")
    assert world.desk.ledger.call("s").state == state
    assert (world.desk.ledger.job("acme", "j").bill is not None) == (state == "interrupted")
