"""A Redis that comes back without the last of what it said to have, as `appendfsync everysec` may lose it;
and answers that others end while their writer adds to them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
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


def forgetting(
    redis: Redis,
    folder: Path,
    work: Callable[[], None],
    missed_by: Sequence[RedisStores] = (),
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Redis does this work, is killed, and comes back without it, once it was missed by these."""
    others = shutil.ignore_patterns("*.sock", "log")
    shutil.copytree(redis.folder, folder / "before", ignore=others)
    work()
    redis.kill()
    until(lambda: not any(each.link.up for each in missed_by), "Redis is missed")
    meanwhile()
    shutil.copytree(folder / "before", redis.folder, dirs_exist_ok=True)
    redis.start()


def test_an_end_that_redis_has_forgotten_is_written_again_and_so_is_the_message(
    processes: list[RedisStores], redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when Redis goes away once more in the middle of it."""
    writing, other = processes
    log = writing.streams.create(header("1", "s", writer=writing.peers.name))
    session = Session("", "s", None, None, None, AT, AT)
    writing.sessions.ask(session, Message("q-1", "user", "why", "done", AT), "why")
    writing.streams.append(log, ["first "])
    forgetting(redis, tmp_path, lambda: answered(writing, finished()), processes)
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


def test_a_message_that_redis_has_forgotten_is_saved_again_also_where_the_end_did_not_reach_it(
    processes: list[RedisStores], redis: Redis, tmp_path: Path
) -> None:
    """It went away after it had taken the message."""
    writing, other = processes
    log = writing.streams.create(header("1", "s", writer=writing.peers.name))
    session = Session("", "s", None, None, None, AT, AT)
    writing.sessions.ask(session, Message("q-1", "user", "why", "done", AT), "why")
    keeper = keeper_of(writing)

    def work() -> None:
        writing.streams.append(log, ["all of it"])
        keeper.save(log, keeper.seal(log, finished()))

    forgetting(redis, tmp_path, work, processes, lambda: writing.streams.close(log, finished()))
    until(lambda: all(each.link.up and each.link.generation for each in processes), "Redis is there again")
    writing.streams.sweep()
    keeper.recover()
    writing.streams.sweep()
    assert [message.content for message in other.sessions.messages("", "s")] == ["why", "all of it"]
    assert other.streams.get("", "1").closing == finished()
    assert other.streams.running("", "s") is None


def test_what_redis_forgot_is_written_again_also_by_one_who_wrote_nothing_while_it_was_away(
    processes: list[RedisStores], redis: Redis, tmp_path: Path
) -> None:
    """Its connection broke while it was idle, and a new one would have been made in silence."""
    writing, other = processes
    log = writing.streams.create(header("1", "s", writer=writing.peers.name))
    writing.streams.append(log, ["first "])
    forgetting(redis, tmp_path, lambda: writing.streams.append(log, ["second "]))
    until(lambda: all(each.link.up and each.link.generation for each in processes), "Redis is there again")
    writing.streams.append(log, ["third"])
    assert other.streams.get("", "1").text == "first second third"


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


def test_nobody_is_taken_for_dead_by_one_whom_redis_kept_waiting(
    processes: list[RedisStores], redis: Redis
) -> None:
    """It kept the others waiting, too, and so they could not renew their leases."""
    _, other = processes
    patience_s = 0.8
    until(lambda: time.monotonic() - other.link.changed_s > patience_s, "it is in touch")
    redis.command("ZADD", PROCESSES, 0, "dead")
    other.link.do(("DEBUG", "SLEEP", "0.5"))
    assert other.presence.gone() == []
    until(lambda: other.presence.gone() == ["dead"], "it is taken for dead after all")
