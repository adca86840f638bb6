"""Ends of answers, until Redis has them and will not lose them."""

from __future__ import annotations

import logging
from contextlib import suppress

from backend.chat.errors import Unavailable
from backend.chat.events import Closing
from backend.chat.keeper import named
from backend.chat.log import Log, TakenOver
from backend.chat.ports import Runtime
from backend.stores.redis import holdings
from backend.stores.redis.link import Link
from backend.stores.redis.mirrors import Audience
from backend.stores.redis.writing import Own, Writing

logger = logging.getLogger(__name__)

KEPT_S = 5.0
"""How long this process can still write an ended answer again: a Redis that is killed may lose a second or
two of what it said to have (`appendfsync everysec`)."""


class Endings:
    """Closes and discards; what Redis does not take, since it is away or full, is tried again. `name` is this
    process's."""

    def __init__(
        self, link: Link, writing: Writing, audience: Audience, runtime: Runtime, name: str, ttl_s: float
    ) -> None:
        self._link = link
        self._writing = writing
        self._audience = audience
        self._runtime = runtime
        self._name = name
        self._ttl_ms = round(ttl_s * 1000)
        self._closed: dict[str, tuple[float, Own]] = {}  # since when; the last of them, should Redis forget
        self._unclosed: dict[str, tuple[Own, Closing]] = {}
        self._undone: dict[str, Log] = {}

    def close(self, own: Own, closing: Closing) -> Closing:
        """The closing that stands. Raises TakenOver."""
        try:
            return self._close(own, closing)
        except Unavailable:
            logger.error("an answer could not be closed in Redis; trying again", extra=named(own.log.header))
            own.generation = None
            self._unclosed[own.log.header.stream_id] = (own, closing)
            return closing

    def discard(self, log: Log) -> None:
        try:
            self._discard(log)
        except Unavailable:
            self._undone[log.header.stream_id] = log

    def unclosed(self, stream_id: str) -> Own | None:
        """An answer whose end Redis has yet to take."""
        waiting = self._unclosed.get(stream_id)
        return waiting[0] if waiting else None

    def is_undone(self, stream_id: str) -> bool:
        """Whether it waits to be discarded."""
        return stream_id in self._undone

    def reopen(self, stream_id: str) -> Own | None:
        """One whose end Redis may not have, nor its message, although it may have said so: it is to be closed
        once more."""
        if stream_id in self._unclosed:
            return self._unclosed.pop(stream_id)[0]
        return self._closed.pop(stream_id)[1] if stream_id in self._closed else None

    def close_unclosed(self) -> None:
        for stream_id, (own, closing) in list(self._unclosed.items()):
            with suppress(Unavailable):
                try:
                    self._close(own, closing)
                except TakenOver:
                    extra = named(own.log.header)
                    logger.error("others go on with an answer that has ended here", extra=extra)
                self._unclosed.pop(stream_id, None)

    def sweep(self) -> None:
        for stream_id, log in list(self._undone.items()):
            with suppress(Unavailable):
                self._discard(log)
                del self._undone[stream_id]
        oldest_s = self._runtime.monotonic() - KEPT_S
        if self._link.up and self._link.changed_s < oldest_s:
            self._closed = {name: each for name, each in self._closed.items() if each[0] >= oldest_s}

    def _close(self, own: Own, closing: Closing) -> Closing:
        """Show the end, and let go of all that the answer holds. Done twice it changes nothing."""
        header = own.log.header
        closing = self._writing.seal(own, closing)
        self._link.call(*holdings.ended(header, self._ttl_ms))
        if header.writer == self._name:
            self._closed[header.stream_id] = (self._runtime.monotonic(), own)
        return closing

    def _discard(self, log: Log) -> None:
        self._link.call(*holdings.discarded(log))
        self._audience.tell(log)
