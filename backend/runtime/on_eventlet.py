"""Green threads, signals and real threads, on eventlet."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from backend.runtime.green import Clock, GreenSignal, Loop

os.environ["EVENTLET_NO_GREENDNS"] = "yes"  # see patch()
with warnings.catch_warnings():
    # It says at every start that it is being retired; that is known, and why only this file names it.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.green.socket
    import eventlet.hubs
    import eventlet.patcher
    import eventlet.tpool

T = TypeVar("T")


def patch() -> None:
    """Make the standard library's blocking calls yield to others.

    Names are looked up in real threads by what the system has for it, as on gevent: eventlet's own resolver
    knows less than that, and loading it takes as long as all the rest of eventlet.
    """
    look_up = eventlet.patcher.original("socket").getaddrinfo

    def getaddrinfo(*asked: Any, **more: Any) -> Any:
        return eventlet.tpool.execute(look_up, *asked, **more)

    # What asks PostgreSQL does so in a real thread, where eventlet's way of waiting for it has no place.
    eventlet.monkey_patch(psycopg=False)
    socket.getaddrinfo = eventlet.green.socket.getaddrinfo = getaddrinfo
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class EventletLoop(Loop):
    """eventlet's hub."""

    def __init__(self) -> None:
        super().__init__()
        self._hub = eventlet.hubs.get_hub()

    def switch(self) -> None:
        self._hub.switch()

    def soon(self, call: Callable[[], None]) -> None:
        self._hub.schedule_call_global(0, call)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._hub.schedule_call_global(seconds, call)


class Runtime(Clock):
    """`chat.ports.Runtime` on eventlet."""

    name = "eventlet"

    def __init__(self) -> None:
        self._loop = EventletLoop()

    def spawn(self, work: Callable[[], None]) -> None:
        eventlet.spawn_n(work)

    def signal(self) -> GreenSignal:
        return GreenSignal(self._loop)

    def offload(self, work: Callable[[], T]) -> T:
        return eventlet.tpool.execute(work)  # type: ignore[no-any-return]

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)
