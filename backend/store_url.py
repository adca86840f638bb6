"""What `STORE_URL` names: where sessions and answers are kept, and who else serves from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.access import shared_windows, windows
from backend.chat.events import Header
from backend.chat.peers import Alone, Peers
from backend.chat.ports import Runtime, SessionStore, StreamStore
from backend.config import Config
from backend.stores.database import Database
from backend.stores.memory import MemorySessions, MemoryStreams
from backend.stores.redis.client import connector
from backend.stores.redis.keys import window_key
from backend.stores.redis.opened import RedisStores, open_redis
from backend.stores.redis.peers import RedisPeers
from backend.stores.sqlite import SqliteStreams
from backend.stores.sqlite_sessions import SqliteSessions


@dataclass(frozen=True, slots=True)
class Windows:
    """Where budgets are counted, as `limits` names its stores."""

    uri: str
    options: dict[str, Any]


HERE = Windows(f"{windows.SCHEME}://", {})
"""In this process's memory."""


@dataclass(frozen=True, slots=True)
class Stores:
    """`of_caller` is how many answers the caller of a new one has running in all processes. `loops` are to be
    run beside the program, `chores` to be done every second or so, and `close` is called when nothing writes
    any more."""

    sessions: SessionStore
    streams: StreamStore
    peers: Peers
    windows: Windows = HERE
    of_caller: Callable[[Header], int] | None = None
    loops: Sequence[Callable[[], None]] = ()
    chores: Sequence[Callable[[], None]] = ()
    close: Callable[[], None] = lambda: None


def stores(config: Config, runtime: Runtime) -> Stores:
    """Raises Misconfigured."""
    if config.store_url == "memory://":
        sessions = MemorySessions(
            runtime, config.session_ttl_s, config.memory_max_bytes, config.memory_max_sessions
        )
        return Stores(sessions, MemoryStreams(runtime, config.stream_ttl_s, config.memory_max_bytes), Alone())
    if config.store_url.startswith("sqlite:"):
        database = Database(Path(config.store_url.removeprefix("sqlite:///")), runtime)
        return Stores(
            SqliteSessions(database, runtime, config.session_ttl_s),
            SqliteStreams(database, runtime, config.stream_ttl_s),
            Alone(),
        )
    opened = open_redis(
        connector(config.store_url),
        runtime,
        stream_ttl_s=config.stream_ttl_s,
        session_ttl_s=config.session_ttl_s,
        lease_s=config.lease_s,
    )
    return Stores(
        opened.sessions,
        opened.streams,
        opened.peers,
        shared(opened, config.workers),
        opened.streams.of_caller,
        opened.loops,
        [opened.peers.tend],
        opened.close,
    )


def shared(opened: RedisStores, workers: int) -> Windows:
    """Budgets of all processes together."""

    def run(script: str, name: str, *arguments: int | str) -> Any:
        return opened.link.get("EVAL", script, 1, window_key(name), *arguments)

    def processes() -> int:
        return max(workers, opened.presence.alive)

    def generation() -> int:
        return opened.link.generation

    options = {"run": run, "processes": processes, "generation": generation}
    return Windows(f"{shared_windows.SCHEME}://", options)


def introduce(peers: Peers, stop: Callable[[str, str], None], news: Callable[..., None]) -> None:
    """Have what the peers say reach the engine and the rooms."""
    if isinstance(peers, RedisPeers):
        peers.on_stop, peers.on_news = stop, news
