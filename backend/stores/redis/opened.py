"""All of the Redis store, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend.chat.ports import Runtime
from backend.chat.stop import Stop
from backend.chat.writer import INTERRUPTED
from backend.stores.redis.client import Connect
from backend.stores.redis.endings import Endings
from backend.stores.redis.link import Link
from backend.stores.redis.mirrors import Audience, Mirrors
from backend.stores.redis.peers import RedisPeers
from backend.stores.redis.post import Post
from backend.stores.redis.presence import Presence
from backend.stores.redis.sessions import RedisSessions
from backend.stores.redis.streams import RedisStreams
from backend.stores.redis.writing import Writing


@dataclass(frozen=True, slots=True)
class RedisStores:
    """`loops` are to be run beside the program, each for as long as it lives; `close` ends them."""

    sessions: RedisSessions
    streams: RedisStreams
    peers: RedisPeers
    presence: Presence
    link: Link
    loops: Sequence[Callable[[], None]]
    close: Callable[[], None]


def open_redis(
    connect: Connect,
    runtime: Runtime,
    *,
    stream_ttl_s: float,
    session_ttl_s: float | None,
    lease_s: float,
) -> RedisStores:
    """Three connections, however many answers there are: what is generated goes over one, all else over
    another, so that it waits for nobody's history; over the third the other processes are heard."""
    ending = Stop(runtime.signal())
    link, tokens = Link(connect, runtime, ending), Link(connect, runtime, ending, fenced=True)
    presence = Presence(link, runtime, ending, lease_s)
    post = Post(connect, link, runtime, ending, presence.name)
    mirrors = Mirrors(link, post, runtime, ending, presence.name, lease_s)
    audience = Audience(post, runtime)
    writing = Writing(tokens, runtime, presence, stream_ttl_s)
    endings = Endings(link, writing, audience, runtime, presence.name, stream_ttl_s)
    streams = RedisStreams(link, writing, endings, mirrors, audience, presence, runtime, stream_ttl_s)
    peers = RedisPeers(link, post, mirrors, audience, streams, runtime, presence.name)

    # As one that is interrupted: it has nothing to say any more.
    streams.on_taken = lambda stream_id: peers.on_stop(stream_id, INTERRUPTED.type)

    def close() -> None:
        ending.request("closed")
        presence.leave()
        post.wake()
        for each in (link, tokens):
            each.close()

    loops = (presence.keep, post.hear, mirrors.watch)
    return RedisStores(
        RedisSessions(link, runtime, session_ttl_s), streams, peers, presence, link, loops, close
    )
