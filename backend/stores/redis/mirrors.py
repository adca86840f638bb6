"""Following answers that are written elsewhere, and telling those who follow ours."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from backend.chat.errors import Unavailable
from backend.chat.events import Failed
from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.chat.stop import Stop
from backend.chat.writer import INTERRUPTED
from backend.stores.gathering import Gathering
from backend.stores.redis import rows
from backend.stores.redis.client import Command
from backend.stores.redis.keys import StreamKeys
from backend.stores.redis.link import Link
from backend.stores.redis.post import Post

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often all mirrors are looked at, for news that did not arrive."""
ANNOUNCE_EVERY = 3
"""With every so many looks the writers are told again who follows them."""
AUDIENCE_S = 3 * ANNOUNCE_EVERY * LOOK_S
AT_ONCE = 200
"""Answers looked at in one exchange."""


@dataclass(slots=True)
class _Seen:
    """When a mirror was last brought up to date, and since when its answer is not there."""

    at_s: float
    missing_since_s: float | None = None


class Mirrors:
    """Logs of answers that other processes write, kept up to date for as long as somebody holds them.

    The writer is told who follows, and says when there is news; what is new is fetched then. The lock
    guards the feeding of logs.
    """

    def __init__(
        self, link: Link, post: Post, runtime: Runtime, ending: Stop, name: str, lease_s: float
    ) -> None:
        self._link = link
        self._post = post
        self._runtime = runtime
        self._name = name
        self._lease_s = lease_s
        self._logs: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._seen: WeakKeyDictionary[Log, _Seen] = WeakKeyDictionary()
        self._lock = Lock()
        self._fetching = Gathering(self._fetch_news, runtime)
        self._looks = 0
        self._ending = ending
        post.on["news"] = lambda fields: self._fetching.add(*fields["streams"])
        post.again = self._missed

    def get(self, stream_id: str) -> Log | None:
        """Up to date; None if there is no such answer. Raises Unavailable."""
        log = self._logs.get(stream_id)
        key = StreamKeys(stream_id).log
        found, there = self._link.do(rows.after(key, *place_of(log)), ("EXISTS", key))
        if not there or rows.discarded(found):
            return None
        if log is None:
            if not found:
                return None  # it came between the two commands
            log = Log(rows.header_of(found), self._runtime.signal())
            with self._lock:
                log = self._logs.setdefault(stream_id, log)
        self._feed(log, found)
        if log.closing is None and log not in self._seen:
            self._seen[log] = _Seen(self._runtime.monotonic())
            self._announce([log])
        return log

    def adopt(self, log: Log) -> None:
        """One that was written here is written elsewhere now."""
        self._logs[log.header.stream_id] = log
        self._seen[log] = _Seen(self._runtime.monotonic())
        self._fetching.add(log.header.stream_id)

    def let_go(self, log: Log) -> None:
        """It is written here now."""
        with self._lock:  # of what is being fetched nothing is added any more
            self._logs.pop(log.header.stream_id, None)
            self._seen.pop(log, None)

    def refused(self, stream_id: str) -> Log | None:
        """An answer that was discarded when others may have joined it, with the closing that tells them why;
        None if this is no such one. Raises Unavailable."""
        found = self._link.get(*rows.after(StreamKeys(stream_id).log, 0))
        if not rows.discarded(found):
            return None
        log = Log(rows.header_of(found), self._runtime.signal())
        rows.feed(log, found)
        return log

    def catch_up(self, wanted: Callable[[Log], bool]) -> None:
        """Bring these up to date. Raises Unavailable."""
        self._fetch([log for log in self._open() if wanted(log)])

    def watch(self) -> None:
        """Look at all of them time and again, until the end."""
        while not self._ending.wait(LOOK_S):
            try:
                self._look()
            except Unavailable:
                continue
            except Exception:
                logger.exception("the answers of others could not be looked at; they are again")

    def _open(self) -> list[Log]:
        return [log for log in list(self._logs.values()) if log.closing is None and log in self._seen]

    def _missed(self) -> None:
        self._fetching.add(*(log.header.stream_id for log in self._open()))
        self._announce(self._open())

    def _look(self) -> None:
        logs = self._open()
        self._looks += 1
        if self._looks % ANNOUNCE_EVERY == 0:
            self._announce(logs)
        before_s = self._runtime.monotonic() - LOOK_S / 2
        self._fetch([log for log in logs if (seen := self._seen.get(log)) and seen.at_s < before_s])

    def _announce(self, logs: Iterable[Log]) -> None:
        """Tell their writers that they are followed here."""
        by_writer: dict[str, list[str]] = defaultdict(list)
        for log in logs:
            by_writer[log.header.writer].append(log.header.stream_id)
        for writer, stream_ids in by_writer.items():
            self._post.send(writer, "follow", streams=stream_ids, by=self._name)

    def _fetch_news(self, stream_ids: list[str]) -> None:
        logs = [self._logs.get(stream_id) for stream_id in dict.fromkeys(stream_ids)]
        try:
            self._fetch([log for log in logs if log is not None and log.closing is None])
        except Unavailable:
            return  # they are looked at again

    def _fetch(self, logs: list[Log]) -> None:
        for start in range(0, len(logs), AT_ONCE):
            some = logs[start : start + AT_ONCE]
            commands: list[Command] = []
            for log in some:
                key = StreamKeys(log.header.stream_id).log
                commands += [rows.after(key, *place_of(log)), ("EXISTS", key)]
            replies = self._link.do(*commands)
            for log, found, there in zip(some, replies[::2], replies[1::2], strict=True):
                if there:
                    self._feed(log, found)
                else:
                    self._miss(log)

    def _feed(self, log: Log, found: list[rows.Row]) -> None:
        writer = log.header.writer
        with self._lock:
            if self._logs.get(log.header.stream_id) is not log:
                return
            try:
                rows.feed(log, found)
            except rows.Gap:
                self._lose(log)
            if seen := self._seen.get(log):
                seen.at_s, seen.missing_since_s = self._runtime.monotonic(), None
        if log.header.writer != writer:
            self._announce([log])

    def _miss(self, log: Log) -> None:
        """Its writer may write it again; its readers are told if that takes too long."""
        seen, now_s = self._seen.get(log), self._runtime.monotonic()
        if seen is None:
            return
        seen.at_s = now_s
        seen.missing_since_s = seen.missing_since_s or now_s
        if now_s - seen.missing_since_s > self._lease_s:
            self._lose(log)

    def _lose(self, log: Log) -> None:
        logger.error("an answer was lost in Redis", extra={"stream_id": log.header.stream_id})
        exc, at = INTERRUPTED, self._runtime.now()
        log.close(Failed(exc.type, exc.status, exc.message, log.count, at, tail_lost=True))


