from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.events import Delta, Entry, Failed, Finished, Header, Usage
from backend.chat.log import BATCH_ENTRIES, Log, LogClosed, text_of
from tests.fakes.runtime import ThreadSignal

ENTRIES = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=5),
        st.builds(Delta, st.text(max_size=3), st.just({"tool_calls": [{"index": 0}]})),
    ),
    max_size=30,
)


def new_log() -> Log:
    return Log(
        Header("stream", "", "session", "question", "message", "demo", "2026-01-01T00:00:00+00:00"),
        ThreadSignal(),
    )


def finished(tokens: int = 0) -> Finished:
    return Finished("stop", tokens, 0.1, 1.0, Usage(1, tokens, tokens + 1), "2026-01-01T00:00:01+00:00")


def filled(entries: list[Entry]) -> Log:
    log = new_log()
    log.append(entries)
    return log


@given(ENTRIES, st.data())
def test_reading_after_any_offset_gives_exactly_the_rest(entries: list[Entry], data: st.DataObject) -> None:
    log = filled(entries)
    offset = data.draw(st.integers(0, len(entries)))
    batch = log.read(offset)
    assert batch.entries == entries[offset:]
    assert batch.count == sum(1 for entry in entries[:offset] if text_of(entry))
    assert batch.end == len(entries)


@given(ENTRIES)
def test_the_text_after_any_count_is_the_text_less_that_many_pieces(entries: list[Entry]) -> None:
    log = filled(entries)
    pieces = [text_of(entry) for entry in entries if text_of(entry)]
    assert log.count == len(pieces)
    for count in range(len(pieces) + 1):
        batch = log.read(log.offset_of(count))
        assert batch.count == count
        assert [text_of(e) for e in batch.entries if text_of(e)] == pieces[count:]
        assert log.text_until(log.offset_of(count)) == "".join(pieces[:count])


@given(st.lists(ENTRIES, max_size=8), st.integers(0, 20))
def test_a_tail_from_any_offset_equals_the_rest_however_it_was_appended(
    writes: list[list[Entry]], after: int
) -> None:
    whole = [entry for write in writes for entry in write]
    after = min(after, len(whole))
    log = new_log()
    for write in writes:
        log.append(write)
    log.close(finished())
    batches = [batch for batch in log.tail(after, 1.0) if batch]
    assert [entry for batch in batches for entry in batch.entries] == whole[after:]
    assert batches[-1].closing == finished()


def test_a_reader_far_behind_is_handed_batches_of_bounded_size_and_the_closing_last() -> None:
    entries: list[Entry] = [str(n) for n in range(3 * BATCH_ENTRIES)]
    log = filled(entries)
    log.close(finished())
    batches = [batch for batch in log.tail(1, 1.0) if batch]
    assert [len(batch.entries) for batch in batches] == [BATCH_ENTRIES] * 2 + [BATCH_ENTRIES - 1]
    assert [batch.closing is None for batch in batches] == [True, True, False]
    assert [entry for batch in batches for entry in batch.entries] == entries[1:]


def test_the_first_closing_stays_and_nothing_follows_it() -> None:
    log = filled(["a"])
    assert log.close(finished(1))
    assert not log.close(Failed("internal", 500, "late", 1, "now"))
    with pytest.raises(LogClosed):
        log.append(["b"])
    assert (log.text, log.state) == ("a", "done")


def test_of_many_closers_at_once_exactly_one_wins() -> None:
    for _ in range(50):
        log = new_log()
        barrier = threading.Barrier(8)
        wins: list[bool] = []

        def close(log: Log = log, barrier: threading.Barrier = barrier, wins: list[bool] = wins) -> None:
            barrier.wait()
            wins.append(log.close(finished()))

        threads = [threading.Thread(target=close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wins.count(True) == 1


def test_many_readers_on_threads_each_see_every_entry_once_and_in_order() -> None:
    log = new_log()
    seen: dict[int, list[Entry]] = {}

    def read(number: int, after: int) -> None:
        seen[number] = [entry for batch in log.tail(after, 1.0) if batch for entry in batch.entries]

    readers = [threading.Thread(target=read, args=(n, 0)) for n in range(10)]
    for reader in readers:
        reader.start()
    for n in range(2000):
        log.append([str(n)])
    log.close(finished(2000))
    for reader in readers:
        reader.join(10)
    assert all(entries == [str(n) for n in range(2000)] for entries in seen.values())
    assert len(seen) == 10


def test_a_tail_of_a_silent_log_yields_none_to_let_its_reader_look_up() -> None:
    tail = new_log().tail(0, 0.01)
    assert next(tail) is None
    assert next(tail) is None


@pytest.mark.parametrize(
    ("closing", "state"),
    [
        (finished(), "done"),
        (Finished("stopped", 0, 0, None, Usage(0, 0, 0), ""), "stopped"),
        (Finished("detached", 0, 0, None, Usage(0, 0, 0), ""), "stopped"),
        (Failed("upstream_error", 502, "", 0, ""), "failed"),
        (Failed("interrupted", 503, "", 0, ""), "interrupted"),
    ],
)
def test_a_log_is_in_the_state_its_closing_says(closing: Finished | Failed, state: str) -> None:
    log = new_log()
    assert log.state == "running"
    log.close(closing)
    assert log.state == state
