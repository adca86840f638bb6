"""Everybody's commands on one connection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
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
AWAY = (BusyLoadingError, ClusterDownError, ClusterError, MasterDownError, ReadOnlyError, TryAgainError)
"""Answers of a server that is not, or no more, the one to ask."""
FAULTS = (RedisError, RedisClusterException, OSError, EOFError)
"""What an exchange fails with."""


def unavailable() -> Unavailable:
    return Unavailable("The store cannot be reached just now; try again in a moment", 1)


def full() -> Unavailable:
    return Unavailable("The store is full; try again later", 30)


def out_of_memory(error: ResponseError) -> bool:
    """Before Redis 7 a script that meets a full one says so in its own words."""
    return isinstance(error, OutOfMemoryError) or "-OOM " in str(error)


class Call:
    """Some commands on their way, and what became of them."""

    __slots__ = ("away", "commands", "done", "replied", "replies")

    def __init__(self, commands: Sequence[Command], replied: Signal) -> None:
        self.commands = commands
        self.replied = replied
        self.replies: list[Any] = []
        self.done = False
        self.away = False


class Link:
    """Gathers the commands of all who call into pipelines, one exchange after another.

    After an exchange has failed the link is down: calls are refused at once, and a probe looks whether
    the server is there again. Commands of a failed exchange may have been done, or may be done yet; and
    when the link comes up, as another `generation`, what was done before may be undone, by a server that was
    restarted or replaced.
    """

    def __init__(self, connect: Connect, runtime: Runtime, ending: Stop) -> None:
        self.generation = 0
        self.up = True
        self.changed_s = runtime.monotonic()
        """Since when it is up, or down."""
        self._connect = connect
        self._client: Client = None
        self._runtime = runtime
        self._changed: Signal = runtime.signal()
        self._gathering = Gathering(self._exchange, runtime)
        self._ending = ending

    def call(self, *commands: Command) -> list[Any]:
        """Their replies, in their order; an error about a command is its reply. Raises Unavailable."""
        if not self.up:
            raise unavailable()
        call = Call(commands, self._runtime.signal())
        self._gathering.add(call)
        while not call.done:
            call.replied.wait_for(lambda: call.done, 60.0)
        if call.away:
            raise unavailable()
        if any(isinstance(reply, ResponseError) and out_of_memory(reply) for reply in call.replies):
            raise full()
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
            self._gathering.add(Call(commands, self._runtime.signal()))

    def wait_up(self, timeout_s: float) -> bool:
        return self._changed.wait_for(lambda: self.up or self._ending.requested, timeout_s) and self.up

    def close(self) -> None:
        """When nobody calls any more."""
        self._changed.notify()
        self._disconnect()

    def _exchange(self, calls: list[Call]) -> None:
        try:
            if not self.up:
                raise unavailable()
            replies = self._pipeline([command for call in calls for command in call.commands])
        except Exception as exc:  # noqa: BLE001  (whatever it is, nobody may be left waiting)
            if not isinstance(exc, Unavailable):
                self._go_down(exc)
            for call in calls:
                call.away = True
        else:
            start = 0
            for call in calls:
                end = start + len(call.commands)
                call.replies = replies[start:end]
                start = end
        for call in calls:
            call.done = True
            call.replied.notify()

    def _pipeline(self, commands: list[Command]) -> list[Any]:
        if self._client is None:
            self._client = self._connect()
        replies = exchange(self._client, commands)
        for reply in replies:
            if isinstance(reply, AWAY) or (
                isinstance(reply, Exception) and not isinstance(reply, ResponseError)
            ):
                raise reply
        return replies

    def _go_down(self, exc: Exception) -> None:
        logger.error("the Redis store cannot be reached: %s", exc)
        self._turn(up=False)
        self._disconnect()
        self._runtime.spawn(self._probe)

    def _probe(self) -> None:
        """Until the server answers again."""
        while not self._ending.requested:
            try:
                self._client = self._client or self._connect()
                ping(self._client)
            except FAULTS:
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
