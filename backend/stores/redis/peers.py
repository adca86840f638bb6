"""The other processes on the same Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from backend.chat.errors import NotFound, StreamExpired, Unavailable
from backend.chat.log import Log
from backend.chat.news import News
from backend.chat.ports import Runtime, StreamStore
from backend.stores.gathering import Gathering
from backend.stores.redis.client import Command
from backend.stores.redis.keys import SessionKeys, StreamKeys
from backend.stores.redis.link import Link
from backend.stores.redis.mirrors import AT_ONCE, Audience, Mirrors
from backend.stores.redis.post import Post

logger = logging.getLogger(__name__)

LISTENS_S = 60
"""How long a process counts as listening to a session when it does not say so again."""
RENEW_S = 15.0
STOP_KEPT_S = 600
"""More than any lease is long."""


@dataclass(frozen=True, slots=True)
class _Told:
    owner: str
    news: News


class RedisPeers:
    """As `chat.peers.Peers`. `on_stop` is called with a stream's id and a reason, `on_news` with an owner
    and what a peer tells of a session."""

    shared = True

    def __init__(
        self,
        link: Link,
        post: Post,
        mirrors: Mirrors,
        audience: Audience,
        streams: StreamStore,
        runtime: Runtime,
        name: str,
    ) -> None:
        self.name = name
        self.on_stop: Callable[[str, str], None] = lambda _stream_id, _reason: None
        self.on_news: Callable[[str, News], None] = lambda _owner, _news: None
        self._link = link
        self._post = post
        self._mirrors = mirrors
        self._audience = audience
        self._streams = streams
        self._runtime = runtime
        self._joined: set[tuple[str, str]] = set()
        self._renewed_s = runtime.monotonic()
        self._telling = Gathering(self._tell, runtime)
        self._hearing = Gathering(self._hear, runtime)
        post.on["stop"] = self._stopped
        post.on["session"] = self._hearing.add

    def stop(self, log: Log, reason: str) -> None:
        """Should its writer be dead, nobody is to go on with it."""
        self._link.post(("SET", StreamKeys(log.header.stream_id).stop, reason, "EX", STOP_KEPT_S))
        self._post.send(log.header.writer, "stop", stream=log.header.stream_id, reason=reason)

    def followed(self, log: Log) -> bool:
        return self._audience.follows(log.header.stream_id)

    def join(self, owner: str, session_id: str) -> None:
        self._joined.add((owner, session_id))
        self._listen([(owner, session_id)])

    def leave(self, owner: str, session_id: str) -> None:
        self._joined.discard((owner, session_id))
        self._link.post(("ZREM", SessionKeys(owner, session_id).listeners, self.name))

    def tell(self, owner: str, news: News) -> None:
        self._telling.add(_Told(owner, news))

    def tend(self) -> None:
        """Say again what is listened to. Raises Unavailable."""
        if self._runtime.monotonic() - self._renewed_s >= RENEW_S:
            self._renewed_s = self._runtime.monotonic()
            places = list(self._joined)
            for start in range(0, len(places), AT_ONCE):
                self._listen(places[start : start + AT_ONCE])

    def _listen(self, places: Sequence[tuple[str, str]]) -> None:
        until = round(time.time()) + LISTENS_S
        commands: list[Command] = []
        for owner, session_id in places:
            key = SessionKeys(owner, session_id).listeners
            commands += [("ZADD", key, until, self.name), ("EXPIRE", key, 2 * LISTENS_S)]
        self._link.do(*commands)

    def _stopped(self, fields: Mapping[str, Any]) -> None:
        self._runtime.spawn(lambda: self.on_stop(fields["stream"], fields["reason"]))

    def _tell(self, told: list[_Told]) -> None:
        keys = [SessionKeys(each.owner, each.news.session_id).listeners for each in told]
        with suppress(Unavailable):
            listening = self._link.do(*[("ZRANGEBYSCORE", key, round(time.time()), "+inf") for key in keys])
            for each, names in zip(told, listening, strict=True):
                for name in names:
                    if name.decode() != self.name:
                        self._send(name.decode(), each)

    def _send(self, name: str, told: _Told) -> None:
        news = told.news
        live = news.live.header.stream_id if news.live else None
        self._post.send(
            name, "session", owner=told.owner, session=news.session_id, change=news.change, live=live
        )

    def _hear(self, messages: list[Mapping[str, Any]]) -> None:
        """In their order, and after what the answers in the session had before: who listens sees an answer's
        end before the news of it."""
        for fields in messages:
            owner, session_id = fields["owner"], fields["session"]
            if (owner, session_id) not in self._joined:
                continue
            live = None
            with suppress(Unavailable, NotFound, StreamExpired):
                self._mirrors.catch_up(lambda log, place=(owner, session_id): place_of(log) == place)  # type: ignore[misc]
                live = self._streams.get(owner, fields["live"]) if fields["live"] else None
            self.on_news(owner, News(session_id, fields["change"], live))


def place_of(log: Log) -> tuple[str, str | None]:
    return log.header.owner, log.header.session_id
