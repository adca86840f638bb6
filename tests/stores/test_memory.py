from __future__ import annotations

import pytest

from backend.chat.errors import NotFound, StreamExpired
from backend.stores.memory import TOMBSTONE_TTLS, MemorySessions, MemoryStreams
from tests.fakes.runtime import ThreadRuntime
from tests.stores.test_contract import KEY, finished, header, question, session


class Clock(ThreadRuntime):
    """A runtime whose time stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s = 0.0

    def monotonic(self) -> float:
        return self.at_s


def test_ended_answers_are_dropped_oldest_first_when_they_are_too_large() -> None:
    streams = MemoryStreams(Clock(), 3600, max_bytes=250_000)
    for n in range(5):
        log = streams.create(header(str(n)))
        streams.append(log, ["x" * 100_000])
        streams.close(log, finished())
    for n in (0, 1, 2):
        with pytest.raises(StreamExpired):
            streams.get("", str(n))
    assert streams.get("", "3")
    assert streams.get("", "4")


def test_an_answer_that_had_to_make_room_is_not_generated_again_for_its_key() -> None:
    streams = MemoryStreams(Clock(), 3600, max_bytes=1000)
    log = streams.create(header("1", idempotency=KEY))
    streams.append(log, ["x" * 10_000])
    streams.close(log, finished())
    with pytest.raises(StreamExpired):
        streams.by_key(KEY)
    with pytest.raises(StreamExpired):
        streams.create(header("2", idempotency=KEY))


def test_a_running_answer_is_never_dropped_however_large() -> None:
    streams = MemoryStreams(Clock(), 3600, max_bytes=1000)
    log = streams.create(header("live"))
    streams.append(log, ["x" * 10_000])
    streams.close(streams.create(header("other")), finished())
    assert streams.get("", "live") is log


def test_a_stream_is_kept_for_its_time_then_known_as_expired_then_unknown() -> None:
    clock = Clock()
    streams = MemoryStreams(clock, 100, 10**6)
    streams.close(streams.create(header("1", idempotency=KEY)), finished())
    clock.at_s = 99
    streams.sweep()
    assert streams.by_key(KEY)
    clock.at_s = 101
    streams.sweep()
    assert streams.by_key(KEY) is None
    with pytest.raises(StreamExpired):
        streams.get("", "1")
    clock.at_s = 100 * TOMBSTONE_TTLS + 1
    streams.sweep()
    with pytest.raises(NotFound):
        streams.get("", "1")


def test_sessions_are_bounded_in_number_bytes_and_age_and_the_oldest_goes_first() -> None:
    clock = Clock()
    by_number = MemorySessions(clock, None, 10**9, max_sessions=3)
    by_size = MemorySessions(clock, None, max_bytes=250_000, max_sessions=100)
    for n in range(5):
        by_number.create(session(str(n)))
        by_size.ask(session(str(n)), question(n, "x" * 100_000), "t")
    assert [n for n in range(5) if by_number.get("", str(n))] == [2, 3, 4]
    assert [n for n in range(5) if by_size.get("", str(n))] == [3, 4]

    by_age = MemorySessions(clock, 100, 10**9, 100)
    by_age.create(session("old"))
    by_age.create(session("used"))
    clock.at_s = 60
    by_age.ask(session("used"), question(), "t")
    clock.at_s = 101
    by_age.sweep()
    assert by_age.get("", "old") is None
    assert by_age.get("", "used")


def test_a_session_larger_than_all_room_is_kept_while_it_is_written() -> None:
    sessions = MemorySessions(Clock(), None, max_bytes=1000, max_sessions=10)
    sessions.ask(session("big"), question(1, "x" * 5000), "t")
    assert sessions.get("", "big")
