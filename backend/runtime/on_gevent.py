"""Green threads, signals and real threads, on gevent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import gevent
import gevent.monkey
from gevent.threadpool import ThreadPool

from backend.runtime.green import Clock, GreenSignal, Waiter, wake_all

T = TypeVar("T")

THREADS = 20


def patch() -> None:
    """Make the standard library's blocking calls yield to others."""
    gevent.monkey.patch_all()
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class GeventSignal(GreenSignal):
    """Woken by gevent's hub."""

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            gevent.get_hub().loop.run_callback(wake_all, waiting)

    def _wait(self, timeout_s: float) -> None:
        hub = gevent.get_hub()
        waiter = Waiter()
        self._waiting.append(waiter)
        timer = hub.loop.timer(timeout_s)
        timer.start(waiter.wake)
        try:
            hub.switch()
        finally:
            self._rise(waiter)
            timer.close()


class Runtime(Clock):
    """`chat.ports.Runtime` on gevent."""

    name = "gevent"

    def __init__(self) -> None:
        # Not the hub's own pool: names are looked up there, and a dead name server would fill it.
        self._threads = ThreadPool(THREADS)

    def spawn(self, work: Callable[[], None]) -> None:
        gevent.spawn_raw(work)

    def signal(self) -> GeventSignal:
        return GeventSignal()

    def offload(self, work: Callable[[], T]) -> T:
        result, fault = self._threads.apply(_outcome, (work,))
        if fault is not None:
            raise fault
        return result  # type: ignore[no-any-return]

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)


def _outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What it gives or raises. An exception that left the thread by itself would be printed there."""
    try:
        return work(), None
    except Exception as exc:  # noqa: BLE001
        return None, exc
