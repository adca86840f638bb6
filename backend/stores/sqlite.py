"""Sessions and answers in a SQLite file: they survive the process, a running answer up to its last
checkpoint."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from backend.chat.errors import NotFound, StreamExpired, Unavailable
from backend.chat.events import Closing, Entry, Header
from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.chat.requests import Idempotency
from backend.stores import records
from backend.stores.claims import Claims
from backend.stores.database import Commit, Database
from backend.stores.memory import TOMBSTONE_TTLS, expired_stream, unknown_stream

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 30.0


def ago(seconds: float) -> str:
    """The wall clock so long ago, as it is kept: ages must outlive the process, whose own clock does not."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="microseconds")


class SqliteStreams:
    """A running log lives in memory and is written behind, every `checkpoint_s`; a finished one is read
    back when somebody asks for it.

    `_saved` holds the offset up to which each running log is in the file; whoever takes a log out of it
    (its closer) is the last to write it.
    """

    def __init__(
        self, database: Database, runtime: Runtime, ttl_s: float, checkpoint_s: float = 0.25
    ) -> None:
        self._database = database
        self._runtime = runtime
        self._ttl_s = ttl_s
        self._checkpoint_s = checkpoint_s
        self._claims = Claims()
        self._saved: dict[str, int] = {}
        self._flushed: dict[str, Commit] = {}
        self._unclosed: dict[str, tuple[Log, Closing]] = {}  # ended, but the file would not take it
        self._checkpointing = False
        self._swept_s = runtime.monotonic()
        for header in self._headers("NOT expired"):
            self._claims.remember(header)

    def create(self, header: Header) -> Log:
        """The header is in the file before the question is: both go through one queue."""
        log = Log(header, self._runtime.signal())
        while (winner := self._claims.take(log)) is not header:
            if known := self._remembered(winner):
                return known
        self._saved[header.stream_id] = 0
        self._database.post(insert_stream(header))
        if not self._checkpointing:
            self._checkpointing = True
            self._runtime.spawn(self._checkpoint_all)
        return log

    def by_key(self, idempotency: Idempotency) -> Log | None:
        header = self._claims.known(idempotency)
        return self._remembered(header) if header else None

    def get(self, owner: str, stream_id: str) -> Log:
        log = self._in_memory(stream_id)
        if log is None:
            log = self._load(stream_id)
            if log is not None and log.closing is None:  # discarded a moment ago
                log = None
        if log is None or log.header.owner != owner:
            raise unknown_stream()
        if log.closing and log.closing.at < ago(self._ttl_s):
            raise expired_stream()
        return log

    def running(self, owner: str, session_id: str) -> Log | None:
        return self._claims.running(owner, session_id)

    def affirm(self, log: Log) -> None:
        """Nobody else drops any."""

    def append(self, log: Log, entries: list[Entry]) -> None:
        log.append(entries)

    def seal(self, log: Log, closing: Closing) -> Closing:
        """Nobody waits for it: what is given to the file later is written later."""
        if log.closing is not None:
            return log.closing
        self._saved.pop(log.header.stream_id, None)
        self._flushed[log.header.stream_id] = self._database.post(rewrite(log))
        return closing

    def close(self, log: Log, closing: Closing) -> None:
        """What the file refuses is kept here and tried again: readers are not made to wait for it."""
        if log.closing is not None:
            return
        stream_id = log.header.stream_id
        self._saved.pop(stream_id, None)
        flushed = self._flushed.pop(stream_id, None)
        try:
            self._database.write(close_stream(log, closing, flushed))
        except Unavailable:
            extra = {"stream_id": stream_id}
            logger.error("an answer could not be closed in the file; trying again", extra=extra)
            self._unclosed[stream_id] = (log, closing)
        self._claims.leave(log.header)
        log.close(closing)

    def discard(self, log: Log) -> None:
        header = log.header
        self._saved.pop(header.stream_id, None)
        self._claims.leave(header)
        self._claims.forget(header)
        self._database.post(lambda db: run(db, "DELETE FROM streams WHERE stream_id = ?", header.stream_id))

    def forget(self, owner: str, session_id: str) -> None:
        place = (owner, session_id)
        for header in self._headers("closing IS NOT NULL AND owner = ? AND session_id = ?", *place):
            self._claims.forget(header)
        self._database.write(
            lambda db: run(
                db, "DELETE FROM streams WHERE closing IS NOT NULL AND owner = ? AND session_id = ?", *place
            )
        )

    def abandoned(self, *, by_others: bool = True) -> list[Log]:  # noqa: ARG002
        headers = self._headers("closing IS NULL")
        logs = [self._load(header.stream_id) for header in headers if not self._in_memory(header.stream_id)]
        return [log for log in logs if log is not None]

    def take_over(self, log: Log, left: Header) -> bool:  # noqa: ARG002
        """Readers are shown what the file has a moment later."""
        return False

    def let_go(self, log: Log) -> None:
        """Nobody takes any over."""

    def sweep(self) -> None:
        self._close_unclosed()
        if self._runtime.monotonic() - self._swept_s < SWEEP_EVERY_S:
            return
        self._swept_s = self._runtime.monotonic()
        old, oldest = ago(self._ttl_s), ago(self._ttl_s * TOMBSTONE_TTLS)
        for header in self._headers("NOT expired AND ended_at < ?", old):
            self._claims.forget(header)
        self._database.write(expire_streams(old, oldest))

    def _close_unclosed(self) -> None:
        """One that is refused again is no reason not to try the others."""
        trying = [
            (stream_id, self._database.post(close_stream(log, closing)))
            for stream_id, (log, closing) in list(self._unclosed.items())
        ]
        for stream_id, commit in trying:
            with suppress(Unavailable):
                self._database.wait(commit)
                del self._unclosed[stream_id]

    def _remembered(self, header: Header) -> Log | None:
        """The log of a known key, or None and the key is free if its time is over."""
        try:
            return self.get(header.owner, header.stream_id)
        except (StreamExpired, NotFound):
            self._claims.forget(header)
            return None

    def _in_memory(self, stream_id: str) -> Log | None:
        if stream_id in self._unclosed:
            return self._unclosed[stream_id][0]
        return self._claims.live(stream_id)

    def _load(self, stream_id: str) -> Log | None:
        def query(db: sqlite3.Connection) -> tuple[tuple[str, str | None] | None, list[tuple[str]]]:
            stream = db.execute("SELECT header, closing FROM streams WHERE stream_id = ?", (stream_id,))
            items = "SELECT items FROM entries WHERE stream_id = ? ORDER BY first"
            return stream.fetchone(), db.execute(items, (stream_id,)).fetchall()

        row, rows = self._database.read(query)
        if row is None:
            return None
        log = Log(records.header_from_json(row[0]), self._runtime.signal())
        for (items,) in rows:
            log.append(records.entries_from_json(items))
        if row[1] is not None:
            log.close(records.closing_from_json(row[1]))
        return log

    def _headers(self, where: str, *values: str) -> list[Header]:
        rows = self._database.read(
            lambda db: db.execute(f"SELECT header FROM streams WHERE {where}", values).fetchall()
        )
        return [records.header_from_json(header) for (header,) in rows]

    def _checkpoint_all(self) -> None:
        """Runs while answers run, each a piece of writing of its own. What could not be written is part of
        the next checkpoint."""
        while self._saved:
            self._runtime.sleep(self._checkpoint_s)
            writing = []
            for log in self._claims.all_live():
                stream_id = log.header.stream_id
                saved = self._saved.get(stream_id)
                if saved is not None and log.offset > saved:
                    entries = log.read(saved).entries
                    commit = self._database.post(checkpoint(stream_id, saved, entries))
                    writing.append((stream_id, saved + len(entries), commit))
            for stream_id, offset, commit in writing:
                with suppress(Unavailable):
                    self._database.wait(commit)
                    if stream_id in self._saved:
                        self._saved[stream_id] = offset
        self._checkpointing = False


