"""An answer that was left behind and goes on here, or cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backend.chat.caps import Caps
from backend.chat.engine import Engine
from backend.chat.errors import Unavailable, UpstreamError
from backend.chat.events import Closing, Delta, Entry, Failed, Finished, Header, Usage
from backend.chat.log import Log, TakenOver
from backend.chat.ports import Ended
from backend.chat.requests import Asked
from backend.chat.rooms import Rooms
from backend.chat.sessions import Message, Session
from backend.chat.tasks import MOST_HEIRS, Limits
from backend.providers.catalog import Catalog
from backend.stores.memory import MemorySessions, MemoryStreams
from tests.chat.world import HELLO, ME
from tests.fakes.asking import asking
from tests.fakes.provider import Scripted, saying, until_stopped
from tests.fakes.runtime import ThreadRuntime

GOES_ON = Limits(goes_on=True, max_answer_tokens=5)
ASKED = Asked("be brief", 0.5, 5)


class Left(MemoryStreams):
    """Has one answer that was left behind. `takes`: it can be taken over; `taken`: another has it since."""

    takes = True
    taken = False
    away = False

    def leave(self, header: Header, entries: list[Entry]) -> Log:
        self.log = self.create(header)
        self.log.append(entries)
        return self.log

    def abandoned(self, *, by_others: bool = True) -> list[Log]:
        left = self.log.closing is None and self.log.header.writer != "me"
        return [self.log] if left and by_others else []

    def take_over(self, log: Log, left: Header) -> bool:
        if self.takes:
            log.header = replace(log.header, writer="me", epoch=log.header.epoch + 1)
        return self.takes

    def append(self, log: Log, entries: list[Entry]) -> None:
        if self.taken:
            raise TakenOver(log.header.stream_id)
        super().append(log, entries)

    def seal(self, log: Log, closing: Closing) -> Closing:
        if self.taken:
            raise TakenOver(log.header.stream_id)
        if self.away:
            raise Unavailable("away")
        return super().seal(log, closing)

    def let_go(self, log: Log) -> None:
        self.let = log


class World:
    def __init__(self, provider: Scripted, *, continues: bool = True, limits: Limits = GOES_ON) -> None:
        self.runtime = ThreadRuntime()
        self.sessions = MemorySessions(self.runtime, None, 10**7, 100)
        self.streams = Left(self.runtime, 3600, 10**7)
        self.caps = Caps(2, 1)
        catalog = Catalog([replace(provider.model(), continues=continues)])
        self.engine = Engine(catalog, self.sessions, self.streams, self.runtime, Rooms(), limits, [self.caps])
        at = self.runtime.now()
        session = Session("", "s", None, None, None, at, at)
        self.header = Header("t", "", "s", "q", "a", "scripted", at, "127.0.0.1", asked=ASKED)
        for id_, text, parent_id in (
            ("q0", "before", None),
            ("q1", "other version", "a0"),
            ("q", "why?", "a0"),
        ):
            self.sessions.ask(session, Message(id_, "user", text, "done", at, parent_id=parent_id), text)
            if parent_id is None:
                self.sessions.answer("", "s", Message("a0", "assistant", "so", "done", at, parent_id="q0"))

    def ended(self) -> Closing:
        log = self.streams.log
        assert log.wait_closed(10)
        self.runtime.join()
        assert log.closing is not None
        return log.closing


def test_the_rest_is_asked_for_with_all_that_was_asked_and_written_behind_it() -> None:
    provider = Scripted([" two", " three"], Ended("stop", Usage(1, 2, 3)))
    world = World(provider)
    log = world.streams.leave(world.header, ["one"])
    world.engine.recover()
    closing = world.ended()
    [prompt] = provider.prompts
    assert [message["content"] for message in prompt.messages] == ["be brief", "before", "so", "why?"]
    assert (prompt.partial, prompt.max_tokens, prompt.options) == ("one", 4, {"temperature": 0.5})
    assert log.read(0).entries == ["one", " two", " three"]
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, closing.tokens, closing.ttft_ms) == ("stop", 3, None)
    assert closing.usage.estimated, "what the upstream says is of the rest only"
    assert closing.usage.completion_tokens == 4, "of all of it"
    answer = world.sessions.messages("", "s")[-1]
    assert (answer.content, answer.parent_id) == ("one two three", "q")
    world.engine.open(ME, HELLO).wait_closed(10)
    assert world.engine.live_count == 0


def test_an_answer_that_was_left_before_its_first_token_is_as_good_as_new() -> None:
    provider = Scripted(["one"], Ended("stop", Usage(1, 2, 3)))
    world = World(provider)
    world.streams.leave(world.header, [])
    world.engine.recover()
    closing = world.ended()
    assert isinstance(closing, Finished)
    assert (closing.usage, provider.prompts[0].partial) == (Usage(1, 2, 3), "")


def test_one_that_has_all_it_may_have_is_not_asked_for_more() -> None:
    provider = saying("more")
    world = World(provider)
    world.streams.leave(world.header, ["a", "b", "c", "d", "e"])
    world.engine.recover()
    closing = world.ended()
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, provider.prompts) == ("length", [])


def test_one_that_is_stopped_before_it_goes_on_has_used_what_was_written_before() -> None:
    provider = saying("more")
    world = World(provider)
    world.streams.leave(world.header, ["one", " two"])
    begun: list[Callable[[], None]] = []
    spawn, world.runtime.spawn = world.runtime.spawn, begun.append  # type: ignore[method-assign]
    world.engine.recover()
    world.engine.stop_here("t", "stopped")
    world.runtime.spawn = spawn  # type: ignore[method-assign]
    for work in begun:
        work()
    closing = world.ended()
    assert isinstance(closing, Finished)
    assert (closing.finish_reason, provider.prompts) == ("stopped", [])
    assert closing.usage.completion_tokens == 2
    assert closing.usage.prompt_tokens > 0


def test_it_counts_for_its_caller_while_it_runs_whatever_the_limit() -> None:
    world = World(Scripted(["x"], until_stopped))
    world.streams.leave(world.header, ["one"])
    world.caps.admit(asking(world.header))
    world.engine.recover()
    world.caps.let_go(asking(world.header).log)
    with pytest.raises(Unavailable, match="You have 1 answers running"):
        world.caps.admit(asking(world.header))
    world.engine.stop(ME, "t")
    world.ended()
    world.caps.admit(asking(world.header))


WHY_NOT = ["off", "not known", "model", "no model", "more than text", "not taken", "too often", "too old"]


@pytest.mark.parametrize("why", [*WHY_NOT, "no room", "broken", "refused"])
def test_it_is_interrupted_where_nobody_can_go_on(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = saying("more")
    world = World(provider, continues=why != "model", limits=replace(GOES_ON, goes_on=why != "off"))
    header, entries = world.header, list[Entry](["one"])
    if why == "not known":
        header = replace(header, asked=None)
    elif why == "no model":
        header = replace(header, model="gone")
    elif why == "too old":
        header = replace(header, created_at="2026-01-01T00:00:00.000000+00:00")
    elif why == "no room":
        for address in ("a", "b"):
            world.caps.admit(asking(replace(header, address=address)))
    elif why == "broken":
        monkeypatch.setattr(world.engine._tasks, "again", broken)
    elif why == "refused":
        provider.steps = (UpstreamError("The upstream refused the request (HTTP 400)"),)
    elif why == "too often":
        header = replace(header, epoch=MOST_HEIRS)
    elif why == "more than text":
        entries = ["one", Delta("", {"reasoning_content": "hm"})]
    world.streams.takes = why != "not taken"
    world.streams.leave(header, entries)
    world.engine.recover()
    assert isinstance(closing := world.ended(), Failed)
    assert closing.type == "interrupted"
    assert len(provider.prompts) == (why == "refused")
    assert world.sessions.messages("", "s")[-1].content == "one"


def test_one_that_another_takes_meanwhile_is_left_to_it() -> None:
    """Nothing of it is saved or told here; only what it holds is let go."""
    world = World(Scripted(["x"], Ended("stop")))
    world.streams.leave(world.header, ["one"])
    world.streams.taken = True
    world.engine.recover()
    world.runtime.join()
    assert world.streams.let is world.streams.log
    assert world.streams.log.closing is None
    assert len(world.sessions.messages("", "s")) == 4
    world.caps.admit(asking(world.header))
    assert world.engine.live_count == 0


def test_a_message_that_could_not_be_saved_is_not_if_others_went_on_meanwhile() -> None:
    world = World(Scripted(["x"], Ended("stop")))
    log = world.streams.leave(world.header, ["one"])
    world.streams.away = True
    answer = world.sessions.answer

    def refuse(*_: object) -> None:
        raise Unavailable("away")

    world.sessions.answer = refuse  # type: ignore[method-assign]
    world.engine.recover()
    world.ended()
    world.sessions.answer = answer  # type: ignore[method-assign]
    world.streams.taken, world.streams.away = True, False
    world.engine.tend()
    assert len(world.sessions.messages("", "s")) == 4
    assert log.closing is not None


def broken(*_: object) -> None:
    raise ValueError("what is kept cannot be read")


def test_a_message_is_not_saved_while_it_is_not_known_whether_its_log_is_sealed() -> None:
    """The store may be there for the one and away for the other, and others go on with the answer."""
    world = World(Scripted(["x"], Ended("stop")))
    world.streams.leave(world.header, ["one"])
    world.streams.away = True
    world.engine.recover()
    world.ended()
    world.engine.tend()
    assert len(world.sessions.messages("", "s")) == 4
    world.streams.away = False
    world.engine.tend()
    assert len(world.sessions.messages("", "s")) == 5


def test_who_followed_it_here_before_is_a_follower_still() -> None:
    world = World(Scripted(["x"], until_stopped), limits=replace(GOES_ON, detach_grace_s=0.0))
    log = world.streams.leave(world.header, ["one"])
    with world.engine.following(log):
        world.engine.recover()
        world.engine.tend()
        assert not world.engine._live.writers[0].stop.requested
    world.engine.tend()
    closing = world.ended()
    assert isinstance(closing, Finished)
    assert closing.finish_reason == "detached"


def test_a_clock_that_is_behind_makes_no_time_negative() -> None:
    world = World(Scripted([" two"], Ended("stop")))
    world.streams.leave(replace(world.header, created_at="2999-01-01T00:00:00.000000+00:00"), ["one"])
    world.engine.recover()
    closing = world.ended()
    assert isinstance(closing, Finished)
    assert closing.duration_s >= 0


def test_who_drains_ends_what_nobody_can_go_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.chat.engine.SAVE_PATIENCE_S", 0.2)
    world = World(Scripted(["x"], until_stopped), continues=False)
    log = world.engine.open(ME, HELLO)
    world.engine.drain(lambda: 0.1)
    assert log.state == "interrupted"


def test_who_drains_leaves_what_others_go_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.chat.engine.SAVE_PATIENCE_S", 0.2)
    world = World(Scripted(["x"], until_stopped))
    log = world.engine.open(ME, HELLO)
    assert log.header.asked == Asked(None, None, 5)
    outside = world.engine.open(replace(ME, address="127.0.0.2"), replace(HELLO, keep=False, session_id=None))
    assert outside.header.asked is None
    world.engine.drain(lambda: 0.1)
    assert (log.closing, outside.state) == (None, "interrupted")
    world.engine.stop(ME, log.header.stream_id)
