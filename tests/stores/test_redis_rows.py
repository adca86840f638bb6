from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.events import Delta, Entry, Route, Try
from backend.chat.log import Log
from backend.stores.redis import rows
from tests.fakes.runtime import ThreadRuntime
from tests.stores.kinds import finished
from tests.stores.test_contract import header

ENTRIES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.builds(Delta, st.just(""), st.just({"refusal": "no"})),
    min_size=1,
    max_size=30,
)


def row(command: rows.Command) -> rows.Row:
    """What Redis would give of what it was told."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    words.remove(b"NOMKSTREAM")
    fields = words[3:]
    return words[2], dict(zip(fields[::2], fields[1::2], strict=True))


def entries_row(first: int, entries: list[Entry], **said: Any) -> rows.Row:
    return row(rows.entries_row("log", first, entries, **said))


def empty() -> Log:
    return Log(header("1"), ThreadRuntime().signal())


@given(ENTRIES, st.data())
def test_rows_that_overlap_or_come_twice_give_each_entry_once(
    entries: list[Entry], data: st.DataObject
) -> None:
    log, place = empty(), st.integers(0, len(entries))
    while log.offset < len(entries):
        start = data.draw(st.integers(0, log.offset))
        end = data.draw(place.filter(lambda end, start=start: end > start))
        rows.feed(log, [entries_row(start + 1, entries[start:end])])
        assert log.read(0).entries == entries[: log.offset]
    assert log.read(0).entries == entries


def test_a_gap_is_told_and_nothing_after_it_is_taken() -> None:
    log = empty()
    rows.feed(log, [entries_row(1, ["a", "b"])])
    with pytest.raises(rows.Gap):
        rows.feed(log, [entries_row(4, ["d"]), entries_row(5, ["e"])])
    assert log.text == "ab"


def test_a_seal_alone_ends_nothing_and_with_the_end_all() -> None:
    log, seal, end = empty(), row(rows.seal_row("log", finished())), row(rows.end_row("log"))
    rows.feed(log, [entries_row(1, ["a"]), seal])
    assert log.closing is None
    rows.feed(log, [seal, end])
    assert log.closing == finished()


def test_the_route_comes_with_the_first_entries() -> None:
    log, route = empty(), Route((Try("first", "refused"), Try("second", model="their-own")))
    rows.feed(log, [entries_row(1, ["a"], route=route), entries_row(2, ["b"])])
    assert log.route == route


def test_the_ids_rise_from_the_header_to_the_end() -> None:
    def number(command: rows.Command) -> tuple[int, int]:
        entry_id = next(str(word) for word in command if "-" in str(word))
        high, _, low = entry_id.partition("-")
        return int(high), int(low)

    written = [
        rows.header_row("log", header("1")),
        rows.entries_row("log", 1, ["a"]),
        rows.entries_row("log", 2, ["b", "c"]),
        rows.entries_row("log", 4, ["d"]),
        rows.seal_row("log", finished()),
        rows.end_row("log"),
    ]
    ids = [number(command) for command in written]
    assert ids == sorted(set(ids))
    assert max(ids) <= (2**64 - 1, 2**64 - 1)
