"""The core's `Runtime` on plain threads, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")


class ThreadSignal:
    """A `Signal`. `ready` is asked without a lock held, so it may take its own; notifications are
    counted, so one that falls between the question and the wait is not lost."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        ends_s = time.monotonic() + timeout_s
        while True:
            seen = self._count
            if ready():
                return True
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                return False
            with self._changed:
                if self._count == seen:
                    self._changed.wait(left_s)

    def notify(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()


class ThreadRuntime:
    """A `Runtime` whose work runs on daemon threads, and whose clock can be put `ahead_s`; `join` waits
    for the threads at a test's end."""

    name = "threading"

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._threads: list[threading.Thread] = []

    def spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, timeout_s: float = 5.0) -> None:
        """Wait for all spawned work; raises AssertionError if some does not end."""
        ends_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(ends_s - time.monotonic(), 0))
        assert not any(thread.is_alive() for thread in self._threads), "spawned work did not end"
        self._threads.clear()

    def signal(self) -> ThreadSignal:
        return ThreadSignal()

    def offload(self, work: Callable[[], T]) -> T:
        return work()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")
