"""Answers in Redis: those that are written here and, as mirrors, everybody's."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from backend.chat.errors import (
    IdempotencyMismatch,
    ParleyError,
    Unavailable,
)
from backend.chat.events import Closing, Entry, Failed, Header
from backend.chat.log import Log, TakenOver
from backend.chat.ports import Runtime
from backend.chat.requests import Idempotency
from backend.stores.memory import expired_stream, unknown_stream
from backend.stores.redis import holdings, rows
from backend.stores.redis.claims import Claims
from backend.stores.redis.client import Command
from backend.stores.redis.endings import Endings
from backend.stores.redis.keys import ProcessKeys, SessionKeys, StreamKeys
from backend.stores.redis.link import Link
from backend.stores.redis.mirrors import AT_ONCE, Audience, Mirrors
from backend.stores.redis.presence import Presence
from backend.stores.redis.writing import Own, Writing

logger = logging.getLogger(__name__)

CLOCKS_APART_S = 2.0
"""How much older an answer may be than two machines' clocks say."""


class RedisStreams:
    """As `chat.ports.StreamStore`."""

    def __init__(
        self,
        link: Link,
        writing: Writing,
        endings: Endings,
        mirrors: Mirrors,
        audience: Audience,
        presence: Presence,
        runtime: Runtime,
        ttl_s: float,
    ) -> None:
        self._link = link
        self._writing = writing
        self._endings = endings
        self._mirrors = mirrors
        self._audience = audience
        self._presence = presence
        self._runtime = runtime
        self._claims = Claims(link, math.ceil(ttl_s), self._find, self._of_owner)
        self.on_taken: Callable[[str], None] = lambda _stream_id: None
        """Called with the id of an answer that others have ended, or go on with: its writer need not wait for
        the model to speak to find that out."""
        self._own: dict[str, Own] = {}
        self._looked_through = 0
        """In which generation of the link no more answers were found that this process thinks ended."""

    def create(self, header: Header) -> Log:
        log = Log(header, self._runtime.signal())
        self._own[header.stream_id] = self._writing.begin(log)
        try:
            self._begin(header)
            joined = self._claims.session(header) or self._claims.key(header)
        except (IdempotencyMismatch, Unavailable) as exc:
            self._refuse(log, exc)
            raise
        except Exception:
            self.discard(log)
            raise
        if joined is not None:
            self._refuse(log, Unavailable("This was asked more than once in a moment; ask again", 1))
            return joined
        self._own[header.stream_id].seen_s = self._runtime.monotonic()
        return log

    def _refuse(self, log: Log, exc: ParleyError) -> None:
        """Who asked the same in this moment may have joined it, and is told."""
        log.close(Failed.because(exc, tokens=0, at=self._runtime.now()))
        self.discard(log)

    def by_key(self, idempotency: Idempotency) -> Log | None:
        return self._claims.by_key(idempotency)

    def get(self, owner: str, stream_id: str) -> Log:
        """One that was refused is still there for a while for who joined it."""
        return self._of_owner(owner, stream_id, self._find(stream_id) or self._mirrors.refused(stream_id))

    def _of_owner(self, owner: str, stream_id: str, log: Log | None) -> Log:
        if log is not None and log.header.owner == owner:
            return log
        if log is None and self._link.get("GET", StreamKeys(stream_id).tombstone) == owner.encode():
            raise expired_stream()
        raise unknown_stream()

    def running(self, owner: str, session_id: str) -> Log | None:
        return self._claims.running(owner, session_id)

    def of_caller(self, header: Header) -> int:
        """How many answers the caller of one that begins here has running in all processes."""
        return self._own[header.stream_id].of_caller

    def affirm(self, log: Log) -> None:
        """Only while this process's lease is not held can anybody have dropped it."""
        if self._presence.held_since(self._own_of(log).begun_s):
            return
        top = self._link.get(*rows.last(StreamKeys(log.header.stream_id).log))
        if not top or rows.discarded(top):
            raise Unavailable("This server was away for too long; ask again", 1)

    def append(self, log: Log, entries: list[Entry]) -> None:
        self._writing.append(self._own_of(log), entries)
        self._audience.tell(log)

    def seal(self, log: Log, closing: Closing) -> Closing:
        stream_id = log.header.stream_id
        own = self._own.get(stream_id) or self._endings.unclosed(stream_id)
        if own is not None:
            return self._writing.seal(own, closing)
        if log.closing is not None:
            return log.closing
        closing = self._writing.seal(self._writing.begin(log), closing)
        # What its writer added before the seal, if it lives after all.
        self._mirrors.get(stream_id)
        return closing

    def close(self, log: Log, closing: Closing) -> None:
        """Readers are not made to wait for Redis to take it. One that others go on with stays open."""
        stream_id = log.header.stream_id
        if log.closing is not None and stream_id not in self._own:
            return
        try:
            closing = self._endings.close(self._own_of(log), closing)
        except TakenOver:
            self.let_go(log)
            return
        self._own.pop(stream_id, None)
        log.close(closing)
        self._audience.tell(log)

    def discard(self, log: Log) -> None:
        """Who joined it meanwhile is told by its closing, if it has one."""
        self._own.pop(log.header.stream_id, None)
        self._endings.discard(log)

    def forget(self, owner: str, session_id: str) -> None:
        answers = SessionKeys(owner, session_id).answers
        names = [name.decode() for name in self._link.get("ZRANGE", answers, 0, -1)]
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            kept = self._link.do(*[("EXISTS", StreamKeys(stream_id).log) for stream_id in some])
            commands: list[Command] = []
            for stream_id, is_kept in zip(some, kept, strict=True):
                log = self._find(stream_id) if is_kept or stream_id in self._own else None
                if log is None or log.closing is not None:
                    commands += holdings.forgotten(stream_id, log)
                    commands.append(("ZREM", answers, stream_id))
            self._link.do(*commands)

    def abandoned(self, *, by_others: bool = True) -> Iterator[Log]:
        generation = self._link.generation
        if self._looked_through != generation:
            mine = 0
            for log in self._left_by(self._presence.name):
                mine += 1
                yield log
            if not mine:
                self._looked_through = generation
        for process in self._presence.gone() if by_others else ():
            left = 0
            for log in self._left_by(process):
                left += 1
                yield log
            if not left:
                self._presence.buried(process)

    def take_over(self, log: Log, left: Header) -> bool:
        """Not where Redis may have lost something since the answer began: readers may have more of it."""
        if log.header.epoch != left.epoch:
            raise TakenOver(left.stream_id)
        header = replace(left, writer=self._presence.name, epoch=left.epoch + 1)
        age_s = left.age_s(self._runtime.now()) + CLOCKS_APART_S
        unbroken = self._runtime.monotonic() - self._link.changed_s > age_s
        if self._link.get("EXISTS", StreamKeys(left.stream_id).stop):
            return False
        taking = rows.take_over(
            StreamKeys(left.stream_id).log, header, log, None if unbroken else math.ceil(age_s)
        )
        # Among ours first: nobody would look after it if we died in between.
        self._link.do(*holdings.looked_after(header.writer, header.stream_id))
        taken = self._link.get(*taking)
        self._link.do(holdings.left_alone((left if taken else header).writer, header.stream_id))
        if not taken:
            return False
        self._mirrors.let_go(log)
        log.header = header
        own = self._own[header.stream_id] = self._writing.begin(log)
        own.seen_s = self._runtime.monotonic()
        return True

    def let_go(self, log: Log) -> None:
        self._own.pop(log.header.stream_id, None)
        log.reopen()
        self._mirrors.adopt(log)

    def sweep(self) -> None:
        self._audience.sweep()
        with suppress(Unavailable):
            for own in self._writing.look_after(self._own):
                self._runtime.spawn(partial(self.on_taken, own.log.header.stream_id))
        if self._looked_through == self._link.generation:  # else `abandoned` has them, with their messages
            self._endings.close_unclosed()
        self._endings.sweep()

    def _own_of(self, log: Log) -> Own:
        """Of one that is not: whoever ends what another has left behind writes to it, too."""
        return self._own.get(log.header.stream_id) or self._writing.begin(log)

    def _find(self, stream_id: str) -> Log | None:
        own = self._own.get(stream_id) or self._endings.unclosed(stream_id)
        return own.log if own is not None else self._mirrors.get(stream_id)

    def _begin(self, header: Header) -> None:
        """Write the header: before anything is claimed for it, since a claim without an answer holds nothing,
        and two nodes of a cluster may be told in any order."""
        _, self._own[header.stream_id].of_caller, *_ = self._link.do(*holdings.begun(header))

    def _left_by(self, process: str) -> Iterator[Log]:
        """What a process was writing when it died; of this one, what Redis has forgotten to have ended. While
        it is remembered here, it is all there to be ended again."""
        live = ProcessKeys(process).live
        for name in self._link.get("SMEMBERS", live):
            stream_id = name.decode()
            if self._endings.is_undone(stream_id):
                continue
            if process != self._presence.name:
                if self._endings.unclosed(stream_id):
                    continue
            elif own := self._endings.reopen(stream_id):
                own.generation = None
                self._own[stream_id] = own
            if stream_id in self._own:
                log = self._own[stream_id].log
                if log.closing is not None:
                    yield log
                elif process != self._presence.name:
                    self._link.do(holdings.left_alone(process, stream_id))
                continue
            left = self._mirrors.get(stream_id)
            if left is not None and left.header.writer != process:
                self._link.do(holdings.left_alone(process, stream_id))  # another goes on with it
            elif left is not None and left.closing is None:
                yield left
            else:
                self._link.do(("SREM", live, stream_id), *(holdings.let_go(left.header) if left else ()))
