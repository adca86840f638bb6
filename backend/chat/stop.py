"""Asking a writer to stop, wherever it waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from backend.chat.signals import Signal


class Stop:
    """One answer's stop: requested at most once, seen by all who wait or registered.

    The lock guards `reason` and the callbacks: one registered late is called at once, none twice.
    """

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._lock = Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.reason: str | None = None

    @property
    def requested(self) -> bool:
        return self.reason is not None

    def request(self, reason: str) -> bool:
        """Stop now; `reason` becomes the answer's `finish_reason`. False if it was asked before."""
        with self._lock:
            if self.reason is not None:
                return False
            self.reason = reason
            callbacks, self._callbacks = self._callbacks, []
        self._signal.notify()
        for callback in callbacks:
            callback()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Sleep for the time, or until the stop; True if stopped."""
        return self._signal.wait_for(lambda: self.reason is not None, timeout_s)

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """While inside, a stop calls this (from the stopper's side: it must be quick and not fail)."""
        with self._lock:
            late = self.reason is not None
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
