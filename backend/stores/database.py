"""One SQLite file: its schema, its one writer, its readers. Nothing here blocks the hub."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, TypeVar

from backend.chat.errors import Misconfigured, Unavailable
from backend.chat.ports import Runtime
from backend.chat.signals import Signal
from backend.stores.gathering import Gathering

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], object]

MIGRATIONS = (
    """
    CREATE TABLE sessions (
        owner TEXT NOT NULL, session_id TEXT NOT NULL, title TEXT, model TEXT, system TEXT,
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL, message_count INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (owner, session_id)
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_time ON sessions (owner, updated_at, session_id);
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY, owner TEXT NOT NULL, session_id TEXT NOT NULL, id TEXT NOT NULL,
        role TEXT NOT NULL, content TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL,
        model TEXT, tokens INTEGER, stream_id TEXT, closing TEXT,
        FOREIGN KEY (owner, session_id) REFERENCES sessions ON DELETE CASCADE
    );
    CREATE UNIQUE INDEX messages_by_session ON messages (owner, session_id, id);
    CREATE TABLE streams (
        stream_id TEXT PRIMARY KEY, owner TEXT NOT NULL, session_id TEXT, header TEXT NOT NULL,
        closing TEXT, ended_at TEXT, expired INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX streams_by_end ON streams (expired, ended_at);
    CREATE INDEX streams_by_session ON streams (owner, session_id);
    CREATE TABLE entries (
        stream_id TEXT NOT NULL REFERENCES streams ON DELETE CASCADE, first INTEGER NOT NULL,
        items TEXT NOT NULL, PRIMARY KEY (stream_id, first)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE messages ADD COLUMN parent_id TEXT;
    UPDATE messages SET parent_id = before.id FROM (
        SELECT number, lag(id) OVER (PARTITION BY owner, session_id ORDER BY number) AS id FROM messages
    ) AS before WHERE before.number = messages.number;
    """,
)
"""Each brings the schema one version on; `user_version` counts those done. Never edit one that shipped."""


class Commit:
    """A piece of writing on its way; `error` is what became of it."""

    __slots__ = ("done", "error", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = False
        self.error: Exception | None = None


class Database:
    """Writes go in the order they were given, as many in one transaction as are waiting (group commit).

    Write-ahead logging with `synchronous=NORMAL`: what
    was committed survives the process; a power cut may take the last moments, never the file.
    """

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self._path = path
        self._runtime = runtime
        self._gathering = Gathering(self._commit_all, runtime)
        self._committed: Signal = runtime.signal()
        self._readers: deque[sqlite3.Connection] = deque()  # idle; threads take and give them back
        try:
            self._lease = exclusive(path)
            self._writer = self._open()
        except (OSError, sqlite3.Error) as exc:
            raise Misconfigured(f"STORE_URL: {path} cannot be used: {exc}") from exc

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` gives, run on a connection of its own in a real thread. Raises Unavailable."""
        try:
            return self._runtime.offload(lambda: self._read(query))
        except sqlite3.Error as exc:
            logger.error("the session database cannot be read: %s", exc)
            raise Unavailable("The session store cannot be read just now; try again") from exc

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Takes a connection only once it has a thread: there are no more of them than of those."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._connect()
        try:
            result = query(reader)
        except Exception:
            reader.close()
            raise
        self._readers.append(reader)
        return result

    def write(self, work: Work) -> None:
        """Commit, and return when it is done. Raises Unavailable."""
        self.wait(self.post(work))

    def wait(self, commit: Commit) -> None:
        """Until it is done. Raises Unavailable."""
        while not commit.done:
            self._committed.wait_for(lambda: commit.done, 60.0)
        if commit.error is not None:
            raise Unavailable("The session store cannot be written just now; try again") from commit.error

    def post(self, work: Work) -> Commit:
        """Commit soon, after everything given before; who asks does not wait."""
        commit = Commit(work)
        self._gathering.add(commit)
        return commit

    def close(self) -> None:
        """Call when nothing writes any more."""
        for connection in (*self._readers, self._writer):
            connection.close()
        self._lease.close()

    def _commit_all(self, commits: list[Commit]) -> None:
        self._runtime.offload(lambda: self._commit(commits))
        for commit in commits:
            if commit.error is not None:
                logger.error("the session database cannot be written: %s", commit.error)
            commit.done = True
        self._committed.notify()

    def _commit(self, commits: list[Commit]) -> None:
        """All in one transaction; when that fails, one by one, so that each fails for itself. Whatever
        a piece raises is its own trouble: the queue goes on."""
        error = self._transaction(commits)
        if error is None:
            return
        for commit in commits:
            commit.error = self._transaction([commit]) if len(commits) > 1 else error

    def _transaction(self, commits: list[Commit]) -> Exception | None:
        try:
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                for commit in commits:
                    commit.work(self._writer)
        except Exception as exc:  # noqa: BLE001
            return exc
        return None

    def _open(self) -> sqlite3.Connection:
        with ExitStack() as undo:
            undo.callback(self._lease.close)
            connection = undo.enter_context(closing(self._connect()))
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, self._path)
            undo.pop_all()
            return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
        connection.executescript("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")
        return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, each step in a transaction of its own."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise Misconfigured(
            f"{path} was written by a newer Parley; run that one, or set STORE_URL to another file"
        )
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {migration} PRAGMA user_version = {number}; COMMIT;")


def exclusive(path: Path) -> IO[str]:
    """One process a file: a second would take the first one's running answers for abandoned."""
    path = path.resolve()  # whatever links lead there
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is said here is nobody else's
    lease = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lease.close()
        raise Misconfigured(
            f"Another server is using {path}; stop it, or set STORE_URL to another file"
        ) from exc
    return lease
