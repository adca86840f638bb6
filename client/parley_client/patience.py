"""How long a client waits, and when it asks again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from parley_client.errors import (
    BadAnswer,
    ConnectionLost,
    ParleyError,
    RateLimited,
    Unavailable,
    Unreachable,
)

GATEWAYS = frozenset({502, 503, 504})
"""Statuses with which a proxy says that it had no answer. With an error of Parley's own in the body they are
verdicts, which the same idempotency key would only bring back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times in seconds. The server fills a stream's silence every 15 s."""

    connect_s: float = 5.0
    answer_s: float = 630.0
    """For a model's answer that comes whole."""
    silence_s: float = 45.0
    """For any other answer, and for the next byte of a stream."""
    attempts: int = 5
    """Requests for one answer, until a server has it."""
    reconnects: int = 20
    """Connections in a row that bring nothing of an answer that had begun."""
    give_up_s: float = 120.0
    """All of those together."""
    pause_s: float = 0.25
    """Before the second attempt; doubled each time, and drawn from the upper half of that."""
    longest_pause_s: float = 5.0
    longest_wait_s: float = 60.0
    """A longer Retry-After is not waited for."""


class Outage:
    """What has gone wrong since the last sign of life, and whether to go on trying."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._since_s = time.monotonic()

    @property
    def requests(self) -> int:
        return self._failures + 1

    def alive(self) -> None:
        """Bytes came; that alone does not make the line a good one."""
        self._since_s = time.monotonic()

    def over(self) -> None:
        """Something new came."""
        self._failures = 0
        self.alive()

    def pause_s(self, failure: ParleyError, begun: bool = False) -> float:
        """How long to wait before the next attempt. Raises the failure if there is to be none."""
        patience = self._patience
        self._failures += 1
        failure.requests = self._failures
        pause_s = max(self._backoff_s(), failure.retry_after or 0.0)
        late = time.monotonic() - self._since_s + pause_s > patience.give_up_s
        often = self._failures >= (patience.reconnects if begun else patience.attempts)
        if late or often or (failure.retry_after or 0.0) > patience.longest_wait_s:
            raise failure
        return pause_s

    def _backoff_s(self) -> float:
        patience = self._patience
        longest_s = min(patience.longest_pause_s, patience.pause_s * 2.0 ** min(self._failures - 1, 30))
        return longest_s * random.uniform(0.5, 1.0)


def may_repeat(failure: ParleyError, repeatable: bool) -> bool:
    """Whether asking again may help, and does no harm. `repeatable`: arriving twice is as good as once."""
    if isinstance(failure, RateLimited):
        return bool(failure.extras.get("should_retry", True))
    if isinstance(failure, Unreachable | Unavailable):
        return True
    if isinstance(failure, BadAnswer):
        return repeatable and failure.status in GATEWAYS
    return isinstance(failure, ConnectionLost) and repeatable
