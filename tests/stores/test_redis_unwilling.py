"""A Redis that answers and takes no writes: too few replicas are there (`min-replicas-to-write`), or its disk
is full (`stop-writes-on-bgsave-error`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.chat.errors import Unavailable
from backend.chat.events import Failed
from backend.chat.keeper import Keeper
from backend.chat.sessions import Message, Session
from backend.stores.redis.client import connector
from backend.stores.redis.keys import ProcessKeys
from backend.stores.redis.link import Link
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.test_contract import header

AT = "2999-01-01T00:00:00.000000+00:00"
INTERRUPTED = Failed("interrupted", 503, "gone", 1, AT, tail_lost=True)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path) as redis:
        yield redis


@pytest.fixture
def processes(redis: Redis) -> Iterator[list[RedisStores]]:
    """Two on one Redis, whose leases they renew themselves."""
    runtime = ThreadRuntime()
    both = []
    for _ in range(2):
        stores = open_redis(connector(redis.url), runtime, stream_ttl_s=60.0, session_ttl_s=None, lease_s=1.0)
        for loop in stores.loops:
            runtime.spawn(loop)
        both.append(stores)
    yield both
    for stores in both:
        stores.close()
    runtime.join()


@contextmanager
def unwilling(redis: Redis) -> Iterator[None]:
    redis.command("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        yield
    finally:
        redis.command("CONFIG", "SET", "min-replicas-to-write", 0)


def lease_of(stores: RedisStores) -> str:
    return ProcessKeys(stores.peers.name).lease


def test_an_answer_waits_until_it_is_taken(
    processes: list[RedisStores], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not ask as fast as it can."""
    a, _ = processes
    log = a.streams.create(header("1", writer=a.peers.name))
    calls: list[object] = []
    call = Link.call

    def counted(link: Link, *commands: Any) -> list[Any]:
        calls.append(commands)
        return call(link, *commands)

    monkeypatch.setattr(Link, "call", counted)
    with unwilling(redis):
        appending = threading.Thread(target=a.streams.append, args=(log, ["a"]))
        appending.start()
        appending.join(1.0)
        assert (appending.is_alive(), log.text) == (True, "")
        assert len(calls) < 100
    appending.join(5.0)
    assert log.text == "a"


def test_an_end_that_was_not_taken_is_shown_elsewhere_as_soon_as_it_is(
    processes: list[RedisStores], redis: Redis
) -> None:
    a, b = processes
    log = a.streams.create(header("1", writer=a.peers.name))
    a.streams.append(log, ["a"])
    followed = b.streams.get("", "1")
    a.streams.seal(log, INTERRUPTED)
    with unwilling(redis):
        a.streams.close(log, INTERRUPTED)
    a.streams.sweep()
    assert followed.wait_closed(5.0)


def test_an_answer_that_could_not_be_saved_is_saved_later(processes: list[RedisStores], redis: Redis) -> None:
    a, _ = processes
    a.sessions.ask(
        Session("", "s", None, None, None, AT, AT), Message("q-1", "user", "why", "done", AT), "why"
    )
    log = a.streams.create(header("1", "s", writer=a.peers.name))
    a.streams.append(log, ["so"])
    keeper = Keeper(a.sessions, a.streams, ThreadRuntime())
    a.streams.seal(log, finished())
    with unwilling(redis):
        keeper.save(log, finished())
        assert not keeper.save_unsaved()
    assert keeper.save_unsaved()
    assert [message.content for message in a.sessions.messages("", "s")] == ["why", "so"]


def test_what_is_new_is_refused_as_unavailable(processes: list[RedisStores], redis: Redis) -> None:
    a, _ = processes
    with unwilling(redis), pytest.raises(Unavailable):
        a.sessions.create(Session("", "s", None, None, None, AT, AT))
    with unwilling(redis), pytest.raises(Unavailable):
        a.streams.create(header("1", writer=a.peers.name))


def test_leases_are_renewed_again_and_nobody_is_taken_for_dead_before(
    processes: list[RedisStores], redis: Redis
) -> None:
    a, b = processes
    until(lambda: redis.client.exists(lease_of(a), lease_of(b)) == 2, "both have a lease")
    log = a.streams.create(header("1", writer=a.peers.name))
    with unwilling(redis):
        until(lambda: not redis.client.exists(lease_of(a), lease_of(b)), "both leases run out", 5)

    def both_are_back() -> bool:
        assert a.presence.name not in b.presence.gone()
        return redis.client.exists(lease_of(a), lease_of(b)) == 2

    until(both_are_back, "both have a lease again", 5)
    assert list(a.streams.abandoned()) == list(b.streams.abandoned()) == []
    assert log.closing is None


def test_a_full_redis_is_not_asked_for_a_lease_as_fast_as_it_can(
    processes: list[RedisStores], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = processes
    until(lambda: redis.client.exists(lease_of(a)), "it has a lease")
    renewals: list[None] = []
    renew = a.presence.renew
    monkeypatch.setattr(a.presence, "renew", lambda: (renewals.append(None), renew()))
    redis.command("CONFIG", "SET", "maxmemory", 1)
    redis.command("DEL", lease_of(a))
    threading.Event().wait(1.0)
    assert len(renewals) < 20


def test_processes_that_were_frozen_together_do_not_take_each_other_for_dead(redis: Redis) -> None:
    """A machine that sleeps: Redis runs elsewhere, and their leases run out."""
    runtime = ThreadRuntime()
    a, b = (
        open_redis(connector(redis.url), runtime, stream_ttl_s=60.0, session_ttl_s=None, lease_s=1.0)
        for _ in range(2)
    )
    for stores in (a, b):
        stores.presence.renew()
    until(lambda: not redis.client.exists(lease_of(a), lease_of(b)), "both leases run out", 5)
    assert a.presence.gone() == [], "who has none itself"
    a.presence.renew()
    assert a.presence.gone() == [], "before the other had time to renew its own"
    until(lambda: a.presence.renew() or a.presence.gone() == [b.presence.name], "it stays away", 5)
    for stores in (a, b):
        stores.close()
