"""A Redis that was restarted while nobody spoke to it: redis-py connects again without a word."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.chat.log import Log
from backend.stores.redis import rows
from backend.stores.redis.client import connector
from backend.stores.redis.keys import StreamKeys
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.redises import Redis
from tests.stores.test_contract import header


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "redis", appendonly=True, appendfsync="always") as server:
        yield server


@pytest.fixture
def stores(redis: Redis) -> Iterator[RedisStores]:
    """Without its loops: nothing is said but what a test says."""
    runtime = ThreadRuntime()
    stores = open_redis(connector(redis.url), runtime, stream_ttl_s=60.0, session_ttl_s=None, lease_s=10.0)
    yield stores
    stores.close()
    runtime.join()


def test_what_it_lost_is_written_again(stores: RedisStores, redis: Redis, tmp_path: Path) -> None:
    log = stores.streams.create(header("1", writer=stores.peers.name))
    stores.streams.append(log, ["a"])
    shutil.copytree(redis.folder, tmp_path / "before", ignore=shutil.ignore_patterns("*.sock", "log"))
    stores.streams.append(log, ["b", "c"])
    redis.kill()
    shutil.copytree(tmp_path / "before", redis.folder, dirs_exist_ok=True)
    redis.start()
    assert redis.command("XLEN", StreamKeys("1").log) == 2, "the header and the first entries"
    stores.streams.append(log, ["d"])
    read = Log(header("1"), ThreadRuntime().signal())
    client = redis.client.from_url(redis.url)
    with client:
        rows.feed(read, client.xrange(StreamKeys("1").log))
    assert read.text == log.text == "abcd"
