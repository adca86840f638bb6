"""How many answers run at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Lock

from backend.chat.errors import Unavailable
from backend.chat.events import Closing, Header
from backend.chat.log import Log
from backend.chat.ports import Asking


class Caps:
    """An admission: so many running answers for the process, so many for one caller.

    `everywhere` is how many the caller of an answer has running in all processes, this one included, when
    others are to be counted as well. The lock guards the counter.
    """

    def __init__(
        self,
        max_streams: int,
        max_streams_per_caller: int,
        everywhere: Callable[[Header], int] | None = None,
    ) -> None:
        self._max_streams = max_streams
        self._max_per_caller = max_streams_per_caller
        self._everywhere = everywhere or (lambda _header: 0)
        self._running: Counter[str] = Counter()
        self._lock = Lock()

    def admit(self, asking: Asking) -> None:
        header = asking.log.header
        who = header.owner or header.address
        with self._lock:
            self._check_room()
            if max(self._running[who] + 1, self._everywhere(header)) > self._max_per_caller:
                raise Unavailable(
                    f"You have {self._max_per_caller} answers running, the most one caller may have; "
                    "wait for one to end or stop one"
                )
            self._running[who] += 1

    def resume(self, header: Header) -> None:
        with self._lock:
            self._check_room()
            self._running[header.owner or header.address] += 1

    def _check_room(self) -> None:
        if self._running.total() >= self._max_streams:
            raise Unavailable("The server is giving as many answers as it can; try again in a moment")

    def settle(self, log: Log, closing: Closing) -> None:  # noqa: ARG002
        self.let_go(log)

    def withdraw(self, log: Log) -> None:
        self.let_go(log)

    def let_go(self, log: Log) -> None:
        who = log.header.owner or log.header.address
        with self._lock:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]
