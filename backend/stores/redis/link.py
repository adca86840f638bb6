"""Everybody's commands on one connection."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from backend.chat.errors import Unavailable
from backend.chat.ports import Runtime
from backend.chat.signals import Signal
from backend.chat.stop import Stop
from backend.stores.gathering import Gathering
from backend.stores.redis.client import Client, Command, Connect, exchange, ping

logger = logging.getLogger(__name__)

PROBE_S = 0.2
STALL_S = 0.25
"""An exchange that takes longer tells that Redis keeps everybody waiting."""
AWAY = (BusyLoadingError, ClusterDownError, ClusterError, MasterDownError, ReadOnlyError, TryAgainError)
"""Answers of a server that is not, or no more, the one to ask."""
AWAY_SAID = re.compile("(^|-)(BUSY|READONLY) ")
UNWILLING_SAID = re.compile("(^|-)(OOM|MISCONF|NOREPLICAS) ")
"""Of one that takes no writes just now: it is full, its disk is, or too few replicas follow it. Before
Redis 7 a script that meets one of these says so within its own words."""
FAULTS = (RedisError, RedisClusterException, OSError, EOFError)
"""What an exchange fails with."""


def unavailable() -> Unavailable:
    return Unavailable("The store cannot be reached just now; try again in a moment", 1)


def unwilling() -> Unavailable:
    return Unavailable("The store is full, or takes nothing just now; try again later", 30)


def is_away(error: Exception) -> bool:
    is_answer = isinstance(error, ResponseError) and not isinstance(error, AWAY)
    return not is_answer or AWAY_SAID.search(str(error)) is not None


def is_unwilling(error: Exception) -> bool:
    return isinstance(error, OutOfMemoryError) or UNWILLING_SAID.search(str(error)) is not None


class Call:
    """Some commands on their way, meant for a generation of the link, and what became of them."""

    __slots__ = ("away", "commands", "done", "generation", "replied", "replies")

    def __init__(self, commands: Sequence[Command], generation: int, replied: Signal) -> None:
        self.commands = commands
        self.generation = generation
        self.replied = replied
        self.replies: list[Any] = []
        self.done = False
        self.away = False


class Link:
    """Gathers the commands of all who call into pipelines, one exchange after another.

    After an exchange has failed the link is down: calls are refused at once, and a probe looks whether
    the server is there again. Commands of a failed exchange may have been done, or may be done yet; and
    when the link comes up, as another `generation`, what was done before may be undone, by a server that was
    restarted or replaced. So it may be when a connection broke while nobody used it, and has another in its
    place: that is another generation, too. A link that is `fenced` sends nothing that was meant for an
    earlier one.
    """

    def __init__(self, connect: Connect, runtime: Runtime, ending: Stop, *, fenced: bool = False) -> None:
        self.generation = 0
        self.up = True
        self.changed_s = runtime.monotonic()
        """Since when it is up, or down."""
        self.stalled_s = 0.0
        """When the last exchange ended that took longer than that."""
        self._connect = connect
        self._client: Client = None
        self._runtime = runtime
        self._changed: Signal = runtime.signal()
        self._gathering = Gathering(self._exchange, runtime)
        self._ending = ending
        self._fenced = fenced
        self._opening = False
        self._broken = False

    def call(self, *commands: Command) -> list[Any]:
        """Their replies, in their order; an error about a command is its reply. Raises Unavailable."""
        if not self.up:
            raise unavailable()
        call = Call(commands, self.generation, self._runtime.signal())
        self._gathering.add(call)
        while not call.done:
            call.replied.wait_for(lambda: call.done, 60.0)
        if call.away:
            raise unavailable()
        if any(isinstance(reply, Exception) and is_unwilling(reply) for reply in call.replies):
            raise unwilling()
        return call.replies

    def do(self, *commands: Command) -> list[Any]:
        """As `call`, where none can fail: an error is a fault of ours, and raised."""
        replies = self.call(*commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def get(self, *command: str | bytes | int | float) -> Any:
        """One command's reply, as `do`."""
        [reply] = self.do(command)
        return reply

    def post(self, *commands: Command) -> None:
        """Send them soon; nobody waits to hear what became of them."""
        if self.up:
            self._gathering.add(Call(commands, self.generation, self._runtime.signal()))

    def wait_up(self, timeout_s: float) -> bool:
        return self._changed.wait_for(lambda: self.up or self._ending.requested, timeout_s) and self.up

    def close(self) -> None:
        """When nobody calls any more."""
        self._changed.notify()
        self._disconnect()

    def _exchange(self, calls: list[Call]) -> None:
        for call in calls:
            call.away = not self.up or (self._fenced and call.generation != self.generation)
        sent = [call for call in calls if not call.away]
        try:
            began_s = self._runtime.monotonic()
            replies = self._pipeline([command for call in sent for command in call.commands]) if sent else []
            if (now_s := self._runtime.monotonic()) - began_s > STALL_S:
                self.stalled_s = now_s
        except Exception as exc:  # noqa: BLE001  (whatever it is, nobody may be left waiting)
            if not self._mended():
                self._go_down(exc)
            for call in sent:
                call.away = True
        else:
            start = 0
            for call in sent:
                end = start + len(call.commands)
                call.replies = replies[start:end]
                start = end
        for call in calls:
            call.done = True
            call.replied.notify()

    def _pipeline(self, commands: list[Command]) -> list[Any]:
        if self._client is None:
            self._open()
        replies = exchange(self._client, commands)
        for reply in replies:
            if isinstance(reply, Exception) and is_away(reply):
                raise reply
        return replies

    def _open(self) -> None:
        """Connect. Raises what that fails with."""
        self._opening, self._broken = True, False
        try:
            self._client = self._client or self._connect(self._connected)
            ping(self._client)
        finally:
            self._opening = False

    def _connected(self) -> None:
        """Raises ConnectionError."""
        if self._opening:
            return
        self.generation += 1
        self.changed_s = self._runtime.monotonic()
        if self._fenced:
            self._broken = True
            raise ConnectionError("the connection had broken")

    def _mended(self) -> bool:
        """Whether nothing had failed but a connection that had broken before, and there is another."""
        if not self._broken:
            return False
        self._disconnect()
        with suppress(Exception):
            self._open()
            return True
        return False

    def _go_down(self, exc: Exception) -> None:
        logger.error("the Redis store cannot be reached: %s", exc)
        self._turn(up=False)
        self._disconnect()
        self._runtime.spawn(self._probe)

    def _probe(self) -> None:
        """Until the server answers again."""
        while not self._ending.requested:
            try:
                self._open()
            except Exception as exc:  # noqa: BLE001  (or nobody would look any more)
                logger.debug("the Redis store is still away: %s", exc)
                self._disconnect()
                self._ending.wait(PROBE_S)
                continue
            self.generation += 1
            logger.warning("the Redis store is there again")
            self._turn(up=True)
            return

    def _turn(self, *, up: bool) -> None:
        self.up = up
        self.changed_s = self._runtime.monotonic()
        self._changed.notify()

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except FAULTS as exc:
                logger.debug("a connection to Redis could not be closed: %s", exc)
