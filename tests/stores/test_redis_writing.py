"""Appending to a Redis that loses, refuses, and is not sure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from backend.chat.errors import Unavailable
from backend.chat.events import Failed
from backend.chat.log import Log, LogClosed
from backend.stores.redis import rows
from backend.stores.redis.client import connector
from backend.stores.redis.keys import ProcessKeys, StreamKeys
from backend.stores.redis.link import Command
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.test_contract import header

KEY = StreamKeys("1").log
INTERRUPTED = Failed("interrupted", 503, "gone", 1, "2999-01-01", tail_lost=True)
Open = Callable[[], RedisStores]


@pytest.fixture
def open_(redis_url: str) -> Iterator[Open]:
    runtimes: list[tuple[RedisStores, ThreadRuntime]] = []

    def open_() -> RedisStores:
        runtime = ThreadRuntime()
        made = open_redis(connector(redis_url), runtime, stream_ttl_s=60.0, session_ttl_s=None, lease_s=2.0)
        runtimes.append((made, runtime))
        for loop in made.loops:
            runtime.spawn(loop)
        return made

    yield open_
    for made, runtime in runtimes:
        made.close()
        runtime.join()


def begun(stores: RedisStores) -> Log:
    return stores.streams.create(header("1", "s", writer=stores.peers.name))


def stored(redis_server: Redis) -> str:
    """The text as any other process reads it."""
    log = Log(header("1"), ThreadRuntime().signal())
    client = redis_server.client.from_url(redis_server.url)
    with client:
        rows.feed(log, client.xrange(KEY))
    return log.text


def lose_connection(stores: RedisStores) -> None:
    """As a server does that restarts: what was done before may be gone."""
    stores.streams._writing._link.generation += 1


def test_what_redis_lost_of_the_end_is_written_again(open_: Open, redis_server: Redis) -> None:
    stores = open_()
    log = begun(stores)
    for text in "abc":
        stores.streams.append(log, [text])
    redis_server.command("XDEL", KEY, "2-0", "3-0")
    lose_connection(stores)
    redis_server.command("XSETID", KEY, "1-0")
    stores.streams.append(log, ["d"])
    assert stored(redis_server) == log.text == "abcd"


def test_an_answer_that_redis_lost_is_written_again_with_its_claims(open_: Open, redis_server: Redis) -> None:
    stores, other = open_(), open_()
    log = begun(stores)
    stores.streams.append(log, ["a", "b"])
    followed = other.streams.get("", "1")
    redis_server.flush()
    stores.streams.append(log, ["c"])
    assert stored(redis_server) == "abc"
    until(lambda: followed.text == "abc", "the whole text elsewhere")
    assert other.streams.running("", "s") is followed
    stores.streams.close(log, finished())
    assert followed.wait_closed(5.0)
    assert followed.closing == finished()


def test_a_write_that_was_done_all_the_same_is_not_done_again(open_: Open, redis_server: Redis) -> None:
    stores = open_()
    log = begun(stores)
    redis_server.command(*rows.entries_row(KEY, 1, ["a"]))
    stores.streams.append(log, ["a"])
    stores.streams.append(log, ["b"])
    assert stored(redis_server) == log.text == "ab"


def test_what_redis_took_unheard_of_a_stopped_answer_is_in_it_for_everybody(
    open_: Open, redis_server: Redis
) -> None:
    """Redis was away when it was stopped; readers elsewhere can have that piece."""
    stores, other = open_(), open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    redis_server.command(*rows.entries_row(KEY, 2, ["b"]))
    lose_connection(stores)
    log.seal()
    closing = stores.streams.seal(log, replace(finished(), tokens=1))
    assert closing == finished()
    stores.streams.close(log, closing)
    theirs = other.streams.get("", "1")
    assert (theirs.text, theirs.closing) == (log.text, log.closing) == ("ab", finished())


def test_a_piece_that_was_under_way_when_its_answer_was_stopped_is_in_it_for_everybody(
    open_: Open, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    link = stores.streams._writing._link
    call = link.call

    def stopped_meanwhile(*commands: Command) -> list[object]:
        replies = call(*commands)
        log.seal()
        return replies

    with monkeypatch.context() as patch, suppress(LogClosed):
        patch.setattr(link, "call", stopped_meanwhile)
        stores.streams.append(log, ["b"])
    stores.streams.close(log, stores.streams.seal(log, finished()))
    assert log.text == stored(redis_server) == "ab"


def test_who_was_taken_for_dead_appends_nothing_more_and_sees_the_end_that_stands(
    open_: Open, redis_server: Redis
) -> None:
    stores, other = open_(), open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    taken = other.streams.get("", "1")
    assert other.streams.seal(taken, INTERRUPTED) == INTERRUPTED
    other.streams.close(taken, INTERRUPTED)
    with pytest.raises(LogClosed):
        stores.streams.append(log, ["late"])
    assert stores.streams.seal(log, finished()) == INTERRUPTED
    stores.streams.close(log, finished())
    assert log.closing == INTERRUPTED
    assert stored(redis_server) == "a"


def test_of_an_answer_that_was_sealed_before_its_writer_died_the_seal_stands(open_: Open) -> None:
    stores, other = open_(), open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    stores.streams.seal(log, finished())
    left = other.streams.get("", "1")
    assert left.closing is None
    assert other.streams.seal(left, INTERRUPTED) == finished()


def test_an_answer_that_redis_lost_is_written_again_also_after_the_lease_had_run_out(
    open_: Open, redis_server: Redis
) -> None:
    stores = open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    redis_server.flush()
    stores.presence.lapsed_s = ThreadRuntime().monotonic()
    stores.streams.append(log, ["b"])
    assert stored(redis_server) == "ab"


def test_an_answer_that_is_gone_is_not_brought_back_by_who_was_away_for_longer_than_ended_ones_are_kept(
    open_: Open, redis_server: Redis
) -> None:
    stores = open_()
    log = begun(stores)
    stores.streams.append(log, ["a"])
    redis_server.flush()
    stores.streams._writing._ttl_s = stores.presence._longest_s
    with pytest.raises(LogClosed):
        stores.streams.append(log, ["b"])
    assert redis_server.command("EXISTS", KEY) == 0


def test_a_full_redis_lets_a_lease_be_renewed(open_: Open, redis_server: Redis) -> None:
    stores = open_()
    lease = ProcessKeys(stores.peers.name).lease
    stores.presence.renew()
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        redis_server.command("PEXPIRE", lease, 60_000)
        stores.presence.renew()
        assert 0 < redis_server.command("PTTL", lease) <= 2_000
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory", "0")


def test_an_answer_waits_for_room_in_a_full_redis(open_: Open, redis_server: Redis) -> None:
    stores = open_()
    log = begun(stores)
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    appending = threading.Thread(target=stores.streams.append, args=(log, ["a"]))
    appending.start()
    appending.join(0.3)
    assert (appending.is_alive(), log.text) == (True, "")
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    appending.join(5.0)
    assert stored(redis_server) == log.text == "a"


def test_a_full_redis_refuses_what_is_new_and_the_rest_goes_on(open_: Open, redis_server: Redis) -> None:
    stores = open_()
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match="full"):
            begun(stores)
        assert stores.link.up
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert begun(stores)
