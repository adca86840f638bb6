from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.chat.errors import Misconfigured, StreamExpired, Unavailable
from backend.chat.events import Delta
from backend.chat.ports import Runtime
from backend.stores.database import MIGRATIONS, Database
from backend.stores.sqlite import SWEEP_EVERY_S, SqliteStreams
from backend.stores.sqlite_sessions import SqliteSessions
from tests.fakes.runtime import ThreadRuntime
from tests.stores.test_contract import KEY, answer, finished, header, question, session


@pytest.fixture
def runtime() -> Iterator[ThreadRuntime]:
    made = ThreadRuntime()
    yield made
    made.join()


@pytest.fixture
def open_database(tmp_path: Path, runtime: Runtime) -> Iterator[Callable[[], Database]]:
    opened: list[Database] = []

    def open_() -> Database:
        if opened:
            opened.pop().close()
        opened.append(Database(tmp_path / "chat.db", runtime))
        return opened[-1]

    yield open_
    runtime.join()  # type: ignore[attr-defined]
    for database in opened:
        database.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def test_sessions_and_ended_streams_are_there_after_a_restart(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    streams = SqliteStreams(database, runtime, 3600)
    SqliteSessions(database, runtime, None).ask(session(), question(), "Title")
    log = streams.create(header("1", "s", idempotency=KEY))
    streams.append(log, ["a", "b"])
    streams.close(log, finished())
    runtime.join()

    database = open_database()
    again = SqliteStreams(database, runtime, 3600)
    assert SqliteSessions(database, runtime, None).get("", "s").title == "Title"  # type: ignore[union-attr]
    assert again.get("", "1").read(0).entries == ["a", "b"]
    assert again.by_key(KEY).closing == finished()  # type: ignore[union-attr]
    assert again.abandoned() == []


def test_a_running_stream_is_abandoned_after_a_restart_with_its_last_checkpoint(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    streams = SqliteStreams(database, runtime, 3600, checkpoint_s=0.001)
    log = streams.create(header("1", "s", idempotency=KEY))
    for n in range(5):
        streams.append(log, [f"{n}", "!"])
        until(lambda: streams._saved["1"] == log.offset)
    streams._saved.clear()  # the process is gone: nothing is written any more
    runtime.join()

    again = SqliteStreams(open_database(), runtime, 3600)
    (left,) = again.abandoned()
    assert left.text == "0!1!2!3!4!"
    assert left.closing is None
    again.close(left, finished())
    assert again.abandoned() == []
    assert again.get("", "1").text == "0!1!2!3!4!"
    assert again.by_key(KEY).closing == finished()  # type: ignore[union-attr]


def test_an_expired_stream_is_told_from_an_unknown_one_until_it_is_forgotten(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    streams = SqliteStreams(database, runtime, 3600)
    log = streams.create(header("1"))
    streams.append(log, ["a"])
    streams.close(log, finished("2026-01-01T00:00:00.000000+00:00"))
    with pytest.raises(StreamExpired):
        streams.get("", "1")
    rows = database.read(lambda db: db.execute("SELECT count(*) FROM entries").fetchone())
    assert rows == (1,)
    runtime.ahead_s += SWEEP_EVERY_S
    streams.sweep()
    rows = database.read(lambda db: db.execute("SELECT count(*) FROM entries").fetchone())
    assert rows == (0,), "the text is gone"


def test_what_a_full_disk_refuses_is_unavailable_and_written_once_there_is_room(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    streams = SqliteStreams(database, runtime, 3600)
    sessions = SqliteSessions(database, runtime, None)
    sessions.ask(session(), question(1), "t")
    log = streams.create(header("1", "s"))
    database.write(lambda db: db.execute("PRAGMA max_page_count = 1"))
    streams.append(log, ["x" * 500_000])
    with pytest.raises(Unavailable):
        sessions.ask(session(), question(2, "y" * 500_000), "t")
    streams.close(log, finished())
    assert len(sessions.messages("", "s")) == 1, "reading works"
    assert streams.get("", "1").closing == finished(), "readers are not made to wait for the disk"
    assert streams.running("", "s") is None

    database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000"))
    runtime.ahead_s += SWEEP_EVERY_S
    streams.sweep()
    again = SqliteStreams(database, runtime, 3600)
    assert len(again.get("", "1").text) == 500_000


def test_an_answer_that_the_file_refuses_keeps_no_other_from_being_written(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    streams = SqliteStreams(database, runtime, 3600, checkpoint_s=0.001)
    refused, other = streams.create(header("1")), streams.create(header("2"))
    streams.append(refused, [Delta("a", {"number": 10**30})])
    streams.append(other, ["b"])
    until(lambda: streams._saved["2"] == 1)
    assert streams._saved["1"] == 0
    streams.close(refused, finished())
    database.write(lambda db: db.execute("PRAGMA query_only = 1"))
    streams.close(other, finished())
    database.read(lambda _: database._writer.execute("PRAGMA query_only = 0"))
    streams.sweep()
    again = SqliteStreams(database, runtime, 3600)
    assert again.get("", "2").text == "b"
    assert again.get("", "2").closing == finished()


def test_one_failing_write_does_not_take_others_of_its_batch_along(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    database = open_database()
    sessions = SqliteSessions(database, runtime, None)

    def fail(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO nowhere VALUES (1)")

    blocker = database.post(lambda db: time.sleep(0.05))
    failing = database.post(fail)
    sessions.ask(session(), question(), "t")
    assert blocker.error is None
    assert isinstance(failing.error, sqlite3.Error)
    assert len(sessions.messages("", "s")) == 1


def test_a_write_that_fails_in_our_own_code_does_not_stop_the_writer(
    open_database: Callable[[], Database],
) -> None:
    database = open_database()
    with pytest.raises(Unavailable):
        database.write(lambda db: 1 / 0)
    database.write(lambda db: db.execute("SELECT 1"))


def test_a_file_that_is_no_database_is_refused_with_a_sentence(
    tmp_path: Path, runtime: ThreadRuntime
) -> None:
    (tmp_path / "chat.db").write_bytes(b"not a database, but long enough to be read as one" * 50)
    with pytest.raises(Misconfigured, match="STORE_URL"):
        Database(tmp_path / "chat.db", runtime)
    with pytest.raises(Misconfigured, match="STORE_URL"):
        Database(tmp_path / "chat.db" / "below a file", runtime)


def test_a_second_process_is_refused_with_a_sentence(
    open_database: Callable[[], Database], tmp_path: Path, runtime: ThreadRuntime
) -> None:
    open_database()
    with pytest.raises(Misconfigured, match="Another server is using"):
        Database(tmp_path / "chat.db", runtime)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path, runtime: ThreadRuntime) -> None:
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(Misconfigured, match="newer"):
        Database(tmp_path / "chat.db", runtime)


def test_the_schema_version_counts_the_migrations(open_database: Callable[[], Database]) -> None:
    version = open_database().read(lambda db: db.execute("PRAGMA user_version").fetchone())
    assert version == (len(MIGRATIONS),)
    assert open_database().read(lambda db: db.execute("PRAGMA user_version").fetchone()) == version


def test_sessions_not_written_to_for_their_time_are_dropped(
    open_database: Callable[[], Database], runtime: ThreadRuntime
) -> None:
    sessions = SqliteSessions(open_database(), runtime, ttl_s=3600)
    sessions.create(session("old", at="2020-01-01T00:00:00.000000+00:00"))
    sessions.ask(session("new"), question(), "t")
    sessions.answer("", "new", answer())
    runtime.ahead_s += SWEEP_EVERY_S
    sessions.sweep()
    assert sessions.get("", "old") is None
    assert sessions.get("", "new")
