"""Appending to the answers that are written here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from backend.chat.errors import Unavailable
from backend.chat.events import Closing, Entry, Route
from backend.chat.keeper import named
from backend.chat.log import Log, LogClosed, TakenOver
from backend.chat.ports import Runtime
from backend.chat.writer import INTERRUPTED
from backend.stores.redis import holdings, rows
from backend.stores.redis.client import Command
from backend.stores.redis.keys import StreamKeys
from backend.stores.redis.link import Link, unavailable
from backend.stores.redis.presence import Presence

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long an answer waits for a Redis that is away, or full."""
PAUSE_S = 0.05
SILENT_S = 1.0
"""After so long without a write an answer is looked for in Redis."""


@dataclass(slots=True)
class Own:
    """An answer that is written here. `generation` is that of the link in which Redis was last seen to have
    all that the log has; None: it may not."""

    log: Log
    key: str
    """Of its stream."""
    begun_s: float
    epoch: int
    generation: int | None
    route: Route | None = None
    closing: Closing | None = None
    """The one that stands, once it is sealed."""
    refused_s: float | None = None
    """Since when Redis takes nothing of it."""
    seen_s: float | None = None
    """When Redis was last seen to have it; None while it is being begun."""
    of_caller: int = 0
    """How many its caller had running when it began, this one included."""


