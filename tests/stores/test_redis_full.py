"""What a Redis that is full is to those who write to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.chat.errors import Unavailable
from backend.chat.sessions import Message, Session
from backend.stores.redis.client import connector
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime
from tests.redises import Redis

AT = "2026-11-21T02:47:06.413000+00:00"
TEA = Session("alice", "tea", None, None, None, AT, AT)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path, maxmemory_policy="noeviction") as redis:
        yield redis


@pytest.fixture
def stores(redis: Redis) -> Iterator[RedisStores]:
    stores = open_redis(
        connector(redis.url), ThreadRuntime(), stream_ttl_s=60.0, session_ttl_s=None, lease_s=10.0
    )
    yield stores
    stores.close()


def test_a_session_is_refused_and_not_broken(redis: Redis, stores: RedisStores) -> None:
    redis.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Unavailable, match="full"):
        stores.sessions.create(TEA)


def test_an_answer_that_cannot_be_saved_now_can_be_later(redis: Redis, stores: RedisStores) -> None:
    stores.sessions.create(TEA)
    answer = Message("m", "assistant", "Yes", "done", AT)
    redis.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Unavailable, match="full"):
        stores.sessions.answer("alice", "tea", answer)
    redis.command("CONFIG", "SET", "maxmemory", 0)
    stores.sessions.answer("alice", "tea", answer)
    assert stores.sessions.find_message("alice", "tea", "m") == answer
