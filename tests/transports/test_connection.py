from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.chat.errors import InvalidRequest
from backend.chat.log import BATCH_ENTRIES, Log
from backend.chat.ports import Ended
from backend.chat.requests import Caller, ChatRequest
from backend.chat.rooms import Listener
from backend.telemetry.meters import Meters
from backend.transports.connection import MAX_QUEUED, Connection
from tests.chat.world import HELLO, ME, World
from tests.fakes.provider import Scripted, until_stopped

PIECES = 500
WORDS = [f"{number} " for number in range(PIECES)]
ALL = "".join(WORDS)

Event = tuple[str, dict[str, Any]]


class FakeLine:
    """A line whose client reads at once, unless it is `held`; `looks` counts how often it was seen that
    what was delivered has not left."""

    def __init__(self, held: bool = False) -> None:
        self.held = held
        self.closed = False
        self.packets: list[str] = []
        self.looks = 0
        self._read = 0

    @property
    def backlog(self) -> int:
        if not self.held:
            self._read = len(self.packets)
        return len(self.packets) - self._read

    def send(self, packet: str) -> None:
        self.packets.append(packet)

    def deliver(self, packet: str, wanted: Callable[[], bool]) -> None:
        self.send(packet)
        while self.backlog and not self.closed and wanted():
            self.looks += 1
            time.sleep(0.001)

    def drop(self) -> None:
        self.closed = True

    @property
    def events(self) -> list[Event]:
        return [tuple(json.loads(packet[1:])) for packet in list(self.packets)]

    @property
    def text(self) -> str:
        return "".join(data["token"] for name, data in self.events if name == "chat_token")

    def until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not ready():
            assert time.monotonic() < deadline, self.packets
            time.sleep(0.001)

    def ended(self, answers: int = 1) -> list[Event]:
        """What was sent, when so many answers have come to their end."""
        self.until(lambda: [name for name, _ in self.events].count("chat_complete") == answers)
        return self.events

    def stalled(self) -> None:
        """Until it was looked at again and again, and nothing was sent meanwhile."""
        looks, sent = self.looks, len(self.packets)
        self.until(lambda: self.looks > looks + 5)
        assert len(self.packets) == sent


def connection(
    world: World, line: FakeLine, max_followed: int = 3, partial_max_chars: int = 100
) -> Connection:
    meters = Meters("0", "memory", world.runtime)
    return Connection(
        line, ME, None, world.engine, world.conversations, world.runtime, meters, max_followed,
        partial_max_chars,
    )  # fmt: skip


def talkative() -> World:
    return World(Scripted(*([word] for word in WORDS), Ended("stop")))


def asked(world: World, session_id: str = "s") -> Log:
    return world.engine.open(ME, ChatRequest("hello", session_id=session_id))


def given(world: World, session_id: str = "s") -> Log:
    """An answer that has ended."""
    log = asked(world, session_id)
    world.ended(log)
    return log


def in_mid_answer(world: World, line: FakeLine) -> Connection:
    """Somebody who listens to a session and has been sent the first of its ended answer."""
    log, reader = given(world), connection(world, line)
    reader.join("s")
    reader.follow(log)
    line.until(lambda: bool(line.packets))
    return reader


def test_whoever_does_not_read_is_sent_one_batch_and_the_rest_when_they_do() -> None:
    world, line = talkative(), FakeLine(held=True)
    connection(world, line).follow(given(world))
    line.until(lambda: bool(line.packets))
    line.stalled()
    ((_, first),) = line.events
    assert (first["token"], first["count"]) == ("".join(WORDS[:BATCH_ENTRIES]), BATCH_ENTRIES)
    line.held = False
    *tokens, (_, complete) = line.ended()
    assert line.text == ALL == complete["full_response"]
    assert [data["count"] for _, data in tokens] == [*range(BATCH_ENTRIES, PIECES, BATCH_ENTRIES), PIECES]
    world.runtime.join()


def test_what_is_said_meanwhile_comes_as_one() -> None:
    world, line = World(Scripted(["a"], until_stopped)), FakeLine(held=True)
    log = asked(world)
    connection(world, line).follow(log)
    line.until(lambda: line.text == "a")
    for word in "bcdef":
        log.append([word])
    line.stalled()
    line.held = False
    line.until(lambda: line.text == "abcdef")
    assert [(data["token"], data["count"]) for _, data in line.events] == [("a", 1), ("bcdef", 6)]
    world.engine.stop(ME, log.header.stream_id)
    assert line.ended()[-1][1]["finish_reason"] == "stopped"
    world.runtime.join()


@pytest.mark.parametrize("after", [0, 1, 63, 64, 65, 498])
def test_who_follows_an_answer_again_from_earlier_is_told_the_whole_text_once(after: int) -> None:
    world, line = World(Scripted(WORDS[:100], until_stopped)), FakeLine(held=True)
    log, reader = world.engine.open(ME, HELLO), connection(world, line)
    assert log.wait(99, 10)
    reader.follow(log, 99)
    line.until(lambda: bool(line.packets))
    for again in (after % 99, after % 99, 99, 100):
        reader.follow(log, again)
    line.held = False
    world.engine.stop(ME, log.header.stream_id)
    line.ended()
    world.runtime.join()
    assert [name for name, _ in line.events] == ["chat_token", "chat_reset", "chat_complete"]
    assert line.events[1][1]["partial"] == "".join(WORDS[:100])
    assert line.events[1][1]["count"] == 100


