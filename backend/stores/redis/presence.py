"""Which processes are alive: each has a lease that it renews while it is."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from backend.chat.errors import Unavailable
from backend.chat.ids import new_id
from backend.chat.ports import Runtime
from backend.chat.stop import Stop
from backend.stores.redis.keys import PROCESSES, ProcessKeys
from backend.stores.redis.link import Link

logger = logging.getLogger(__name__)

RENEWED = 0.2
HELD = 0.6
PATIENCE = 0.4
"""Parts of LEASE_S: a lease is renewed so often, holds so long, and nobody is taken for dead by one who has
not been in touch, with a lease, for so long himself: the others may have had no means to renew theirs either.
Together a dead process's answers are closed within LEASE_S."""


class Presence:
    """This process's lease, and who has none any more.

    `lapsed_s` is when this process last found that its lease had run out: from then on the others may have
    ended what it wrote.
    """

    def __init__(self, link: Link, runtime: Runtime, ending: Stop, lease_s: float) -> None:
        self.name = new_id()
        self.alive = 1
        """How many processes there are, as far as this one knows."""
        self._link = link
        self._runtime = runtime
        self._lease_s = lease_s
        self._renewed_s = runtime.monotonic()
        self._longest_s = 0.0
        self.lapsed_s = 0.0
        self._ending = ending

    def keep(self) -> None:
        """Renew the lease until the end."""
        while not self._ending.requested:
            try:
                self.renew()
            except Unavailable:
                if not self._link.up:
                    self._link.wait_up(self._lease_s)
                    continue
            except Exception:
                logger.exception("this process's lease could not be renewed; trying again")
            self._ending.wait(RENEWED * self._lease_s)

    def renew(self) -> None:
        """Raises Unavailable. A full Redis still lets a lease be renewed that it has."""
        lease, held_ms = ProcessKeys(self.name).lease, round(HELD * self._lease_s * 1000)
        asked_s = self._runtime.monotonic()
        held, known = self._link.do(("PEXPIRE", lease, held_ms), ("ZSCORE", PROCESSES, self.name))
        away_s = self.away_s
        if away_s > HELD * self._lease_s:
            logger.warning("this process was away for so long that others may have ended its answers")
        if not held or away_s > HELD * self._lease_s:
            self.lapsed_s = self._runtime.monotonic()
        self._longest_s = max(self._longest_s, away_s)
        if not held or known is None:
            self._link.do(
                ("SET", lease, 1, "PX", held_ms), ("ZADD", PROCESSES, round(time.time()), self.name)
            )
        self._renewed_s = asked_s

    @property
    def away_s(self) -> float:
        """How long ago it was last in touch."""
        return self._runtime.monotonic() - self._renewed_s

    def held_since(self, since_s: float) -> bool:
        """Whether the lease has been held all the time since then."""
        return self.away_s <= HELD * self._lease_s and self.lapsed_s < since_s

    def never_away_for(self, seconds: float) -> bool:
        return max(self._longest_s, self.away_s) < seconds

    def gone(self) -> list[str]:
        """Processes whose lease has run out, each for one caller at a time. Raises Unavailable."""
        names = [name.decode() for name in self._link.get("ZRANGE", PROCESSES, 0, -1)]
        leases = self._link.do(*[("EXISTS", ProcessKeys(name).lease) for name in names])
        gone = [name for name, there in zip(names, leases, strict=True) if not there and name != self.name]
        self.alive = max(1, len(names) - len(gone))
        since_s = self._runtime.monotonic() - PATIENCE * self._lease_s
        out_of_touch_s = max(self._link.changed_s, self._link.stalled_s)
        if not gone or out_of_touch_s > since_s or not self.held_since(since_s):
            return []
        taken_ms = round(self._lease_s * 1000)
        takes = [("SET", ProcessKeys(name).reaper, self.name, "NX", "PX", taken_ms) for name in gone]
        return [name for name, mine in zip(gone, self._link.do(*takes), strict=True) if mine]

    def buried(self, name: str) -> None:
        """All that this process had been writing is ended."""
        self._link.do(("ZREM", PROCESSES, name), ("DEL", ProcessKeys(name).reaper))

    def leave(self) -> None:
        """This process ends. What it leaves behind, because Redis was away or full, others end."""
        keys = ProcessKeys(self.name)
        with suppress(Unavailable):
            _, left = self._link.do(("DEL", keys.lease), ("SCARD", keys.live))
            if not left:
                self._link.do(("ZREM", PROCESSES, self.name))