def place_of(log: Log | None) -> tuple[int, int]:
    """The offset and the epoch up to which it is read."""
    return (log.offset, log.header.epoch) if log else (0, 0)


class Audience:
    """Who elsewhere follows the answers that are written here."""

    def __init__(self, post: Post, runtime: Runtime) -> None:
        self._post = post
        self._runtime = runtime
        self._followers: dict[str, dict[str, float]] = {}
        self._telling = Gathering(self._tell, runtime)
        post.on["follow"] = self._heard

    def tell(self, log: Log) -> None:
        """There is news in an answer."""
        if log.header.stream_id in self._followers:
            self._telling.add(log.header.stream_id)

    def follows(self, stream_id: str) -> bool:
        """Whether somebody does."""
        return bool(self._of(stream_id))

    def _heard(self, fields: Mapping[str, Any]) -> None:
        """Who says it has looked just before or will look just after; it is told in any case."""
        until_s = self._runtime.monotonic() + AUDIENCE_S
        for stream_id in fields["streams"]:
            self._followers.setdefault(stream_id, {})[fields["by"]] = until_s
        self._post.send(fields["by"], "news", streams=fields["streams"])

    def _of(self, stream_id: str) -> list[str]:
        followers = self._followers.get(stream_id)
        if not followers:
            return []
        now_s = self._runtime.monotonic()
        for name in [name for name, until_s in followers.items() if until_s < now_s]:
            del followers[name]
        return list(followers)

    def _tell(self, stream_ids: list[str]) -> None:
        news: dict[str, list[str]] = defaultdict(list)
        for stream_id in dict.fromkeys(stream_ids):
            for name in self._of(stream_id):
                news[name].append(stream_id)
        for name, streams in news.items():
            self._post.send(name, "news", streams=streams)

    def sweep(self) -> None:
        """Drop what nobody follows any more."""
        for stream_id in list(self._followers):
            if not self._of(stream_id):
                del self._followers[stream_id]
