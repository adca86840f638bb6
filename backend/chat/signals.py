"""Waiting for a change, and telling of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Signal(Protocol):
    """Many wait, one wakes them all."""

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Block until `ready()` holds or the time is over; what `ready()` said last. No wake-up is
        lost between the check and the wait."""

    def notify(self) -> None:
        """Have every waiter look again."""
