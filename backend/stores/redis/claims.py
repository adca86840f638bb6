"""What a running answer holds against others: its session, and its idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import orjson

from backend.chat.errors import IdempotencyMismatch, NotFound, SessionBusy, StreamExpired
from backend.chat.events import Header
from backend.chat.log import Log
from backend.chat.requests import Idempotency
from backend.stores.redis import holdings
from backend.stores.redis.keys import SessionKeys, idempotency_key
from backend.stores.redis.link import Link

Find: TypeAlias = Callable[[str], Log | None]
OfOwner: TypeAlias = Callable[[str, str, Log | None], Log]


class Claims:
    """A claim whose answer has ended, or is not there, holds nothing. `find` gives an answer by its id;
    `of_owner` the same if it is that owner's, and raises NotFound and StreamExpired. Answers are kept for
    `kept_s` after their end."""

    def __init__(self, link: Link, kept_s: int, find: Find, of_owner: OfOwner) -> None:
        self._link = link
        self._kept_s = kept_s
        self._find = find
        self._of_owner = of_owner

    def by_key(self, idempotency: Idempotency) -> Log | None:
        """The answer a key belongs to. Raises IdempotencyMismatch."""
        held = self._link.get("GET", idempotency_key(idempotency))
        return self._of_key(idempotency, held) if held else None

    def running(self, owner: str, session_id: str) -> Log | None:
        """The answer a session is giving now."""
        return self._running(self._link.get("GET", SessionKeys(owner, session_id).claim))

    def session(self, header: Header) -> Log | None:
        """Claim the session if there is one. Gives the answer that holds it for the same key. Raises
        SessionBusy, and IdempotencyMismatch."""
        if header.session_id is None:
            return None
        held = self._link.get(*holdings.claim_session(header, self._kept_s))
        while held is not None:
            running = self._running(held)
            if running is not None:
                return joined_by(header, running)
            held = self._link.get(*holdings.claim_session(header, self._kept_s, held))
        return None

    def key(self, header: Header) -> Log | None:
        """Claim the key if there is one. Gives the answer it belongs to if that is another."""
        if header.idempotency is None:
            return None
        held = self._link.get(*holdings.claim_key(header, header.idempotency))
        while held is not None:
            if known := self._of_key(header.idempotency, held):
                return known
            held = self._link.get(*holdings.claim_key(header, header.idempotency, held))
        return None

    def _running(self, held: bytes | None) -> Log | None:
        """The answer a claim belongs to, if it runs."""
        log = self._find(held.decode()) if held else None
        return log if log is not None and log.closing is None else None

    def _of_key(self, idempotency: Idempotency, held: bytes) -> Log | None:
        """The answer a known key belongs to; None if that is no longer kept."""
        owner, stream_id, fingerprint = orjson.loads(held)
        try:
            log = self._of_owner(owner, stream_id, self._find(stream_id))
        except (StreamExpired, NotFound):
            return None
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch
        return log


def joined_by(header: Header, running: Log) -> Log:
    """The answer that holds the session, for one who asks with the same key; for everybody else the session
    is busy."""
    mine, theirs = header.idempotency, running.header.idempotency
    if mine is None or theirs is None or (mine.scope, mine.key) != (theirs.scope, theirs.key):
        raise SessionBusy(running.header.stream_id)
    if mine.fingerprint != theirs.fingerprint:
        raise IdempotencyMismatch
    return running
