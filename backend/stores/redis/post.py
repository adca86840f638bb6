"""What processes tell each other: short messages to one process by name, which may get lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import orjson

from backend.chat.errors import Unavailable
from backend.chat.ports import Runtime
from backend.chat.stop import Stop
from backend.stores.redis.client import Connect
from backend.stores.redis.keys import channel
from backend.stores.redis.link import FAULTS, Link

logger = logging.getLogger(__name__)

SILENCE_S = 5.0
"""A line over which so long nothing has come, not even our own pings, is not one."""
PING_S = 1.0
RETRY_S = 0.2

Handler: TypeAlias = Callable[[Mapping[str, Any]], None]
"""It must be quick: messages wait for it."""


class Post:
    """`on` says what is done with a message of a kind."""

    def __init__(self, connect: Connect, link: Link, runtime: Runtime, ending: Stop, name: str) -> None:
        self.on: dict[str, Handler] = {"ping": lambda _fields: None}
        self.again: Callable[[], None] = lambda: None
        """Called when messages may have been missed."""
        self._connect = connect
        self._link = link
        self._runtime = runtime
        self._name = name
        self._ending = ending

    def send(self, process: str, kind: str, **fields: Any) -> None:
        """It neither waits nor raises."""
        self._link.post(("PUBLISH", channel(process), orjson.dumps({"kind": kind, **fields})))

    def hear(self) -> None:
        """Hand on what is sent to this process, until the end."""
        while not self._ending.requested:
            try:
                self._hear()
            except FAULTS as exc:
                logger.debug("the line to the other processes broke: %s", exc)
            except Exception:
                logger.exception("the other processes could not be heard; trying again")
            self._ending.wait(RETRY_S)

    def wake(self) -> None:
        """Have it heard at once that this is the end."""
        with suppress(Unavailable):
            self._link.call(("PUBLISH", channel(self._name), orjson.dumps({"kind": "ping"})))

    def _hear(self) -> None:
        client = self._connect()
        try:
            line = client.pubsub(ignore_subscribe_messages=True)
            line.subscribe(channel(self._name))
            self.again()
            heard_s = pinged_s = self._runtime.monotonic()
            while not self._ending.requested:
                message = line.get_message(timeout=PING_S)
                now_s = self._runtime.monotonic()
                if message is not None:
                    heard_s = now_s
                    self._handle(message["data"])
                elif now_s - heard_s > SILENCE_S:
                    raise ConnectionError("nothing is heard any more")
                if now_s - pinged_s >= PING_S:
                    pinged_s = now_s
                    self.send(self._name, "ping")
        finally:
            client.close()

    def _handle(self, data: bytes) -> None:
        try:
            fields = orjson.loads(data)
            self.on[fields["kind"]](fields)
        except Exception:
            logger.exception("a message of another process could not be used")
