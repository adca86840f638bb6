"""Two processes' stores on one Redis, and what each makes of the other's and of Redis's losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from backend.chat.errors import SessionBusy
from backend.chat.events import Failed
from backend.chat.log import Log, LogClosed
from backend.chat.requests import Idempotency
from backend.stores.redis import rows
from backend.stores.redis.client import connector
from backend.stores.redis.keys import (
    PROCESSES,
    ProcessKeys,
    SessionKeys,
    StreamKeys,
    caller_key,
    index_key,
)
from backend.stores.redis.link import Command
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.opening import Opening
from tests.stores.test_contract import header, question, session

Open = Callable[[], RedisStores]


@pytest.fixture
def opened(redis_url: str) -> Iterator[Open]:
    opening = Opening()
    yield lambda: opening.open(redis_url)
    opening.close()


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


def test_what_a_process_could_not_end_before_it_left_is_ended_by_another(
    opened: Open, redis_server: Redis
) -> None:
    a, b = opened(), opened()
    log = begun(a)
    interrupted = Failed("interrupted", 503, "gone", 0, "2026-01-01")
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        a.streams.close(log, interrupted)
        a.close()
    finally:
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
    followed = b.streams.get("", "t")
    until(lambda: list(b.streams.abandoned()) == [followed], "it is found", 5)


def test_a_process_that_leaves_nothing_behind_is_forgotten(opened: Open, redis_server: Redis) -> None:
    a = opened()
    log = begun(a)
    a.streams.close(log, finished())
    assert redis_server.client.zscore(PROCESSES, a.presence.name)
    a.close()
    assert redis_server.client.zscore(PROCESSES, a.presence.name) is None


def test_what_a_dead_process_held_of_an_ended_answer_is_let_go(opened: Open, redis_server: Redis) -> None:
    """It died between two nodes of a cluster, or a Redis that came back had lost the second half."""
    a = opened()
    log = a.streams.create(header("t", "s", "alice", writer="dead"))
    a.streams.close(log, finished())
    keys = (caller_key(log.header), ProcessKeys("dead").live)
    for key in keys:
        redis_server.command("SADD", key, "t")
    redis_server.command("ZADD", PROCESSES, 0, "dead")
    until(lambda: list(a.streams.abandoned()) or not redis_server.client.exists(*keys), "all is let go", 5)


def test_an_answer_that_begins_while_it_is_looked_for_is_not_there_yet(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = opened(), opened()
    exchange = b.link._pipeline

    def apart(commands: Sequence[Command]) -> list[Any]:
        names = [command[0] for command in commands]
        if "XRANGE" not in names:
            return exchange(list(commands))
        between = names.index("XRANGE") + 1
        replies = exchange(list(commands[:between]))
        begun(a)
        return replies + exchange(list(commands[between:]))

    with monkeypatch.context() as patch:
        patch.setattr(b.link, "_pipeline", apart)
        assert b.streams._mirrors.get("t") is None
    assert b.streams.get("", "t").header.stream_id == "t"


def test_a_session_of_thousands_of_answers_is_forgotten_in_a_few_exchanges(
    opened: Open, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly all have outlived their time; one runs, and stays."""
    a = opened()
    log = begun(a, "old", idempotency=Idempotency("scope", "key", "print"))
    a.streams.close(log, finished())
    begun(a, "running")
    streams = SessionKeys("", "s").answers
    redis_server.command("ZADD", streams, *[word for n in range(2000) for word in (2**40, f"gone-{n}")])
    calls: list[object] = []
    call = a.link.call

    def counted(*commands: Command) -> list[Any]:
        calls.append(commands)
        return call(*commands)

    monkeypatch.setattr(a.link, "call", counted)
    a.streams.forget("", "s")
    assert len(calls) < 100
    assert redis_server.client.zrange(streams, 0, -1) == ["running"]
    assert not redis_server.client.exists(StreamKeys("old").log, StreamKeys("old").tombstone)
    assert a.streams.by_key(Idempotency("scope", "key", "print")) is None


def test_a_session_lists_no_answers_that_cannot_be_kept_any_more(opened: Open, redis_server: Redis) -> None:
    a = opened()
    streams = SessionKeys("", "s").answers
    redis_server.command("ZADD", streams, 10**9, "long-ago")
    log = begun(a)
    assert redis_server.client.zrange(streams, 0, -1) == ["t"]
    kept_s = 7 * 24 * 3600 + 3600
    assert kept_s - 60 < redis_server.client.ttl(streams) <= kept_s
    a.streams.close(log, finished())


def test_thousands_of_sessions_are_listened_to_again_in_a_few_exchanges(
    opened: Open, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = opened()
    a.peers._joined |= {("alice", f"s{number}") for number in range(2000)}
    calls: list[object] = []
    call = a.link.call

    def counted(*commands: Command) -> list[Any]:
        calls.append(commands)
        return call(*commands)

    monkeypatch.setattr(a.link, "call", counted)
    a.peers._renewed_s -= 60
    a.peers.tend()
    assert len(calls) < 100
    assert redis_server.client.zrange(SessionKeys("alice", "s1999").listeners, 0, -1) == [a.peers.name]


def test_of_two_who_ask_at_once_one_has_the_session_whatever_is_slow_between_the_nodes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim may be on one node of a cluster, and the answer on another."""
    a, b = opened(), opened()
    claim, exchange = SessionKeys("", "s").claim, a.link._pipeline
    others: list[Log] = []

    def apart(commands: Sequence[Command]) -> list[Any]:
        claims = [command for command in commands if claim in command]
        if not claims or others:
            return exchange(list(commands))
        replies = dict(zip(map(id, claims), exchange(claims), strict=True))
        with suppress(SessionBusy):
            others.append(begun(b, "u"))
        rest = [command for command in commands if claim not in command]
        replies |= dict(zip(map(id, rest), exchange(rest), strict=True))
        return [replies[id(command)] for command in commands]

    monkeypatch.setattr(a.link, "_pipeline", apart)
    with suppress(SessionBusy):
        others.append(begun(a))
    assert len(others) == 1


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
