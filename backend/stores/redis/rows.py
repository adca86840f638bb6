"""How an answer is spelled in a Redis stream.

    0-1                         h  the header
    <offset of the last>-0      f  offset of the first entry; e  the entries; r  the route, once
    18446744073709551614-0      c  the closing: nothing can be appended any more
    18446744073709551615-0      x  the end: the closing has been saved and may be shown

An id must be above the last one, so of two who write the same offset one is refused, and after the seal
everybody who appends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from backend.chat.events import Closing, Entry, Header, Route
from backend.chat.log import Log
from backend.stores import records
from backend.stores.redis.client import Command

HEADER_ID = "0-1"
SEAL_ID = "18446744073709551614-0"
END_ID = "18446744073709551615-0"
SHOWN = "1"
DISCARDED = "discarded"

Row: TypeAlias = tuple[bytes, Mapping[bytes, bytes]]
"""As redis-py reads one."""


class Gap(Exception):
    """Entries are missing between what is known and what follows."""


def header_row(key: str, header: Header) -> Command:
    return ("XADD", key, HEADER_ID, "h", records.header_to_json(header))


def entries_row(key: str, first: int, entries: Sequence[Entry], route: Route | None = None) -> Command:
    """Nothing is added to a stream that is gone."""
    last = f"{first + len(entries) - 1}-0"
    said = () if route is None else ("r", records.route_to_json(route))
    return ("XADD", key, "NOMKSTREAM", last, "f", first, "e", records.entries_to_json(entries), *said)


def seal_row(key: str, closing: Closing) -> Command:
    return ("XADD", key, "NOMKSTREAM", SEAL_ID, "c", records.closing_to_json(closing))


def end_row(key: str, said: str = SHOWN) -> Command:
    return ("XADD", key, "NOMKSTREAM", END_ID, "x", said)


def after(key: str, offset: int) -> Command:
    """Asks for all rows past an offset; of offset 0, with the header."""
    return ("XRANGE", key, f"({offset}-0", "+")


def last(key: str) -> Command:
    return ("XREVRANGE", key, "+", "-", "COUNT", 1)


def header_of(rows: Sequence[Row]) -> Header:
    """Of rows that begin with it."""
    return records.header_from_json(rows[0][1][b"h"].decode())


def closing_of(rows: Sequence[Row]) -> Closing | None:
    """The seal's, if it is among them."""
    for _, fields in reversed(rows):
        if b"c" in fields:
            return records.closing_from_json(fields[b"c"].decode())
    return None


def discarded(rows: Sequence[Row]) -> bool:
    return bool(rows) and rows[-1][1].get(b"x") == DISCARDED.encode()


def offset_of(row: Row) -> int:
    return int(row[0].partition(b"-")[0])


def feed(log: Log, rows: Sequence[Row]) -> None:
    """Add to the log what it lacks of the rows, and close it where they end. Raises Gap."""
    for _, fields in rows:
        if b"e" in fields:
            lacks = log.offset + 1 - int(fields[b"f"])
            if lacks < 0:
                raise Gap
            if b"r" in fields:
                log.route = records.route_from_json(fields[b"r"])
            if entries := records.entries_from_json(fields[b"e"])[lacks:]:
                log.complete(entries)
        elif b"x" in fields and (closing := closing_of(rows)):
            log.close(closing)
