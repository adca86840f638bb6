"""One socket: who it is, the answers it follows, the sessions it listens to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.errors import InvalidRequest
from backend.chat.ids import new_id
from backend.chat.log import Log
from backend.chat.news import News
from backend.chat.ports import Runtime
from backend.chat.requests import Caller
from backend.telemetry.meters import Meters
from backend.transports.following import Following
from backend.wire import sockets as wire

logger = logging.getLogger(__name__)

MAX_QUEUED = 1000
"""Packets that may wait for a client that does not read; answers wait in their logs instead."""


class Line(Protocol):
    """What a connection is sent over."""

    @property
    def closed(self) -> bool: ...

    @property
    def backlog(self) -> int:
        """How many packets wait to be sent."""

    def send(self, packet: str) -> None:
        """Queue it. Sending to a closed line changes nothing."""

    def deliver(self, packet: str, wanted: Callable[[], bool]) -> None:
        """Send it after all that was queued before, if it is still `wanted` then; returns when it has left,
        is wanted no more, or the line is closed."""

    def drop(self) -> None:
        """Close it without waiting."""


class Connection:
    """Follows answers for its client, each once, however often it was asked to."""

    def __init__(
        self,
        line: Line,
        caller: Caller,
        token: str | None,
        engine: Engine,
        conversations: Conversations,
        runtime: Runtime,
        meters: Meters,
        max_followed: int,
        partial_max_chars: int,
    ) -> None:
        self.line = line
        self.caller = caller
        self.token = token
        self.own_session_id = new_id()
        self._engine = engine
        self._conversations = conversations
        self._runtime = runtime
        self._meters = meters
        self._max_followed = max_followed
        self._partial_max_chars = partial_max_chars
        self._following: dict[str, Following] = {}
        self._joined: set[str] = set()
        self._left = False

    @property
    def closed(self) -> bool:
        return self._left or self.line.closed

    @property
    def idle(self) -> bool:
        """Whether it follows no answer."""
        return not self._following

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        self.send(wire.packet(event, fields))

    def send(self, packet: str) -> None:
        if self.line.backlog >= MAX_QUEUED:
            self.line.drop()
        if not self.closed:
            self.line.send(packet)

    def deliver(self, packet: str) -> None:
        """Whoever is sent away while it waits gets no more of it."""
        if not self.closed:
            self.line.deliver(packet, lambda: not self.closed)

    def check_room(self) -> None:
        """Raises InvalidRequest when it follows as many answers as it may."""
        if len(self._following) >= self._max_followed:
            raise InvalidRequest(
                f"This socket follows {self._max_followed} answers (MAX_FOLLOWED_PER_SOCKET); "
                "wait for one to end"
            )

    def follow(self, log: Log, after: int = 0, partial: bool = False) -> int | None:
        """Send what comes after piece number `after`, and on to the answer's end. Beginning is left to
        the next turn, so that an acknowledgement goes first. Gives the piece after which it begins, None
        if it goes on as it did. Raises InvalidRequest."""
        known = self._following.get(log.header.stream_id)
        following = known or self._following_of(log, after)
        begins = following.take_up(after, partial)
        if known is None:
            self._begin(following)
        return begins

    def _following_of(self, log: Log, after: int, held: bool = False) -> Following:
        self.check_room()
        return Following(self, log, after, self._partial_max_chars, self._runtime.signal(), held)

    def _begin(self, following: Following) -> None:
        self._following[following.log.header.stream_id] = following
        self._runtime.spawn(lambda: self._run(following))

    def _run(self, following: Following) -> None:
        log = following.log
        try:
            with self._meters.following("socket"):
                following.run(self._engine)
        except Exception:
            # The client reconnects and resumes.
            logger.exception("following an answer broke", extra={"stream_id": log.header.stream_id})
            self.line.drop()
        finally:
            del self._following[log.header.stream_id]
        for news in following.later:
            self._hear(news)

    def join(self, session_id: str) -> Log | None:
        """Follow every answer in the session. Raises NotFound and InvalidRequest."""
        if session_id not in self._joined and len(self._joined) >= self._max_followed:
            raise InvalidRequest(
                f"This socket listens to {self._max_followed} sessions (MAX_FOLLOWED_PER_SOCKET); leave one"
            )
        live = self._conversations.join(self.caller, session_id, self._hear)
        self._joined.add(session_id)
        if self._left:  # meanwhile, when the store let others run
            self.leave(session_id)
            return live
        if live is not None and live.header.stream_id not in self._following:
            self._begin(self._following_of(live, live.count, held=True))
        return live

    def leave(self, session_id: str) -> None:
        self._conversations.leave(self.caller, session_id, self._hear)
        self._joined.discard(session_id)

    def _hear(self, news: News) -> None:
        """Pass it on; what came after an answer's end waits until that end has been sent."""
        for following in self._following.values():
            header = following.log.header
            if header.session_id == news.session_id and following.log.closing is not None:
                if len(following.later) >= MAX_QUEUED:
                    self.line.drop()
                following.later.append(news)
                return
        self.send(wire.news_packet(news))
        if news.change == "deleted":
            self.leave(news.session_id)
        if news.change == "message" and news.live is not None and len(self._following) < self._max_followed:
            self.follow(news.live)

    def close(self) -> None:
        """It has left: stop following and listening."""
        self._left = True
        for session_id in list(self._joined):
            self.leave(session_id)
