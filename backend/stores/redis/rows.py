"""How an answer is spelled in a Redis stream.

    0-1                         h  the header
    <offset of the last>-0      f  offset of the first entry; e  the entries; r  the route, once
    <all that an epoch has>-0   c  the closing: nothing can be appended any more
    18446744073709551615-0      x  the end: the closing has been saved and may be shown

An id must be above the last one, so of two who write the same offset one is refused, and after the seal
everybody who appends. Who goes on with an answer that another has left behind begins a new epoch, above
all that the other can write: the number before the dash is the offset, and from bit 40 on the epoch.

    <epoch, offset>-0           w  the writer of this epoch, and its number
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import orjson

from backend.chat.events import Closing, Entry, Header, Route
from backend.chat.log import Log
from backend.stores import records
from backend.stores.redis.client import Command

HEADER_ID = "0-1"
EPOCH_BITS = 40
END_ID = "18446744073709551615-0"
SHOWN = "1"
DISCARDED = "discarded"

Row: TypeAlias = tuple[bytes, Mapping[bytes, bytes]]
"""As redis-py reads one."""


TAKE_OVER = """
if ARGV[4] ~= '' then
    local server, replication = redis.pcall('INFO', 'server'), redis.pcall('INFO', 'replication')
    if type(server) ~= 'string' or type(replication) ~= 'string' then return false end
    local up_s = tonumber(string.match(server, 'uptime_in_seconds:(%d+)') or 0)
    local before = string.match(replication, 'master_replid2:(%x+)')
    if not before or string.find(before, '[^0]') or up_s < tonumber(ARGV[4]) then return false end
end
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not top or top[2][1] == 'c' or top[2][1] == 'x' or top[1] ~= ARGV[1] then return false end
return redis.call('XADD', KEYS[1], ARGV[2], 'w', ARGV[3])
"""
"""Begins an epoch where the last row is still the one of this id. If ARGV[4] is given, only where this server
has not been restarted, nor put in another's place, for so many seconds."""


class Gap(Exception):
    """Entries are missing between what is known and what follows."""


def header_row(key: str, header: Header) -> Command:
    return ("XADD", key, HEADER_ID, "h", records.header_to_json(header))


def place(epoch: int, offset: int) -> str:
    """The id of the row that ends with this offset."""
    return f"{(epoch << EPOCH_BITS) + offset}-0"


def last_id(log: Log) -> str:
    """That of the row up to which a log is read, while nothing ends it."""
    return place(log.header.epoch, log.offset) if log.offset or log.header.epoch else HEADER_ID


def entries_row(
    key: str, first: int, entries: Sequence[Entry], route: Route | None = None, epoch: int = 0
) -> Command:
    """Nothing is added to a stream that is gone."""
    last = place(epoch, first + len(entries) - 1)
    said = () if route is None else ("r", records.route_to_json(route))
    return ("XADD", key, "NOMKSTREAM", last, "f", first, "e", records.entries_to_json(entries), *said)


def writer_of(header: Header) -> bytes:
    return orjson.dumps({"writer": header.writer, "epoch": header.epoch})


def epoch_row(key: str, header: Header, offset: int) -> Command:
    """From here on it is written by the header's writer."""
    return ("XADD", key, "NOMKSTREAM", place(header.epoch, offset), "w", writer_of(header))


def take_over(key: str, header: Header, log: Log, age_s: int | None) -> Command:
    """As TAKE_OVER; of a log of which all is known."""
    first = place(header.epoch, log.offset)
    said = (last_id(log), first, writer_of(header), "" if age_s is None else age_s)
    return ("EVAL", TAKE_OVER, 1, key, *said)


def seal_row(key: str, closing: Closing, epoch: int = 0) -> Command:
    last = place(epoch + 1, -1)
    return ("XADD", key, "NOMKSTREAM", last, "c", records.closing_to_json(closing))


def end_row(key: str, said: str = SHOWN) -> Command:
    return ("XADD", key, "NOMKSTREAM", END_ID, "x", said)


def after(key: str, offset: int, epoch: int = 0) -> Command:
    """Asks for all rows past an offset; of offset 0, with the header."""
    return ("XRANGE", key, f"({place(epoch, offset)}", "+")


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


def place_of(row: Row) -> tuple[int, int]:
    """Epoch and offset."""
    return divmod(int(row[0].partition(b"-")[0]), 1 << EPOCH_BITS)


def is_of(row: Row, epoch: int) -> bool:
    """Whether the writer of this epoch, or of an earlier one, has written it, and may go on."""
    return b"c" not in row[1] and b"x" not in row[1] and place_of(row)[0] <= epoch


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
        elif b"w" in fields:
            log.header = replace(log.header, **orjson.loads(fields[b"w"]))
        elif b"x" in fields and (closing := closing_of(rows)):
            log.close(closing)
