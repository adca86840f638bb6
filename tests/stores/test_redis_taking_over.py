"""Answers that another process goes on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from backend.chat.events import Failed
from backend.chat.log import Log, TakenOver
from backend.stores import records
from backend.stores.redis import rows
from backend.stores.redis.keys import PROCESSES, ProcessKeys, StreamKeys
from backend.stores.redis.opened import RedisStores
from tests.programs import until
from tests.redises import Redis
from tests.stores.kinds import finished
from tests.stores.opening import Opening
from tests.stores.test_contract import header

Open = Callable[[], RedisStores]
KEY = StreamKeys("t").log


@pytest.fixture
def opening() -> Iterator[Opening]:
    opening = Opening()
    yield opening
    opening.close()


@pytest.fixture
def opened(opening: Opening, redis_url: str) -> Open:
    """On a Redis that has been there for long."""

    def open_() -> RedisStores:
        stores = opening.open(redis_url)
        stores.link.changed_s -= 3600.0
        return stores

    return open_


def begun(stores: RedisStores, **fields: object) -> Log:
    fields = {"writer": stores.peers.name, "created_at": stores.streams._runtime.now(), **fields}
    log = stores.streams.create(header("t", "s", **fields))
    stores.streams.append(log, ["one ", "two "])
    return log


def test_whoever_takes_an_answer_over_writes_on_and_the_one_before_it_is_refused(opened: Open) -> None:
    a, b, c = opened(), opened(), opened()
    log = begun(a)
    theirs, followed = b.streams.get("", "t"), c.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    b.streams.append(theirs, ["three "])
    with pytest.raises(TakenOver):
        a.streams.append(log, ["four "])
    with pytest.raises(TakenOver):
        a.streams.seal(log, finished())
    until(lambda: followed.text == "one two three ", "who follows it reads on")
    b.streams.append(theirs, ["four ", "five "])
    assert b.streams.seal(theirs, finished()) == finished()
    b.streams.close(theirs, finished())
    assert (theirs.header.writer, theirs.header.epoch) == (b.peers.name, 1)
    until(lambda: followed.closing == finished(), "its end is told")
    assert followed.read(0).entries == ["one ", "two ", "three ", "four ", "five "]
    late = c.streams.get("", "t")
    assert late.header == theirs.header
    assert opened().streams.get("", "t").read(0).entries == followed.read(0).entries


def test_who_lost_it_follows_it_and_stops_it_where_it_is_written(opened: Open) -> None:
    a, b = opened(), opened()
    log = begun(a)
    stopped: list[str] = []
    b.peers.on_stop = lambda stream_id, _reason: stopped.append(stream_id)
    theirs = b.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    log.seal()
    with pytest.raises(TakenOver):
        a.streams.seal(log, finished())
    a.streams.let_go(log)
    assert a.streams.get("", "t") is log
    b.streams.append(theirs, ["three "])
    until(lambda: log.text == "one two three ", "it is fed")
    a.peers.stop(log, "stopped")
    until(lambda: stopped == ["t"], "the new writer is told to stop")
    until(lambda: b.peers.followed(theirs), "the new writer is told who follows")
    a.link.do(("DEL", StreamKeys("t").stop))
    assert a.streams.take_over(log, log.header), "it may come back"
    a.streams.append(log, ["four "])
    with pytest.raises(TakenOver):
        b.streams.append(theirs, ["more "])
    b.streams.let_go(theirs)
    a.streams.close(log, a.streams.seal(log, finished()))
    assert b.streams.get("", "t").text == "one two three four "


def test_of_two_who_would_take_it_over_one_does(opened: Open) -> None:
    a, b, c = opened(), opened(), opened()
    begun(a)
    first, second = b.streams.get("", "t"), c.streams.get("", "t")
    left = second.header
    with c.streams._mirrors._lock:  # it has yet to hear of it
        assert b.streams.take_over(first, left)
        assert not c.streams.take_over(second, left)
    until(lambda: second.header.writer == b.peers.name, "it hears of it")
    with pytest.raises(TakenOver):
        c.streams.take_over(second, left)
    second.header = left
    with pytest.raises(TakenOver):
        c.streams.seal(second, Failed("interrupted", 503, "gone", 2, "2026-01-01"))
    b.streams.append(first, ["three "])
    assert first.closing is None


def test_one_that_is_sealed_or_has_more_than_is_known_is_not_taken_over(opened: Open) -> None:
    a, b = opened(), opened()
    log = begun(a)
    theirs = b.streams.get("", "t")
    with b.streams._mirrors._lock:  # it has yet to hear of it
        a.link.do(rows.entries_row(KEY, 3, ["three "]))
        assert not b.streams.take_over(theirs, theirs.header), "its writer lives"
    a.streams.seal(log, finished())
    theirs = b.streams.get("", "t")
    assert not b.streams.take_over(theirs, theirs.header)
    interrupted = Failed("interrupted", 503, "gone", 2, "2026-01-01")
    assert b.streams.seal(theirs, interrupted) == finished(), "it ends as sealed"


def test_what_a_writer_sends_late_can_neither_add_to_it_nor_end_it(opened: Open) -> None:
    """As they come out of the memory of a process that was frozen in the middle of sending them."""
    a, b = opened(), opened()
    begun(a)
    theirs = b.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    late = [rows.entries_row(KEY, 3, ["x"]), rows.entries_row(KEY, 4000, ["y"])]
    replies = a.link.call(*late, rows.seal_row(KEY, finished()))
    assert all(isinstance(reply, Exception) for reply in replies)
    b.streams.append(theirs, ["three "])
    assert b.streams.get("", "t").text == "one two three "


def test_one_that_a_dead_process_had_taken_over_is_found_whenever_it_died(
    opened: Open, redis_server: Redis
) -> None:
    a, b = opened(), opened()
    log = a.streams.create(header("t", "s", writer="dead", created_at=a.streams._runtime.now()))
    a.streams.append(log, ["one "])
    redis_server.command("SADD", ProcessKeys("heir").live, "t")
    taken = header("t", "s", writer="heir", epoch=1)
    redis_server.command(*rows.take_over(KEY, taken, log, None))
    for name in ("dead", "heir"):
        redis_server.command("ZADD", PROCESSES, 0, name)
    found: list[Log] = []
    until(lambda: bool(found.extend(list(b.streams.abandoned())) or found), "it is found", 5)
    assert [(each.header.writer, each.text) for each in found] == [("heir", "one ")]
    assert b.streams.take_over(found[0], found[0].header)
    assert found[0].header.epoch == 2
    lives = [ProcessKeys(name).live for name in ("dead", "heir")]
    until(lambda: list(b.streams.abandoned()) or not redis_server.client.exists(*lives), "all is let go", 5)
    assert redis_server.client.smembers(ProcessKeys(b.peers.name).live) == {"t"}


def test_an_answer_that_was_taken_over_is_written_again_to_a_redis_that_lost_it(
    opened: Open, redis_server: Redis
) -> None:
    a, b = opened(), opened()
    begun(a)
    theirs = b.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    b.streams.append(theirs, ["three "])
    redis_server.flush()
    b.presence.renew()
    b.streams.append(theirs, ["four "])
    found = a.streams._mirrors.get("t")
    assert found is not None
    assert (found.text, found.header) == ("one two three four ", theirs.header)


def test_a_redis_that_lost_the_take_over_has_it_again(opened: Open, redis_server: Redis) -> None:
    """Killed with a second of it not on its disk yet."""
    a, b = opened(), opened()
    log = begun(a)
    before = log.header
    theirs = b.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    b.streams.append(theirs, ["three "])
    redis_server.command("DEL", KEY)
    redis_server.command(*rows.header_row(KEY, before))
    redis_server.command(*rows.entries_row(KEY, 1, ["one "]))
    b.streams._own["t"].generation = None
    b.streams.append(theirs, ["four "])
    with pytest.raises(TakenOver):
        a.streams.append(log, ["x"])
    fresh = opened().streams.get("", "t")
    assert (fresh.text, fresh.header.writer) == ("one two three four ", b.peers.name)


def test_where_redis_may_have_lost_something_nobody_goes_on(opening: Opening, tmp_path: Path) -> None:
    """Readers may have more of the answer than there is."""
    with Redis(tmp_path / "redis", appendonly=True) as redis:
        a = opening.open(redis.url)
        begun(a)
        redis.kill()
        redis.start()
        b = opening.open(redis.url)
        theirs = b.streams.get("", "t")
        assert theirs.text == "one two "
        assert not b.streams.take_over(theirs, theirs.header)


def test_a_server_that_will_not_tell_of_itself_counts_as_one_that_was_restarted(
    opening: Opening, redis_server: Redis, redis_url: str
) -> None:
    a = opening.open(redis_url)
    begun(a)
    redis_server.command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-info")
    try:
        b = opening.open(redis_url.replace("://", "://mute:secret@"))
        theirs = b.streams.get("", "t")
        assert not b.streams.take_over(theirs, theirs.header)
        b.close()
        opening.opened.remove(b)
    finally:
        redis_server.command("ACL", "DELUSER", "mute")


def test_what_was_being_fetched_when_it_was_taken_over_is_not_added_again(opened: Open) -> None:
    a, b = opened(), opened()
    begun(a)
    theirs = b.streams.get("", "t")
    assert b.streams.take_over(theirs, theirs.header)
    b.streams.append(theirs, ["three "])
    late = b.link.get(*rows.after(KEY, 2, 1))
    theirs._entries.pop()  # as it is until the append has been heard of
    b.streams._mirrors._feed(theirs, late)
    b.streams._mirrors._miss(theirs)
    theirs.complete(["three "])
    b.streams.append(theirs, ["four "])
    assert theirs.text == opened().streams.get("", "t").text == "one two three four "


def test_one_that_was_to_be_stopped_is_not_gone_on_with(opened: Open) -> None:
    a, b = opened(), opened()
    begun(a)
    theirs = b.streams.get("", "t")
    b.peers.stop(theirs, "stopped")
    assert not b.streams.take_over(theirs, theirs.header)
    assert 0 < b.link.get("TTL", StreamKeys("t").stop) <= 600


@pytest.mark.parametrize("ended", [False, True])
def test_a_writer_whose_model_is_silent_is_told_that_another_has_its_answer(
    opened: Open, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr("backend.stores.redis.writing.SILENT_S", 0.0)
    a, b = opened(), opened()
    begun(a)
    taken: list[str] = []
    a.streams.on_taken = taken.append
    a.streams.sweep()
    theirs = b.streams.get("", "t")
    if ended:
        b.streams.seal(theirs, finished())
    else:
        assert b.streams.take_over(theirs, theirs.header)
    assert not taken
    a.streams.sweep()
    until(lambda: taken == ["t"], "it is told")


def test_a_header_is_written_as_before_unless_it_is_needed(opened: Open) -> None:
    """Another process may be of the version before."""
    a = opened()
    log = begun(a)
    [(_, fields)] = a.link.get("XRANGE", KEY, "-", "+", "COUNT", 1)
    said = orjson.loads(fields[b"h"])
    assert "epoch" not in said
    assert "asked" not in said
    assert records.header_from_json(orjson.dumps({**said, "later": 1}).decode()) == log.header
