"""Green threads, signals and real threads, on gevent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.monkey
from gevent.threadpool import ThreadPool

from backend.runtime.green import Clock, GreenSignal, Loop

T = TypeVar("T")

THREADS = 20


def patch() -> None:
    """Make the standard library's blocking calls yield to others."""
    gevent.monkey.patch_all()
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class GeventLoop(Loop):
    """gevent's hub."""

    def switch(self) -> None:
        gevent.get_hub().switch()

    def soon(self, call: Callable[[], None]) -> None:
        gevent.get_hub().loop.run_callback(call)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        timer = gevent.get_hub().loop.timer(seconds)
        timer.start(_ring, timer, call)


def _ring(timer: Any, call: Callable[[], None]) -> None:
    """A started timer keeps itself alive until it has rung."""
    timer.close()
    call()


class Runtime(Clock):
    """`chat.ports.Runtime` on gevent."""

    name = "gevent"

    def __init__(self) -> None:
        self._loop = GeventLoop()
        # Not the hub's own pool: names are looked up there, and a dead name server would fill it.
        self._threads = ThreadPool(THREADS)

    def spawn(self, work: Callable[[], None]) -> None:
        gevent.spawn_raw(work)

    def signal(self) -> GreenSignal:
        return GreenSignal(self._loop)

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
