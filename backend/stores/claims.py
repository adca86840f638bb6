"""What running answers hold in this process: their logs, their sessions, their idempotency keys."""

from __future__ import annotations

from threading import Lock

from backend.chat.errors import IdempotencyMismatch, SessionBusy
from backend.chat.events import Header
from backend.chat.log import Log
from backend.chat.requests import Idempotency


class Claims:
    """One running answer a session, one answer a key; a key is held until it is forgotten.

    The lock guards all three maps, so that of many who claim at once one wins.
    """

    def __init__(self) -> None:
        self._live: dict[str, Log] = {}
        self._sessions: dict[tuple[str, str], Log] = {}
        self._keys: dict[tuple[str, str], Header] = {}
        self._lock = Lock()

    def take(self, log: Log) -> Header:
        """Claim for a new log; the header of whoever held its key before, else its own. Raises
        IdempotencyMismatch and SessionBusy."""
        header = log.header
        with self._lock:
            if header.idempotency and (known := self._known(header.idempotency)):
                return known
            if header.session_id is not None:
                place = (header.owner, header.session_id)
                if place in self._sessions:
                    raise SessionBusy(self._sessions[place].header.stream_id)
                self._sessions[place] = log
            self._live[header.stream_id] = log
            self._remember(header)
            return header

    def remember(self, header: Header) -> None:
        """Hold the key of an answer that ended before this process began."""
        with self._lock:
            self._remember(header)

    def known(self, idempotency: Idempotency) -> Header | None:
        """Raises IdempotencyMismatch."""
        with self._lock:
            return self._known(idempotency)

    def live(self, stream_id: str) -> Log | None:
        return self._live.get(stream_id)

    def all_live(self) -> list[Log]:
        with self._lock:
            return list(self._live.values())

    def running(self, owner: str, session_id: str) -> Log | None:
        return self._sessions.get((owner, session_id))

    def leave(self, header: Header) -> None:
        """The answer no longer runs: its session is free."""
        with self._lock:
            self._live.pop(header.stream_id, None)
            if header.session_id is not None:
                self._sessions.pop((header.owner, header.session_id), None)

    def forget(self, header: Header) -> None:
        """Its key is free, unless a later answer has it by now."""
        if header.idempotency is None:
            return
        place = (header.idempotency.scope, header.idempotency.key)
        with self._lock:
            known = self._keys.get(place)
            if known and known.stream_id == header.stream_id:
                del self._keys[place]

    def _remember(self, header: Header) -> None:
        if header.idempotency:
            self._keys[header.idempotency.scope, header.idempotency.key] = header

    def _known(self, idempotency: Idempotency) -> Header | None:
        header = self._keys.get((idempotency.scope, idempotency.key))
        if header is not None and header.idempotency != idempotency:
            raise IdempotencyMismatch
        return header
