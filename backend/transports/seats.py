"""Everybody who is connected over a socket, and who must leave: whose token has run out, and all of them
when the server goes away."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from backend.access.gate import Gate
from backend.chat.errors import Unauthorized, Unavailable
from backend.chat.ports import Runtime
from backend.transports.connection import Connection
from backend.transports.lines import Visit
from backend.wire.errors import chat_error

logger = logging.getLogger(__name__)

LINGER_S = 2.0
"""While draining: how long a socket that follows nothing may stay, to take its answer up again."""
DRAIN_POLL_S = 0.02
RECONNECT_MS = (1000, 5000)


@dataclass(slots=True)
class Seat:
    """One of them: when their token is looked at again, and since when they are idle while the server
    drains."""

    sid: str
    connection: Connection
    visit: Visit
    recheck_at_s: float
    idle_since_s: float | None = None


class Seats:
    def __init__(
        self, gate: Gate, runtime: Runtime, recheck_s: float, disconnect: Callable[[str], None]
    ) -> None:
        """`disconnect` ends the Socket.IO connection of that id."""
        self._gate = gate
        self._runtime = runtime
        self._recheck_s = recheck_s
        self._disconnect = disconnect
        self._seats: dict[str, Seat] = {}
        self._handed_over = False

    def __len__(self) -> int:
        return len(self._seats)

    def take(self, sid: str, connection: Connection, visit: Visit) -> Seat:
        seat = Seat(sid, connection, visit, self._runtime.monotonic() + self._recheck_s)
        self._seats[sid] = seat
        return seat

    def find(self, sid: str) -> Seat | None:
        return self._seats.get(sid)

    def leave(self, sid: str) -> Seat | None:
        """Whose it was; None if they had left."""
        seat = self._seats.pop(sid, None)
        if seat is not None:
            seat.connection.close()
        return seat

    def tend(self, draining: bool, handing_over: bool) -> None:
        """What must be done every second or so: look at tokens again, and while the server drains send
        away who waits for nothing; once all, if another process has the rest of what they wait for. Who has
        come since then found no other."""
        all_leave, self._handed_over = handing_over and not self._handed_over, handing_over
        for seat in list(self._seats.values()):
            self._recheck(seat)
            if all_leave:
                self._send_away(seat)
            elif draining:
                self._drain(seat)

    def drain(self) -> None:
        """Let the ends of answers be sent, and send everybody away."""
        until_s = self._runtime.monotonic() + LINGER_S
        while self._runtime.monotonic() < until_s and not all(
            seat.connection.idle for seat in self._seats.values()
        ):
            self._runtime.sleep(DRAIN_POLL_S)
        for seat in list(self._seats.values()):
            self._send_away(seat)

    def check(self, seat: Seat) -> None:
        """A token holds for its connection only as long as it would open another: else its client is told
        and disconnected, and Unauthorized raised."""
        if seat.connection.token is None:
            return
        seat.recheck_at_s = self._runtime.monotonic() + self._recheck_s
        try:
            self._gate.identify(seat.connection.token, seat.visit.address)
        except Unauthorized as error:
            seat.connection.emit("auth_expired", chat_error(error, None))
            self._runtime.spawn(partial(self._disconnect, seat.sid))
            raise
        except Unavailable:
            logger.warning("a socket's token could not be looked at again; it stays for now")

    def _recheck(self, seat: Seat) -> None:
        if self._runtime.monotonic() >= seat.recheck_at_s:
            with suppress(Unauthorized):
                self.check(seat)

    def _drain(self, seat: Seat) -> None:
        now_s = self._runtime.monotonic()
        if not seat.connection.idle:
            seat.idle_since_s = None
        elif seat.idle_since_s is None:
            seat.idle_since_s = now_s
        elif now_s - seat.idle_since_s >= LINGER_S:
            self._send_away(seat)

    def _send_away(self, seat: Seat) -> None:
        seat.connection.emit("server_draining", {"reconnect_in_ms": random.randint(*RECONNECT_MS)})
        self._disconnect(seat.sid)
