"""Time that passes event by event, and processes that take turns on cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeAlias

Then: TypeAlias = Callable[[], None]


class Clock:
    """What happens, in its order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._number = 0

    def at(self, when_s: float, then: Then) -> None:
        self._number += 1
        heappush(self._events, (when_s, self._number, then))

    def run(self, limit_s: float) -> None:
        while self._events and self._events[0][0] <= limit_s:
            self.now_s, _, then = heappop(self._events)
            then()


class Cores:
    """Whoever has one keeps it until what it began is done; the others wait in line."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._free = count
        self._line: deque[tuple[float, Then]] = deque()

    def run(self, duration_s: float, then: Then) -> None:
        if self._free:
            self._free -= 1
            self._start(duration_s, then)
        else:
            self._line.append((duration_s, then))

    def _start(self, duration_s: float, then: Then) -> None:
        def done() -> None:
            if self._line:
                self._start(*self._line.popleft())
            else:
                self._free += 1
            then()

        self._clock.at(self._clock.now_s + duration_s, done)


class Process:
    """Does one thing after another. `busy_s` is how long it has been at work; by the clock it takes `stretch`
    times as long."""

    def __init__(self, cores: Cores, stretch: float = 1.0) -> None:
        self.busy_s = 0.0
        self._stretch = stretch
        self._cores = cores
        self._line: deque[tuple[float, Then]] = deque()
        self._working = False

    def do(self, duration_s: float, then: Then) -> None:
        self._line.append((duration_s, then))
        if not self._working:
            self._next()

    def _next(self) -> None:
        self._working = True
        duration_s, then = self._line.popleft()

        def done() -> None:
            self.busy_s += duration_s
            self._working = False
            if self._line:
                self._next()
            then()

        self._cores.run(duration_s * self._stretch, done)
