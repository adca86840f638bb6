"""Every kind of store there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.chat.events import Finished, Usage
from backend.chat.ports import SessionStore, StreamStore
from backend.stores.database import Database
from backend.stores.memory import MemorySessions, MemoryStreams
from backend.stores.redis.client import connector
from backend.stores.redis.opened import open_redis
from backend.stores.sqlite import SqliteStreams
from backend.stores.sqlite_sessions import SqliteSessions
from tests.fakes.runtime import ThreadRuntime


@dataclass
class Stores:
    """`close` ends what runs, waits for what was spawned, and lets go of what it holds."""

    sessions: SessionStore
    streams: StreamStore
    runtime: ThreadRuntime
    close: Callable[[], None]


def memory(runtime: ThreadRuntime, _place: str, ttl_s: float) -> Stores:
    streams = MemoryStreams(runtime, ttl_s, 10**7)
    return Stores(MemorySessions(runtime, None, 10**7, 100), streams, runtime, runtime.join)


def sqlite(runtime: ThreadRuntime, place: str, ttl_s: float) -> Stores:
    database = Database(Path(place) / "chat.db", runtime)
    streams = SqliteStreams(database, runtime, ttl_s)

    def close() -> None:
        for log in streams._claims.all_live():
            streams.close(log, finished())
        runtime.join()
        database.close()

    return Stores(SqliteSessions(database, runtime, None), streams, runtime, close)


def redis(runtime: ThreadRuntime, place: str, ttl_s: float) -> Stores:
    opened = open_redis(connector(place), runtime, stream_ttl_s=ttl_s, session_ttl_s=None, lease_s=2.0)
    for loop in opened.loops:
        runtime.spawn(loop)

    def close() -> None:
        opened.close()
        runtime.join()

    return Stores(opened.sessions, opened.streams, runtime, close)


KINDS: dict[str, Callable[[ThreadRuntime, str, float], Stores]] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis": redis,
    "cluster": redis,
}


def finished(at: str = "2999-01-01T00:00:00.000000+00:00") -> Finished:
    return Finished("stop", 2, 0.5, 1.5, Usage(1, 2, 3, details={"cost": 0.5}), at, 4, 5.5)
