"""A Redis that comes back without the last of what it said to have, as `appendfsync everysec` may lose it;
and answers that others end while their writer adds to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.chat.errors import Unavailable
from backend.chat.events import Failed, Finished
from backend.chat.keeper import Keeper
from backend.chat.ports import SessionStore, StreamStore
from backend.chat.sessions import Message, Session
from backend.stores.redis.client import connector
from backend.stores.redis.keys import PROCESSES
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.test_contract import header

AT = "2999-01-01T00:00:00.000000+00:00"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "redis", appendonly=True) as server:
        yield server


@pytest.fixture
def processes(redis: Redis) -> Iterator[list[RedisStores]]:
    """Two on one Redis."""
    with ExitStack() as closing:
        opened = []
        for _ in range(2):
            runtime = ThreadRuntime()
            closing.callback(runtime.join)
            each = open_redis(connector(redis.url), runtime, stream_ttl_s=60, session_ttl_s=None, lease_s=2.0)
            closing.callback(each.close)
            for loop in each.loops:
                runtime.spawn(loop)
            opened.append(each)
        yield opened


def keeper_of(stores: RedisStores) -> Keeper:
    sessions: SessionStore = stores.sessions
    streams: StreamStore = stores.streams
    return Keeper(sessions, streams, ThreadRuntime())


def away(*_args: object) -> None:
    raise Unavailable("away")


def answered(stores: RedisStores, closing: Finished) -> None:
    log = stores.streams.get("", "1")
    stores.streams.append(log, ["all", " of", " it"])
    log.seal()
    keeper = keeper_of(stores)
    keeper.save(log, keeper.seal(log, closing))
    stores.streams.close(log, closing)


def test_an_end_that_redis_has_forgotten_is_written_again_and_so_is_the_message(
    processes: list[RedisStores], redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when Redis goes away once more in the middle of it."""
    writing, other = processes
    log = writing.streams.create(header("1", "s", writer=writing.peers.name))
    session = Session("", "s", None, None, None, AT, AT)
    writing.sessions.ask(session, Message("q-1", "user", "why", "done", AT), "why")
    writing.streams.append(log, ["first "])
    others = shutil.ignore_patterns("*.sock", "log")
    shutil.copytree(redis.folder, tmp_path / "before", ignore=others)
    answered(writing, finished())

    redis.kill()
    until(lambda: not writing.link.up and not other.link.up, "Redis is missed")
    shutil.copytree(tmp_path / "before", redis.folder, dirs_exist_ok=True)
    redis.start()
    until(lambda: writing.link.up and other.link.up, "Redis is there again")
    assert len(other.sessions.messages("", "s")) == 1, "the answer is lost"

    keeper = keeper_of(writing)
    with monkeypatch.context() as patch:
        patch.setattr(writing.sessions, "find_message", away)
        with pytest.raises(Unavailable):
            keeper.recover()
    keeper.recover()
    for stores in processes:
        found = stores.streams.get("", "1")
        assert (found.text, found.closing) == ("first all of it", finished())
        assert stores.streams.running("", "s") is None
    _, answer = other.sessions.messages("", "s")
    assert (answer.content, answer.status) == ("first all of it", "done")


def test_the_message_of_an_answer_that_others_end_has_what_its_writer_added_before(
    processes: list[RedisStores], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, ending = processes
    log = writing.streams.create(header("1", "s", writer="frozen"))
    session = Session("", "s", None, None, None, AT, AT)
    writing.sessions.ask(session, Message("q-1", "user", "why", "done", AT), "why")
    redis.command("ZADD", PROCESSES, 0, "frozen")
    find = ending.sessions.find_message

    def thaw(owner: str, session_id: str, message_id: str) -> Message | None:
        if log.offset == 0:  # it has been read; before it is sealed
            writing.streams.append(log, ["late"])
        return find(owner, session_id, message_id)

    monkeypatch.setattr(ending.sessions, "find_message", thaw)
    keeper = keeper_of(ending)
    until(lambda: keeper.recover() or len(ending.sessions.messages("", "s")) == 2, "it is ended")
    assert ending.sessions.messages("", "s")[1].content == "late"
    assert isinstance(ending.streams.get("", "1").closing, Failed)
