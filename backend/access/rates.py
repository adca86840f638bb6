"""How often: the budget of a caller, and the refusals of an address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

from limits import RateLimitItem
from limits import parse as parse_rate
from limits.strategies import RateLimiter

from backend.chat.errors import RateLimited
from backend.chat.events import Closing, Header
from backend.chat.log import Log
from backend.chat.ports import Asking
from backend.chat.requests import Caller

Now = Callable[[], float]
"""The wall clock, seconds since the epoch."""

parse = lru_cache(maxsize=1000)(parse_rate)


OWN: dict[str, str | None] = {"off": None}
"""What a caller's own rate means that is none."""


class Budget:
    """An admission: so many answers begun within a time, for each caller, over all doors together."""

    def __init__(self, strategy: RateLimiter, rate: str | None, now: Now = time.time) -> None:
        """`rate` as in `30/minute`, for callers without one of their own; None: these may ask at will."""
        self._strategy = strategy
        self._rate = rate
        self._now = now

    def admit(self, asking: Asking) -> None:
        self._pass(asking.caller, self._strategy.hit)

    def check(self, caller: Caller) -> None:
        """Raises RateLimited as `admit` would, and spends nothing."""
        self._pass(caller, self._strategy.test)

    def resume(self, header: Header) -> None:
        """It was asked for once."""

    def settle(self, log: Log, closing: Closing) -> None:
        """What is spent is spent."""

    def withdraw(self, log: Log) -> None:
        """That, too."""

    def let_go(self, log: Log) -> None:
        """And that."""

    def state(self, caller: Caller) -> tuple[int, int, int] | None:
        """The limit, what is left of it, and when there is more again, in seconds since the epoch. None for
        a caller without a limit."""
        rate = self._rate_of(caller)
        if rate is None:
            return None
        stats = self._strategy.get_window_stats(parse(rate), "budget", caller.owner or caller.address)
        return parse(rate).amount, max(0, stats.remaining), math.ceil(stats.reset_time)

    def _pass(self, caller: Caller, fits: Callable[..., bool]) -> None:
        rate, who = self._rate_of(caller), caller.owner or caller.address
        if rate is not None and not fits(parse(rate), "budget", who):
            raise RateLimited(
                f"You have asked as often as you may ({rate}); wait a little and ask again",
                _wait_s(self._strategy, parse(rate), self._now(), "budget", who),
            )

    def _rate_of(self, caller: Caller) -> str | None:
        return self._rate if caller.rate_limit is None else OWN.get(caller.rate_limit, caller.rate_limit)


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
