"""Answers and sessions in this process: fast, bounded, gone with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Unpack

from backend.chat.errors import NotFound, StreamExpired
from backend.chat.events import Closing, Entry, Header
from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.chat.requests import Idempotency
from backend.chat.sessions import Changes, Message, Session
from backend.stores.claims import Claims

TOMBSTONE_TTLS = 24
"""An expired stream answers "expired" until it is this many times its time to live old, then "not found"."""

SESSION_BYTES = 1000
ENTRY_BYTES = 60
BLANK_BYTES = 1000
MESSAGE_BYTES = 500
"""What these cost besides their text, roughly."""


def unknown_stream() -> NotFound:
    return NotFound("There is no such stream")


def expired_stream() -> StreamExpired:
    return StreamExpired("This answer is no longer kept as a stream; its session has it")


@dataclass(slots=True)
class _Ended:
    """A finished log; None once only the fact that it existed is left."""

    header: Header
    log: Log | None
    ended_s: float
    size: int


class MemoryStreams:
    """Running logs, and the finished ones while they fit into `max_bytes`, the newest longest. A key
    outlives a log that had to make room: asked again, it is expired, not generated twice.

    The lock guards the finished ones; claims and logs guard themselves.
    """

    def __init__(self, runtime: Runtime, ttl_s: float, max_bytes: int) -> None:
        self._runtime = runtime
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._claims = Claims()
        self._ended: OrderedDict[str, _Ended] = OrderedDict()  # the oldest end first
        self._bytes = 0
        self._lock = Lock()

    def create(self, header: Header) -> Log:
        log = Log(header, self._runtime.signal())
        winner = self._claims.take(log)
        return log if winner is header else self.get(winner.owner, winner.stream_id)

    def by_key(self, idempotency: Idempotency) -> Log | None:
        header = self._claims.known(idempotency)
        return self.get(header.owner, header.stream_id) if header else None

    def get(self, owner: str, stream_id: str) -> Log:
        with self._lock:
            ended = self._ended.get(stream_id)
            log = self._claims.live(stream_id) if ended is None else ended.log
        header = ended.header if ended else log.header if log else None
        if header is None or header.owner != owner:
            raise unknown_stream()
        if log is None:
            raise expired_stream()
        return log

    def running(self, owner: str, session_id: str) -> Log | None:
        return self._claims.running(owner, session_id)

    def affirm(self, log: Log) -> None:
        """Nobody else drops any."""

    def append(self, log: Log, entries: list[Entry]) -> None:
        log.append(entries)

    def seal(self, log: Log, closing: Closing) -> Closing:
        """Nothing here is durable."""
        return log.closing or closing

    def close(self, log: Log, closing: Closing) -> None:
        blanks = log.offset - log.count
        size = SESSION_BYTES + log.offset * ENTRY_BYTES + blanks * BLANK_BYTES + max(log.size, len(log.text))
        ended = _Ended(log.header, log, self._runtime.monotonic(), size)
        with self._lock:
            if log.closing is not None:
                return
            self._ended[log.header.stream_id] = ended
            self._bytes += size
            self._claims.leave(log.header)
            self._make_room()
        log.close(closing)

    def discard(self, log: Log) -> None:
        self._claims.leave(log.header)
        self._claims.forget(log.header)

    def forget(self, owner: str, session_id: str) -> None:
        with self._lock:
            for ended in list(self._ended.values()):
                if (ended.header.owner, ended.header.session_id) == (owner, session_id):
                    self._drop(ended)
                    self._claims.forget(ended.header)
                    del self._ended[ended.header.stream_id]

    def abandoned(self, *, by_others: bool = True) -> list[Log]:  # noqa: ARG002
        return []

    def take_over(self, log: Log, left: Header) -> bool:  # noqa: ARG002
        return False

    def let_go(self, log: Log) -> None:
        """Nobody takes any over."""

    def sweep(self) -> None:
        with self._lock:
            for ended in self._older_than(self._ttl_s):
                self._drop(ended)
                self._claims.forget(ended.header)
            for ended in self._older_than(self._ttl_s * TOMBSTONE_TTLS):
                del self._ended[ended.header.stream_id]

    def _make_room(self) -> None:
        for ended in self._ended.values():
            if self._bytes <= self._max_bytes:
                return
            self._drop(ended)

    def _drop(self, ended: _Ended) -> None:
        """Keep only that it existed."""
        if ended.log is not None:
            ended.log = None
            self._bytes -= ended.size

    def _older_than(self, age_s: float) -> list[_Ended]:
        before_s = self._runtime.monotonic() - age_s
        old = []
        for ended in self._ended.values():
            if ended.ended_s > before_s:
                break
            old.append(ended)
        return old


@dataclass(slots=True)
class _Kept:
    """A session with its messages, and when it was last written to."""

    session: Session
    touched_s: float
    messages: list[Message] = field(default_factory=list)
    size: int = SESSION_BYTES


class MemorySessions:
    """Sessions, the least recently written dropped first when there are too many or they are too large,
    and each dropped `ttl_s` after it was last written.

    The lock guards all of it.
    """

    def __init__(self, runtime: Runtime, ttl_s: float | None, max_bytes: int, max_sessions: int) -> None:
        self._runtime = runtime
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._max_sessions = max_sessions
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()  # the least recently written first
        self._bytes = 0
        self._lock = Lock()

    def create(self, session: Session) -> None:
        with self._lock:
            self._add(session)

    def get(self, owner: str, session_id: str) -> Session | None:
        with self._lock:
            kept = self._kept.get((owner, session_id))
            return kept.session if kept else None

    def list(self, owner: str, limit: int, before: tuple[str, str] | None) -> Sequence[Session]:
        with self._lock:
            mine = [kept.session for kept in self._kept.values() if kept.session.owner == owner]
        mine.sort(key=position, reverse=True)
        return [session for session in mine if before is None or position(session) < before][:limit]

    def update(self, owner: str, session_id: str, changes: Changes) -> Session | None:
        with self._lock:
            kept = self._kept.get((owner, session_id))
            if kept is None:
                return None
            self._touch(kept, **changes)
            return kept.session

    def delete(self, owner: str, session_id: str) -> bool:
        with self._lock:
            return self._remove((owner, session_id))

    def messages(self, owner: str, session_id: str) -> Sequence[Message]:
        with self._lock:
            kept = self._kept.get((owner, session_id))
            return tuple(kept.messages) if kept else ()

    def ask(self, session: Session, question: Message, title: str) -> None:
        with self._lock:
            kept = self._kept.get((session.owner, session.session_id)) or self._add(session)
            self._write(kept, question, title=kept.session.title or title)

    def answer(self, owner: str, session_id: str, answer: Message) -> None:
        with self._lock:
            kept = self._kept.get((owner, session_id))
            if kept and all(message.id != answer.id for message in kept.messages):
                self._write(kept, answer)

    def find_message(self, owner: str, session_id: str, message_id: str) -> Message | None:
        return next((m for m in self.messages(owner, session_id) if m.id == message_id), None)

    def sweep(self) -> None:
        if self._ttl_s is None:
            return
        before_s = self._runtime.monotonic() - self._ttl_s
        with self._lock:
            while self._kept and next(iter(self._kept.values())).touched_s <= before_s:
                self._remove(next(iter(self._kept)))

    def _add(self, session: Session) -> _Kept:
        kept = _Kept(session, self._runtime.monotonic())
        self._kept[session.owner, session.session_id] = kept
        self._bytes += kept.size
        self._make_room()
        return kept

    def _write(self, kept: _Kept, message: Message, **changes: Unpack[Changes]) -> None:
        kept.messages.append(message)
        size = MESSAGE_BYTES + len(message.content)
        kept.size += size
        self._bytes += size
        self._touch(kept, **changes)
        self._make_room()

    def _touch(self, kept: _Kept, **changes: Unpack[Changes]) -> None:
        kept.session = replace(
            kept.session, updated_at=self._runtime.now(), message_count=len(kept.messages), **changes
        )
        kept.touched_s = self._runtime.monotonic()
        self._kept.move_to_end((kept.session.owner, kept.session.session_id))

    def _make_room(self) -> None:
        """Never at the cost of the one just written."""
        while len(self._kept) > 1 and (self._bytes > self._max_bytes or len(self._kept) > self._max_sessions):
            self._remove(next(iter(self._kept)))

    def _remove(self, place: tuple[str, str]) -> bool:
        kept = self._kept.pop(place, None)
        if kept is None:
            return False
        self._bytes -= kept.size
        return True


def position(session: Session) -> tuple[str, str]:
    """Where a session stands in its owner's list."""
    return session.updated_at, session.session_id
