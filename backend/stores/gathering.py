"""Doing at once what came while something was being done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from backend.chat.ports import Runtime

logger = logging.getLogger(__name__)

T = TypeVar("T")

TURNS = 4
"""Everybody else gets so many, at most, before the next call: who has just been answered may have more."""


class Gathering(Generic[T]):
    """Hands what is added to `work`: one call after another, each with all that came meanwhile. What
    `work` raises is logged.

    The lock guards `_waiting`.
    """

    def __init__(self, work: Callable[[list[T]], None], runtime: Runtime) -> None:
        self._work = work
        self._runtime = runtime
        self._lock = Lock()
        self._waiting: list[T] = []
        self._working = False

    def add(self, *items: T) -> None:
        with self._lock:
            self._waiting.extend(items)
            idle, self._working = not self._working, True
        if idle:
            self._runtime.spawn(self._run)

    def _run(self) -> None:
        while items := self._take():
            try:
                self._work(items)
            except Exception:
                logger.exception("what had gathered could not be done")
            self._let_gather()

    def _let_gather(self) -> None:
        """For as long as more comes in each turn."""
        for _ in range(TURNS):
            count = len(self._waiting)
            self._runtime.sleep(0)
            if len(self._waiting) == count:
                break

    def _take(self) -> list[T]:
        with self._lock:
            items, self._waiting = self._waiting, []
            if not items:
                self._working = False
            return items
