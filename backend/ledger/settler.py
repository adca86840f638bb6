"""Calls of this process on their way into the ledger: each is tried until it is there."""

from __future__ import annotations

import logging
from threading import Lock

from backend.chat.errors import NotFound, Unavailable
from backend.chat.ports import Runtime
from backend.ledger.desk import Desk
from backend.ledger.records import Outcome

logger = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""So long an answer's end waits for its settlement: whoever has seen it can mostly see the bill."""
PAUSES_S = (0.2, 1.0, 5.0)


class Settler:
    """The lock guards `_running`, the calls begun here that the ledger does not know to have ended, of which
    the leases are to be renewed, and `_settling`, how many are on their way."""

    def __init__(self, desk: Desk, runtime: Runtime) -> None:
        self._desk = desk
        self._runtime = runtime
        self._running: set[str] = set()
        self._settling = 0
        self._changed = runtime.signal()
        self._lock = Lock()
        self._closed = False

    @property
    def running(self) -> list[str]:
        """Their stream ids."""
        with self._lock:
            return list(self._running)

    @property
    def settling(self) -> int:
        """How many have ended and are not in the ledger yet."""
        return self._settling

    def began(self, stream_id: str) -> None:
        with self._lock:
            self._running.add(stream_id)

    def forget(self, stream_id: str) -> None:
        """It is settled, or somebody else's."""
        with self._lock:
            self._running.discard(stream_id)
        self._changed.notify()

    def settle(self, outcome: Outcome, patience_s: float = PATIENCE_S) -> None:
        """Have it settled; waits for that no longer than `patience_s`."""
        stream_id = outcome.stream_id
        self._runtime.spawn(lambda: self._keep_trying(outcome))
        self._changed.wait_for(lambda: stream_id not in self._running, patience_s)

    def close(self, patience_s: float) -> None:
        """Wait for what is on its way; the rest is left to whoever finds its lease run out."""
        self._changed.wait_for(lambda: not self._running, patience_s)
        self._closed = True

    def _keep_trying(self, outcome: Outcome) -> None:
        tries = 0
        self._count(1)
        try:
            while not self._tried(outcome) and not self._closed:
                self._runtime.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
                tries += 1
        finally:
            self._count(-1)
        self.forget(outcome.stream_id)

    def _count(self, more: int) -> None:
        with self._lock:
            self._settling += more

    def _tried(self, outcome: Outcome) -> bool:
        """Whether it needs no further try."""
        named = {"stream_id": outcome.stream_id}
        try:
            self._desk.ledger.settle(outcome)
        except Unavailable:
            logger.warning("a call cannot be settled just now; it is tried again", extra=named)
            return False
        except NotFound:
            logger.info("a call that never began is not settled", extra=named)
        except Exception:
            logger.exception("a call cannot be settled; it is left to be found", extra=named)
        return True