class Writing:
    """What a log has is in Redis: readers see nothing before Redis has said that it has it.

    The writer's memory is the truth until somebody else ends the answer or goes on with it: whatever a Redis
    that was restarted or replaced has lost of it is written again. One that is not there at all was lost,
    too: whoever had ended it would have left it there for `ttl_s`. A write of which it is not known whether
    it was done is looked up before it is done again.
    """

    def __init__(self, link: Link, runtime: Runtime, presence: Presence, ttl_s: float) -> None:
        self._link = link
        self._runtime = runtime
        self._presence = presence
        self._ttl_s = ttl_s

    def begin(self, log: Log) -> Own:
        key = StreamKeys(log.header.stream_id).log
        return Own(log, key, self._runtime.monotonic(), log.header.epoch, self._link.generation)

    def append(self, own: Own, entries: list[Entry]) -> None:
        """Raises LogClosed, TakenOver, and Unavailable when Redis stays away."""
        log = own.log
        first, end = log.offset + 1, log.offset + len(entries)
        route = log.route if log.route is not own.route else None
        row = rows.entries_row(own.key, first, entries, route, own.epoch)
        self._write(own, lambda: row, end)
        own.route = log.route
        log.complete(entries)  # it may have been sealed since

    def seal(self, own: Own, closing: Closing) -> Closing:
        """The closing that stands. Raises TakenOver, and Unavailable when Redis stays away; at once for one
        that is interrupted: without us, others close it so."""
        if own.closing is None or own.generation is None:
            log, closing = own.log, own.closing or closing
            key, count = own.key, log.count

            def row() -> Command:
                """With the count of all that Redis turned out to have taken of the answer."""
                nonlocal closing
                closing = closing if log.count == count else replace(closing, tokens=log.count)
                return rows.seal_row(key, closing, own.epoch)

            try:
                is_urgent = closing.state == INTERRUPTED.type
                patience_s = 0.0 if is_urgent else PATIENCE_S
                self._write(own, row, None, patience_s)
                own.closing = closing
            except TakenOver:
                raise
            except LogClosed:
                own.closing = self._closing_that_stands(log) or closing
                own.generation = self._link.generation
        return own.closing

    def look_after(self, owns: Mapping[str, Own]) -> list[Own]:
        """Write again what Redis has lost of those that have nothing to write just now: their readers
        elsewhere would wait for them in vain. Gives those that others have ended, or go on with. Raises
        Unavailable."""
        taken: list[Own] = []
        now_s = self._runtime.monotonic()
        silent = [own for own in list(owns.values()) if own.seen_s and now_s - own.seen_s > SILENT_S]
        if not silent:
            return taken
        tops = self._link.do(*[rows.last(own.key) for own in silent])
        for own, top in zip(silent, tops, strict=True):
            if top and rows.is_of(top[0], own.epoch):
                own.seen_s = now_s
            elif top and own.closing is None:
                taken.append(own)
            elif owns.get(own.log.header.stream_id) is own and own.closing is None:
                with suppress(LogClosed):
                    self._write_again(own)
        return taken

    def _write(
        self, own: Own, command: Callable[[], Command], end: int | None, patience_s: float = PATIENCE_S
    ) -> None:
        """Until it is done; `end` is the offset Redis is at then. What failed once is looked up and tried
        again at once, if Redis is there."""
        again = False
        while True:
            if end is not None and own.log.sealed:
                raise LogClosed(own.log.header.stream_id)  # while it waited
            try:
                if self._try(own, command, end):
                    own.refused_s, own.seen_s = None, self._runtime.monotonic()
                    return
            except Unavailable:
                own.generation = None
            if again or not self._link.up:
                self._wait(own, patience_s)
            again = True

    def _try(self, own: Own, command: Callable[[], Command], end: int | None) -> bool:
        """Raises Unavailable, and LogClosed."""
        generation = self._link.generation
        if own.generation != generation:
            done = self._catch_up(own, end)
            own.generation = generation
            if done:
                return True
        [reply] = self._link.call(command())
        if isinstance(reply, bytes):
            return True
        logger.info("a write was refused: %s", reply, extra=named(own.log.header))
        own.generation = None
        return False

    def _wait(self, own: Own, patience_s: float) -> None:
        """For Redis to come back, or for room in it. Raises Unavailable when that takes too long."""
        now_s = self._runtime.monotonic()
        own.refused_s = own.refused_s or now_s
        left_s = own.refused_s + patience_s - now_s
        if left_s <= 0 or not self._link.wait_up(left_s):
            raise unavailable()
        self._runtime.sleep(PAUSE_S)

    def _catch_up(self, own: Own, end: int | None) -> bool:
        """Have Redis know all that the log has; whether it is at offset `end` already. Raises LogClosed when
        the answer has been ended, TakenOver when another goes on with it."""
        log, key, header = own.log, own.key, own.log.header
        top = self._link.get(*rows.last(key))
        if not top:
            self._write_again(own)
            return False
        fields, (epoch, offset) = top[0][1], rows.place_of(top[0])
        if b"c" in fields or b"x" in fields:
            self._closing_that_stands(log)  # what was written unheard is read here, too
            raise LogClosed(header.stream_id)
        if epoch > own.epoch:
            raise TakenOver(header.stream_id)
        lost: list[Command] = []
        if epoch < own.epoch:
            lost.append(rows.epoch_row(key, header, offset))
        if offset < log.offset:
            missing = log.read(offset).entries
            lost.append(rows.entries_row(key, offset + 1, missing, log.route, own.epoch))
        if lost:
            logger.warning("Redis has lost the end of an answer; it is written again", extra=named(header))
            # Where others have ended it meanwhile this is refused, as is what follows.
            self._link.call(*lost)
        elif end is None and offset > log.offset:
            rows.feed(log, self._link.get(*rows.after(key, log.offset, own.epoch)))
        return offset == end

    def _write_again(self, own: Own) -> None:
        """Raises LogClosed if that is not ours to do: others may have ended and dropped it."""
        log = own.log
        header = log.header
        if header.writer != self._presence.name or not self._presence.never_away_for(self._ttl_s):
            raise LogClosed(header.stream_id)
        logger.warning("Redis has lost an answer; it is written again", extra=named(log.header))
        key = own.key
        entries = log.read(0).entries
        commands: list[Command] = [rows.header_row(key, header), ("EXPIRE", key, holdings.KEPT_RUNNING_S)]
        if entries:
            commands.append(rows.entries_row(key, 1, entries, log.route, own.epoch))
        # What somebody else has written again by now is refused, and there all the same.
        self._link.call(*commands, *holdings.again(header))

    def _closing_that_stands(self, log: Log) -> Closing | None:
        """Of an answer that somebody has ended; what the log lacks of it is added."""
        header = log.header
        found = self._link.get(*rows.after(StreamKeys(header.stream_id).log, log.offset, header.epoch))
        for row in found:
            if b"e" in row[1]:
                rows.feed(log, [row])
        return rows.closing_of(found)