def test_who_joined_and_says_at_once_what_it_has_gets_the_rest_in_order() -> None:
    world, line = World(Scripted(WORDS[:100], until_stopped)), FakeLine()
    log, reader = world.engine.open(ME, HELLO), connection(world, line)
    assert log.wait(99, 10)
    assert reader.join("s") is log
    reader.follow(log, 7)
    world.engine.stop(ME, log.header.stream_id)
    line.ended()
    world.runtime.join()
    assert line.text == "".join(WORDS[7:100])


def test_who_is_ahead_is_reset_first() -> None:
    world, line = talkative(), FakeLine()
    connection(world, line).follow(given(world), PIECES + 1)
    (name, reset), (last, _) = line.ended()
    assert (name, reset["partial"], reset["count"], last) == ("chat_reset", ALL, PIECES, "chat_complete")
    world.runtime.join()


def test_the_text_so_far_comes_on_demand_and_not_past_its_limit() -> None:
    world, line = talkative(), FakeLine()
    connection(world, line, partial_max_chars=600).follow(given(world), 10, partial=True)
    said = "".join(WORDS[:10])
    for name, data in line.ended():
        if name == "chat_token":
            said += data["token"]
            assert data.get("partial") == (said if len(said) <= 600 else None)
    assert said == ALL
    world.runtime.join()


def test_news_that_come_after_an_answers_end_wait_until_it_was_sent() -> None:
    world, line = talkative(), FakeLine(held=True)
    in_mid_answer(world, line)
    world.conversations.change(ME, "s", {"title": "Named"})
    world.conversations.change(ME, "s", {"title": "Named again"})
    line.stalled()
    assert line.text == "".join(WORDS[:BATCH_ENTRIES])
    line.held = False
    line.until(lambda: [name for name, _ in line.events].count("session_updated") == 2)
    names = [name for name, _ in line.events]
    assert names[-3:] == ["chat_complete", "session_updated", "session_updated"]
    world.runtime.join()


def test_an_answer_that_began_meanwhile_follows_in_its_order() -> None:
    world, line = talkative(), FakeLine(held=True)
    reader = in_mid_answer(world, line)
    given(world)
    line.stalled()
    line.held = False
    events = line.ended(answers=2)
    assert line.text == ALL * 2
    names = [name for name, _ in events]
    assert names.index("session_updated") == names.index("chat_complete") + 1
    line.until(lambda: reader.idle)
    world.runtime.join()


def test_a_line_on_which_too_much_waits_is_dropped() -> None:
    world, line = talkative(), FakeLine(held=True)
    reader = connection(world, line)
    for _ in range(MAX_QUEUED):
        reader.emit("session_updated", {})
    assert (len(line.packets), line.closed) == (MAX_QUEUED, False)
    reader.emit("session_updated", {})
    assert (len(line.packets), line.closed) == (MAX_QUEUED, True)


def test_news_that_wait_for_an_answers_end_are_counted_as_well() -> None:
    world, line = talkative(), FakeLine(held=True)
    in_mid_answer(world, line)
    for number in range(MAX_QUEUED):
        world.conversations.change(ME, "s", {"title": f"{number}"})
    assert not line.closed
    world.conversations.change(ME, "s", {"title": "one more"})
    assert line.closed
    world.runtime.join()


def followed(reader: Connection, log: Log) -> bool:
    try:
        reader.follow(log)
    except InvalidRequest:
        return False
    return True


def test_no_more_is_followed_than_may_be_and_again_when_one_has_ended() -> None:
    world, line = World(Scripted(["a"], until_stopped)), FakeLine()
    reader = connection(world, line, max_followed=2)
    first, second, third = (asked(world, name) for name in "abc")
    for log in (first, second, first):
        reader.follow(log)
    with pytest.raises(InvalidRequest, match="MAX_FOLLOWED_PER_SOCKET"):
        reader.follow(third)
    assert reader.closed is False
    world.engine.stop(ME, first.header.stream_id)
    line.until(lambda: followed(reader, third))
    for log in (second, third):
        world.engine.stop(ME, log.header.stream_id)
    line.ended(answers=3)
    world.runtime.join()


def test_no_more_sessions_are_joined_than_may_be() -> None:
    world, line = talkative(), FakeLine()
    reader = connection(world, line, max_followed=2)
    for name in "abc":
        given(world, name)
    for name in "aba":
        reader.join(name)
    with pytest.raises(InvalidRequest, match="MAX_FOLLOWED_PER_SOCKET"):
        reader.join("c")
    reader.leave("a")
    reader.join("c")


def test_who_has_left_is_sent_nothing_and_hears_nothing() -> None:
    world, line = talkative(), FakeLine(held=True)
    reader = in_mid_answer(world, line)
    reader.close()
    line.until(lambda: reader.idle)
    world.conversations.change(ME, "s", {"title": "Named"})
    assert len(line.packets) == 1
    world.runtime.join()


class SlowConversations:
    """Those of a store that lets others run: the client leaves before it has joined."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None]
        self.joined: list[str] = []

    def join(self, _caller: Caller, session_id: str, _listener: Listener) -> Log | None:
        self.meanwhile()
        self.joined.append(session_id)
        return None

    def leave(self, _caller: Caller, session_id: str, _listener: Listener) -> None:
        self.joined.remove(session_id)


def test_who_leaves_while_joining_hears_nothing_either() -> None:
    world, slow = talkative(), SlowConversations()
    world.conversations = slow  # type: ignore[assignment]
    reader = connection(world, FakeLine())
    slow.meanwhile = reader.close
    reader.join("s")
    assert slow.joined == []
