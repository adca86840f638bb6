"""A database by its URL: transactions in real threads, a bounded number of them at once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, exc, make_url

from backend.chat.errors import Internal, Misconfigured, ParleyError, Unavailable
from backend.chat.ports import Runtime
from backend.ledger import schema

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]
Kind = Literal["sqlite", "postgresql"]

PATIENCE_S = 5.0
WRITERS: dict[Kind, int] = {"sqlite": 1, "postgresql": 6}
"""SQLite has one writer at a time: who waits for it waits here, in turn, not in its busy loop."""
READERS = 3
LONGEST = 4
"""So many times the patience a transaction may take: it has that for each of its statements."""
AGAIN = {"40001", "40P01"}
"""PostgreSQL's codes for a transaction that failed for another's sake: serialization, deadlock."""

BROKEN = "The ledger cannot be used just now; try again"
BUSY = "The ledger has too much to do just now; try again"

FOREIGN: tuple[tuple[type[exc.DBAPIError], type[ParleyError], str], ...] = (
    (exc.IntegrityError, Internal, "The ledger refused what was to be written; nothing was changed"),
    (exc.ProgrammingError, Internal, "The ledger's tables are not what they should be"),
    (exc.DataError, Internal, "The ledger cannot hold such a value; nothing was changed"),
    (exc.NotSupportedError, Internal, "The ledger's database cannot do what is asked of it"),
    (exc.DBAPIError, Unavailable, BROKEN),  # locked, full, gone, too slow
)
"""What a database raises, and what becomes of it: the first row that fits."""


class Lane:
    """So many connections, each with one user at a time. The lock guards both fields."""

    def __init__(self, runtime: Runtime, size: int) -> None:
        self._lock = Lock()
        self._changed = runtime.signal()
        self._places = size
        self._idle: list[Connection] = []

    def enter(self, patience_s: float) -> Connection | None:
        """Wait for a place; an idle connection, or None for a new one to be made. Raises Unavailable."""
        if not self._changed.wait_for(self._take, patience_s):
            raise Unavailable(BUSY)
        with self._lock:
            return self._idle.pop() if self._idle else None

    def leave(self, connection: Connection | None) -> None:
        """Give the place back, and a connection that can be used again."""
        with self._lock:
            self._places += 1
            if connection is not None:
                self._idle.append(connection)
        self._changed.notify()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> bool:
        with self._lock:
            free = self._places > 0
            self._places -= free
            return free


class Database:
    """Who calls waits as the runtime does; the database is waited for in a real thread.

    There a green library's locks must not be met: the engine's own pool has some, so it has none, and
    connections are kept here. SQLite is in write-ahead mode with `synchronous=NORMAL`: what was
    committed survives the process; a power cut may take the last moments, and leaves it balanced.
    """

    def __init__(self, url: str, runtime: Runtime, patience_s: float = PATIENCE_S) -> None:
        self._runtime = runtime
        self._patience_s = patience_s
        address = address_of(url)
        self.kind: Kind = "sqlite" if address.drivername == "sqlite" else "postgresql"
        self.engine = _engine(address, patience_s)
        self._writers = Lane(runtime, WRITERS[self.kind])
        self._readers = Lane(runtime, READERS)
        try:
            connection, _ = runtime.offload(lambda: transaction(self.engine.connect(), schema.upgrade))
            connection.close()
        except exc.SQLAlchemyError as error:
            said = getattr(error, "orig", None) or error
            raise Misconfigured(f"DATABASE_URL: the database cannot be used: {str(said).strip()}") from error

    def write(self, work: Work[T]) -> T:
        """What `work` gives, once it is committed. It must come to the same if it is done twice: it is, once,
        when the connection was lost or another transaction came between. Raises Unavailable, and whatever
        `work` raises; then nothing is changed."""
        return self._run(self._writers, self.engine, work)

    def read(self, work: Work[T]) -> T:
        """What `work` finds, all of it as of one moment. Raises Unavailable."""
        return self._run(self._readers, self.engine.execution_options(reads=True), work)

    def close(self) -> None:
        """Call when nobody uses it any more."""
        self._writers.close()
        self._readers.close()

    def _run(self, lane: Lane, engine: Engine, work: Work[T]) -> T:
        try:
            return self._once(lane, engine, work)
        except exc.DBAPIError as error:
            if not worth_another_try(error):
                raise refusal(error) from error
        try:
            return self._once(lane, engine, work)
        except exc.DBAPIError as error:
            raise refusal(error) from error

    def _once(self, lane: Lane, engine: Engine, work: Work[T]) -> T:
        """Not waited for without an end: a database that says nothing keeps its thread and its place, and
        what it was doing may be done all the same."""
        kept = lane.enter(self._patience_s)
        ended = self._runtime.signal()
        outcomes: list[T | BaseException] = []

        def attempt() -> None:
            usable: Connection | None = None
            try:
                usable, outcome = self._runtime.offload(lambda: transaction(kept or engine.connect(), work))
                outcomes.append(outcome)
            except BaseException as exc:  # noqa: BLE001
                outcomes.append(exc)
            finally:
                lane.leave(usable)
                ended.notify()

        self._runtime.spawn(attempt)
        if not ended.wait_for(lambda: bool(outcomes), self._patience_s * LONGEST):
            logger.error("the ledger's database does not answer")
            raise Unavailable(BROKEN)
        outcome = outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def transaction(connection: Connection, work: Work[T]) -> tuple[Connection, T | ParleyError]:
    """Commit what `work` does, or undo it if it refuses; the connection is as good as before. One on which
    anything else goes wrong is closed."""
    try:
        with connection.begin():
            return connection, work(connection)
    except ParleyError as refusal:
        return connection, refusal
    except BaseException:
        connection.close()
        raise


def worth_another_try(error: exc.DBAPIError) -> bool:
    """Whether it went wrong for a reason that is gone by the next time: the connection was an old one, or
    somebody else was first, and can be seen now."""
    code = getattr(error.orig, "pgcode", None)
    return error.connection_invalidated or code in AGAIN or isinstance(error, exc.IntegrityError)


def refusal(error: exc.DBAPIError) -> ParleyError:
    """What callers are told; the log has the database's own words, but for the lines that tell values."""
    logger.error("the ledger's database failed: %s", str(error.orig).strip().partition("\n")[0])
    return next(told(sentence) for kind, told, sentence in FOREIGN if isinstance(error, kind))


def address_of(text: str) -> URL:
    """What `DATABASE_URL` names. Raises Misconfigured."""
    try:
        url = make_url(text)
    except exc.ArgumentError as error:
        raise Misconfigured("DATABASE_URL must be sqlite:///<file> or postgresql://<host>/<name>") from error
    if url.drivername == "sqlite" and url.database:
        return url
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg2")
    raise Misconfigured("DATABASE_URL must be sqlite:///<file> or postgresql://<host>/<name>")


def _engine(url: URL, patience_s: float) -> Engine:
    if url.drivername == "sqlite":
        return _sqlite(url, patience_s)
    millis = int(patience_s * 1000)
    limits = {
        "connect_timeout": ceil(patience_s),
        "options": f"-c statement_timeout={millis} -c lock_timeout={millis}"
        " -c idle_in_transaction_session_timeout=60000",
        "application_name": "parley",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": millis,
    }
    engine = create_engine(url, poolclass=NullPool, connect_args=limits)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("reads"):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    return engine


def _sqlite(url: URL, patience_s: float) -> Engine:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Misconfigured(f"DATABASE_URL: {path.parent} cannot be made: {error}") from error
    arguments: dict[str, Any] = {"timeout": patience_s, "check_same_thread": False, "isolation_level": None}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
