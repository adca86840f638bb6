"""What both green-thread libraries have in common: all run in one thread and switch only where they
block, so nothing here needs a lock."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime

from greenlet import getcurrent


class Waiter:
    """A greenlet to switch to once, by the signal or by its timer."""

    __slots__ = ("asleep", "greenlet")

    def __init__(self) -> None:
        self.greenlet = getcurrent()
        self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.greenlet.switch()


def wake_all(waiting: list[Waiter]) -> None:
    for waiter in waiting:
        waiter.wake()


class GreenSignal(ABC):
    """A `chat.signals.Signal` on the loop of a library."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not ready():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._wait(left_s)
        return True

    @abstractmethod
    def notify(self) -> None:
        """Have the loop wake all who wait, soon."""

    @abstractmethod
    def _wait(self, timeout_s: float) -> None:
        """Until notified, or until the time is over."""

    def _rise(self, waiter: Waiter) -> None:
        """What wakes the waiter after this finds it awake."""
        waiter.asleep = False
        if waiter in self._waiting:
            self._waiting.remove(waiter)


class Clock:
    """The time, as `chat.ports.Runtime` tells it."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")
