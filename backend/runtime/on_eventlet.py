"""Green threads, signals and real threads, on eventlet."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from backend.runtime.green import Clock, GreenSignal, Waiter, wake_all

with warnings.catch_warnings():
    # It says at every start that it is being retired; that is known, and why only this file names it.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.hubs
    import eventlet.tpool

T = TypeVar("T")


def patch() -> None:
    """Make the standard library's blocking calls yield to others."""
    eventlet.monkey_patch()
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class EventletSignal(GreenSignal):
    """Woken by eventlet's hub."""

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            eventlet.hubs.get_hub().schedule_call_global(0, wake_all, waiting)

    def _wait(self, timeout_s: float) -> None:
        hub = eventlet.hubs.get_hub()
        waiter = Waiter()
        self._waiting.append(waiter)
        timer = hub.schedule_call_global(timeout_s, waiter.wake)
        try:
            hub.switch()
        finally:
            self._rise(waiter)
            timer.cancel()


class Runtime(Clock):
    """`chat.ports.Runtime` on eventlet."""

    name = "eventlet"

    def spawn(self, work: Callable[[], None]) -> None:
        eventlet.spawn_n(work)

    def signal(self) -> EventletSignal:
        return EventletSignal()

    def offload(self, work: Callable[[], T]) -> T:
        return eventlet.tpool.execute(work)  # type: ignore[no-any-return]

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)
