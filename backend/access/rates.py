"""How often: the budget of a caller, and the refusals of an address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from limits import RateLimitItem, parse
from limits.strategies import RateLimiter

from backend.chat.errors import RateLimited
from backend.chat.events import Closing, Header
from backend.chat.requests import Caller

Now = Callable[[], float]
"""The wall clock, seconds since the epoch."""


class Budget:
    """An admission: so many answers begun within a time, for each caller, over all doors together."""

    def __init__(self, strategy: RateLimiter, rate: str, now: Now = time.time) -> None:
        """`rate` as in `30/minute`."""
        self._strategy = strategy
        self._rate = rate
        self._item = parse(rate)
        self._now = now

    def admit(self, header: Header) -> None:
        who = header.owner or header.address
        if not self._strategy.hit(self._item, "budget", who):
            raise RateLimited(
                f"You have asked as often as you may ({self._rate}); wait a little and ask again",
                _wait_s(self._strategy, self._item, self._now(), "budget", who),
            )

    def resume(self, header: Header) -> None:
        """It was asked for once."""

    def settle(self, header: Header, closing: Closing | None) -> None:
        """What is spent is spent."""

    def state(self, caller: Caller) -> tuple[int, int, int]:
        """The limit, what is left of it, and when there is more again, in seconds since the epoch."""
        stats = self._strategy.get_window_stats(self._item, "budget", caller.owner or caller.address)
        return self._item.amount, max(0, stats.remaining), math.ceil(stats.reset_time)


class Refusals:
    """So many refused requests within a time, for each address; after that everything is refused, until
    the oldest of them are long enough ago."""

    def __init__(self, strategy: RateLimiter, rate: str, now: Now = time.time) -> None:
        self._strategy = strategy
        self._item = parse(rate)
        self._now = now

    def check(self, address: str) -> None:
        """Raises RateLimited."""
        if not self._strategy.test(self._item, "refused", address):
            raise RateLimited(
                "Too many requests from your address were refused; see what was wrong with them, and wait",
                _wait_s(self._strategy, self._item, self._now(), "refused", address),
            )

    def count(self, address: str) -> None:
        self._strategy.hit(self._item, "refused", address)


def _wait_s(strategy: RateLimiter, item: RateLimitItem, now_s: float, *who: str) -> int:
    """Whole seconds until there is room for one more."""
    return max(1, math.ceil(strategy.get_window_stats(item, *who).reset_time - now_s))
