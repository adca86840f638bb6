"""Green threads, signals and real threads, on eventlet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import eventlet
import eventlet.hubs
import eventlet.tpool
from greenlet import getcurrent

T = TypeVar("T")


def patch() -> None:
    """Make the standard library's blocking calls yield to others."""
    eventlet.monkey_patch()
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class EventletSignal:
    """All run in one thread and switch only where they block, so no lock is needed."""

    def __init__(self) -> None:
        self._waiting: list[_Waiter] = []

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not ready():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._wait(left_s)
        return True

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            eventlet.hubs.get_hub().schedule_call_global(0, _wake_all, waiting)

    def _wait(self, timeout_s: float) -> None:
        hub = eventlet.hubs.get_hub()
        waiter = _Waiter()
        self._waiting.append(waiter)
        timer = hub.schedule_call_global(timeout_s, waiter.wake)
        try:
            hub.switch()
        finally:
            waiter.asleep = False
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)


class _Waiter:
    """A greenlet to switch to once, by the signal or by its timer."""

    __slots__ = ("asleep", "greenlet")

    def __init__(self) -> None:
        self.greenlet = getcurrent()
        self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.greenlet.switch()


def _wake_all(waiting: list[_Waiter]) -> None:
    for waiter in waiting:
        waiter.wake()


class EventletRuntime:
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

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")
