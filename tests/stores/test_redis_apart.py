"""Two processes' stores on one Redis, and what each makes of the other's and of Redis's losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from backend.chat.errors import SessionBusy
from backend.chat.events import Failed
from backend.chat.log import Log, LogClosed
from backend.chat.requests import Idempotency
from backend.stores.redis import rows
from backend.stores.redis.client import connector
from backend.stores.redis.keys import StreamKeys, index_key
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.test_contract import header, question, session

Open = Callable[[], RedisStores]


@pytest.fixture
def opened(redis_url: str) -> Iterator[Open]:
    runtime, all_ = ThreadRuntime(), []

    def open_() -> RedisStores:
        stores = open_redis(
            connector(redis_url), runtime, stream_ttl_s=3600.0, session_ttl_s=None, lease_s=2.0
        )
        stores.presence.renew()
        for loop in stores.loops:
            runtime.spawn(loop)
        all_.append(stores)
        return stores

    yield open_
    for stores in all_:
        stores.close()
    runtime.join()


def begun(stores: RedisStores, stream_id: str = "t", session_id: str | None = "s", **fields: object) -> Log:
    return stores.streams.create(header(stream_id, session_id, writer=stores.peers.name, **fields))


def test_a_writer_whose_answer_was_ended_by_another_has_all_that_redis_took_of_it(
    opened: Open, redis_server: Redis
) -> None:
    """What it sent last, and did not hear of, is in the text of everybody else."""
    a, b = opened(), opened()
    log = begun(a)
    a.streams.append(log, ["one ", "two "])
    redis_server.client.execute_command(*rows.entries_row(StreamKeys("t").log, 3, ["three "]))  # type: ignore[no-untyped-call]
    theirs = b.streams.get("", "t")
    interrupted = Failed("interrupted", 503, "gone", theirs.count, "2026-01-01", tail_lost=True)
    b.streams.close(theirs, b.streams.seal(theirs, interrupted))
    with pytest.raises(LogClosed):
        a.streams.append(log, ["four "])
    a.streams.close(log, a.streams.seal(log, finished()))
    assert log.text == theirs.text == "one two three "
    assert log.closing == theirs.closing == interrupted


def test_an_answer_that_redis_has_lost_is_written_again_with_all_it_holds(
    opened: Open, redis_server: Redis
) -> None:
    a, b = opened(), opened()
    key = Idempotency("scope", "key", "print")
    log = begun(a, owner="alice", idempotency=key)
    a.streams.append(log, ["one ", "two "])
    redis_server.flush()
    a.presence.renew()
    b.presence.renew()
    a.streams.append(log, ["three "])
    assert b.streams.get("alice", "t").text == "one two three "
    running = b.streams.running("alice", "s")
    assert running is not None
    assert running.header.stream_id == "t"
    found = b.streams.by_key(key)
    assert found is not None, "its key would begin another"
    assert found.header.stream_id == "t"
    with pytest.raises(SessionBusy):
        begun(b, "u", owner="alice")
    other = begun(b, "v", None, owner="alice")
    assert b.streams.of_caller(other.header) == 2, "it counts for its caller"
    b.streams.discard(other)
    b.streams.forget("alice", "s")
    a.streams.close(log, a.streams.seal(log, finished()))
    b.streams.forget("alice", "s")
    until(lambda: not redis_server.client.exists(StreamKeys("t").log), "its session's end is its end", 0.1)


def test_a_silent_answer_that_redis_has_lost_is_written_again_too(opened: Open, redis_server: Redis) -> None:
    """Its upstream takes its time: nobody may be told that the answer is lost meanwhile."""
    a, b = opened(), opened()
    log = begun(a)
    a.streams.append(log, ["one "])
    theirs = b.streams.get("", "t")
    redis_server.flush()

    def is_back() -> bool:
        a.streams.sweep()
        return bool(redis_server.client.exists(StreamKeys("t").log))

    until(is_back, "it is written again", 1.5)
    assert theirs.closing is None
    a.streams.append(log, ["two "])
    until(lambda: theirs.text == "one two ", "its reader goes on")
    a.streams.close(log, a.streams.seal(log, finished()))


def test_a_session_that_is_changed_lives_on_and_one_that_is_over_leaves_its_owners_list(
    redis_url: str, redis_server: Redis
) -> None:
    runtime = ThreadRuntime()
    stores = open_redis(connector(redis_url), runtime, stream_ttl_s=60.0, session_ttl_s=2.0, lease_s=2.0)
    kept = stores.sessions
    now = runtime.now()
    for session_id in ("short", "long"):
        kept.create(replace(session(session_id, "alice"), created_at=now, updated_at=now))
    client, index = redis_server.client, index_key("alice")
    assert client.zcard(index) == 2

    def lives_on() -> bool:
        assert kept.update("alice", "long", {"title": "still"}) is not None
        return kept.get("alice", "short") is None

    until(lives_on, "the other is over", 5)
    kept.ask(replace(session("long", "alice")), question(), "why?")
    assert client.zrange(index, 0, -1) == ["long"]
    assert [each.session_id for each in kept.list("alice", 10, None)] == ["long"]
    assert client.ttl(index) in (1, 2)
    stores.close()
