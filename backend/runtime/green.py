"""What both green-thread libraries have in common: all run in one thread and switch only where they
block, so nothing here needs a lock."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import ceil, inf

from greenlet import getcurrent

ALARM_S = 1.0
RINGS_PER_S = 1000
"""What waits for times as close as this wakes together. A loop that polls counts in milliseconds anyway."""


class Waiter:
    """A greenlet to switch to once, by its signal or by its alarm."""

    __slots__ = ("asleep", "greenlet", "until_s")

    def __init__(self, until_s: float) -> None:
        self.greenlet = getcurrent()
        self.until_s = until_s
        self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.greenlet.switch()


class Loop(ABC):
    """The loop of a library, on which all else waits. What is woken and what is rung comes together: so
    many at once cost it one call."""

    def __init__(self) -> None:
        self._rising: deque[Waiter] = deque()
        self._turning = False
        self._rings: dict[int, list[Callable[[], None]]] = {}

    @abstractmethod
    def switch(self) -> None:
        """Let others run until somebody switches back."""

    @abstractmethod
    def soon(self, call: Callable[[], None]) -> None:
        """Have it called by the loop itself, once it has its turn."""

    @abstractmethod
    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """The same, in so many seconds. It cannot be taken back."""

    def wake(self, waiters: Iterable[Waiter]) -> None:
        """Wake them soon."""
        if not self._rising and not self._turning:
            self.soon(self._turn)
        self._rising.extend(waiters)

    def ring(self, at_s: float, call: Callable[[], None]) -> None:
        """Call it then, or up to 1 / RINGS_PER_S later. It cannot be taken back, and must not block: whom
        it wakes wakes at once."""
        moment = ceil(at_s * RINGS_PER_S)
        if moment not in self._rings:
            self._rings[moment] = []
            self.later(max(0.0, moment / RINGS_PER_S - time.monotonic()), lambda: self._ring_all(moment))
        self._rings[moment].append(call)

    def _ring_all(self, moment: int) -> None:
        self._turning = True
        try:
            for call in self._rings.pop(moment):
                call()
        finally:
            self._turn()

    def _turn(self) -> None:
        """Wake all who rise, and whom these wake, as followers are by their writer. Whoever is woken by
        those has to wait for the next turn: there are others."""
        self._turning = True
        rising = self._rising
        try:
            for _ in range(2):
                rising, self._rising = self._rising, deque()
                while rising:
                    rising.popleft().wake()
        finally:
            self._turning = False
            self._rising.extendleft(reversed(rising))  # one of them broke, which is not the others' fault
            if self._rising:
                self.soon(self._turn)


class GreenSignal:
    """A `chat.signals.Signal` on a loop.

    An alarm, once set, is left to ring: who follows an answer waits again and again, and all of these
    waits share it. Who waits on when it rings gets the next one. None is set further ahead than
    ALARM_S, or those that nobody waits for any more would pile up.
    """

    __slots__ = ("_alarm_s", "_loop", "_waiting")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[Waiter] = []
        self._alarm_s = inf

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        if ready():
            return True
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            self._wait(until_s)
            if ready():
                return True
        return False

    def notify(self) -> None:
        if self._waiting:
            self._loop.wake(self._waiting)
            self._waiting = []

    def _wait(self, until_s: float) -> None:
        """Until notified, or until then."""
        waiter = Waiter(until_s)
        self._waiting.append(waiter)
        if until_s < self._alarm_s:
            self._set_alarm(until_s)
        try:
            self._loop.switch()
        finally:
            if waiter.asleep:  # something else has woken it
                waiter.asleep = False
                self._waiting = [other for other in self._waiting if other is not waiter]

    def _set_alarm(self, at_s: float) -> None:
        self._alarm_s = alarm_s = min(at_s, time.monotonic() + ALARM_S)
        self._loop.ring(alarm_s, lambda: self._ring(alarm_s))

    def _ring(self, alarm_s: float) -> None:
        if alarm_s != self._alarm_s:
            return  # an earlier one was set after it, and has set the next since
        now_s = time.monotonic()
        due = [waiter for waiter in self._waiting if waiter.until_s <= now_s]
        self._waiting = [waiter for waiter in self._waiting if waiter.until_s > now_s]
        self._alarm_s = inf
        if self._waiting:
            self._set_alarm(min(waiter.until_s for waiter in self._waiting))
        self._loop.wake(due)


class Clock:
    """The time, as `chat.ports.Runtime` tells it."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")