def run(db: sqlite3.Connection, statement: str, *values: object) -> None:
    db.execute(statement, values)


def insert_stream(header: Header) -> Callable[[sqlite3.Connection], None]:
    return lambda db: run(
        db,
        "INSERT INTO streams (stream_id, owner, session_id, header) VALUES (?, ?, ?, ?)",
        header.stream_id, header.owner, header.session_id, records.header_to_json(header),
    )  # fmt: skip


def checkpoint(stream_id: str, saved: int, entries: Sequence[Entry]) -> Callable[[sqlite3.Connection], None]:
    """Add what a log has past its saved offset."""
    return lambda db: run(
        db,
        "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)",
        stream_id, saved + 1, records.entries_to_json(entries),
    )  # fmt: skip


def rewrite(log: Log) -> Callable[[sqlite3.Connection], None]:
    """Write the whole log as one row in place of its checkpoints."""
    header = log.header

    def work(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT OR IGNORE INTO streams (stream_id, owner, session_id, header) VALUES (?, ?, ?, ?)",
            (header.stream_id, header.owner, header.session_id, records.header_to_json(header)),
        )
        run(db, "DELETE FROM entries WHERE stream_id = ?", header.stream_id)
        items = records.entries_to_json(log.read(0).entries)
        run(db, "INSERT INTO entries VALUES (?, 1, ?)", header.stream_id, items)

    return work


def close_stream(
    log: Log, closing: Closing, flushed: Commit | None = None
) -> Callable[[sqlite3.Connection], None]:
    """Write its end, and the whole log unless that was `flushed` well."""
    write = rewrite(log)

    def work(db: sqlite3.Connection) -> None:
        if flushed is None or flushed.error is not None:
            write(db)
        run(
            db,
            "UPDATE streams SET closing = ?, ended_at = ? WHERE stream_id = ?",
            records.closing_to_json(closing), closing.at, log.header.stream_id,
        )  # fmt: skip

    return work


def expire_streams(old: str, oldest: str) -> Callable[[sqlite3.Connection], None]:
    """Of those that ended before `old` only the fact stays; of those before `oldest` nothing."""

    def work(db: sqlite3.Connection) -> None:
        run(
            db,
            "DELETE FROM entries WHERE stream_id IN"
            " (SELECT stream_id FROM streams WHERE NOT expired AND ended_at < ?)",
            old,
        )
        run(db, "UPDATE streams SET expired = 1 WHERE NOT expired AND ended_at < ?", old)
        run(db, "DELETE FROM streams WHERE expired AND ended_at < ?", oldest)

    return work
