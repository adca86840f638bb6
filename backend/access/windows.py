"""What happened within the last so many seconds, counted for each name, in this process's memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from limits.storage import MovingWindowSupport, Storage

SCHEME = "windows"
SWEEP_AT = 1024


@dataclass(slots=True)
class _Window:
    length_s: float
    moments_s: deque[float] = field(default_factory=deque)

    def move(self, now_s: float) -> None:
        """Forget what is too long ago."""
        while self.moments_s and self.moments_s[0] <= now_s - self.length_s:
            self.moments_s.popleft()


class MovingWindows(Storage, MovingWindowSupport):
    """What `limits` wants of a store besides moving windows. Its other strategies count in fixed windows,
    which let twice the limit through where two of them meet: they are not served."""

    def check(self) -> bool:
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        return OSError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    def clear(self, key: str) -> None:
        raise NotImplementedError

    def reset(self) -> int | None:
        raise NotImplementedError


class Windows(MovingWindows):
    """A store of moving windows for `limits`.

    Its own one keeps every name it has ever seen, walks over all of them time and again, and reads the
    wall clock, so that a clock set back locks callers out. Here a window costs what is in it, empty ones
    are dropped when there are twice as many windows as there were last time, and time is monotonic.
    The lock guards the windows.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012

    def __init__(
        self,
        uri: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        super().__init__(uri, **options)
        self._monotonic = monotonic
        self._now = now
        self._windows: dict[str, _Window] = {}
        self._sweep_at = SWEEP_AT
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._windows)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` more, if that stays within the limit."""
        now_s = self._monotonic()
        with self._lock:
            window = self._windows.get(key) or self._open(key, expiry, now_s)
            window.move(now_s)
            if len(window.moments_s) + amount > limit:
                return False
            window.moments_s.extend([now_s] * amount)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        """When the oldest that counts happened, in seconds since the epoch, and how many count."""
        now_s = self._monotonic()
        with self._lock:
            window = self._windows.get(key)
            if window is not None:
                window.move(now_s)
            if window is None or not window.moments_s:
                return self._now(), 0
            return self._now() - (now_s - window.moments_s[0]), len(window.moments_s)

    @property
    def names(self) -> list[str]:
        with self._lock:
            return list(self._windows)

    def ages_s(self, key: str) -> list[float]:
        """How many seconds ago each that counts happened, the oldest first."""
        now_s = self._monotonic()
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                return []
            window.move(now_s)
            return [now_s - moment_s for moment_s in window.moments_s]

    def _open(self, key: str, length_s: float, now_s: float) -> _Window:
        if len(self._windows) >= self._sweep_at:
            for window in self._windows.values():
                window.move(now_s)
            self._windows = {name: window for name, window in self._windows.items() if window.moments_s}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._windows))
        return self._windows.setdefault(key, _Window(length_s))

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int:
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            return count
