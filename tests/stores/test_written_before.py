"""Messages of the time before there were versions, and those whose parents were lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis as redis_py

from backend.chat.ports import SessionStore
from backend.stores.database import MIGRATIONS
from backend.stores.redis.keys import SessionKeys
from tests.fakes.runtime import ThreadRuntime
from tests.stores.kinds import KINDS
from tests.stores.test_contract import answer, question, session

TALK = [(1, question), (1, answer), (2, question), (2, answer)]
CHAIN = [(None, "q1"), ("q1", "a1"), ("a1", "q2"), ("q2", "a2")]


def chain(sessions: SessionStore, session_id: str = "s") -> list[tuple[str | None, str]]:
    return [(message.parent_id, message.id) for message in sessions.messages("", session_id)]


@pytest.fixture
def on_redis(redis_url: str) -> Iterator[SessionStore]:
    stores = KINDS["redis"](ThreadRuntime(), redis_url, 60)
    yield stores.sessions
    stores.close()


@pytest.fixture
def open_sqlite(tmp_path: Path) -> Iterator[Callable[[], SessionStore]]:
    opened = []

    def open_() -> SessionStore:
        opened.append(KINDS["sqlite"](ThreadRuntime(), str(tmp_path), 60))
        return opened[-1].sessions

    yield open_
    for stores in opened:
        stores.close()


def test_a_sqlite_file_of_the_first_version_is_one_chain_a_session(
    tmp_path: Path, open_sqlite: Callable[[], SessionStore]
) -> None:
    """As its messages stood, also where sessions were written in turns."""
    with closing(sqlite3.connect(tmp_path / "chat.db")) as db:
        db.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        for session_id in ("s", "t"):
            db.execute(
                "INSERT INTO sessions (owner, session_id, created_at, updated_at) VALUES ('', ?, '', '')",
                (session_id,),
            )
        for n, make in TALK:
            for session_id in ("s", "t"):
                message = make(n)
                db.execute(
                    "INSERT INTO messages (owner, session_id, id, role, content, status, created_at)"
                    " VALUES ('', ?, ?, ?, ?, ?, ?)",
                    (session_id, message.id, message.role, message.content, message.status, ""),
                )
        db.commit()
    sessions = open_sqlite()
    assert chain(sessions, "s") == chain(sessions, "t") == CHAIN
    sessions.ask(session(), replace(question(3), parent_id="a1"), "t")
    assert chain(sessions) == [*CHAIN, ("a1", "q3")]


def test_messages_in_redis_that_name_no_parent_are_one_chain(on_redis: SessionStore, redis_url: str) -> None:
    keys = SessionKeys("", "s")
    for n, make in TALK:
        message = replace(make(n), parent_id=None)
        if message.role == "user":
            on_redis.ask(session(), message, "t")
        else:
            on_redis.answer("", "s", message)
    with redis_py.Redis.from_url(redis_url) as raw:
        for number, text in enumerate(raw.lrange(keys.messages, 0, -1)):
            fields = json.loads(text)
            fields.pop("parent_id", None)
            raw.lset(keys.messages, number, json.dumps(fields))
    assert chain(on_redis) == CHAIN
    found = on_redis.find_message("", "s", "a2")
    assert found
    assert found.parent_id == "q2"
    on_redis.ask(session(), replace(question(3), parent_id="a1"), "t")
    assert chain(on_redis) == [*CHAIN, ("a1", "q3")]


def test_a_session_without_versions_is_written_to_redis_as_it_was_before_there_were_any(
    on_redis: SessionStore, redis_url: str
) -> None:
    """Processes of the version before, which may run beside these, read it."""
    on_redis.ask(session(), question(1), "t")
    on_redis.answer("", "s", replace(answer(1), parent_id="q1"))
    on_redis.ask(session(), replace(question(2), parent_id="a1"), "t")
    with redis_py.Redis.from_url(redis_url) as raw:
        assert not any(b"parent_id" in text for text in raw.lrange(SessionKeys("", "s").messages, 0, -1))
        on_redis.ask(session(), replace(question(3), parent_id="a1"), "t")
        assert json.loads(raw.lindex(SessionKeys("", "s").messages, -1))["parent_id"] == "a1"


def test_an_answer_whose_question_redis_has_lost_comes_after_what_is_left(
    on_redis: SessionStore, redis_url: str
) -> None:
    keys = SessionKeys("", "s")
    on_redis.ask(session(), question(1), "t")
    on_redis.answer("", "s", replace(answer(1), parent_id="q1"))
    on_redis.ask(session(), replace(question(2), parent_id="a1"), "t")
    with redis_py.Redis.from_url(redis_url) as raw:
        raw.rpop(keys.messages)
        raw.hdel(keys.numbers, "q2")
    on_redis.answer("", "s", replace(answer(2), parent_id="q2"))
    assert chain(on_redis) == [(None, "q1"), ("q1", "a1"), ("a1", "a2")]
