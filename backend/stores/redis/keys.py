"""What everything is called in Redis.

What is in braces decides on which node of a Cluster a key is: keys that are used together share it.
"""

from __future__ import annotations

from hashlib import sha256

import orjson

from backend.chat.events import Header
from backend.chat.requests import Idempotency

PREFIX = "parley:"


class StreamKeys:
    """One answer's."""

    __slots__ = ("log", "stop", "tombstone")

    def __init__(self, stream_id: str) -> None:
        self.log = f"{PREFIX}{{{stream_id}}}:log"
        self.tombstone = f"{PREFIX}{{{stream_id}}}:owner"
        self.stop = f"{PREFIX}{{{stream_id}}}:stop"


class SessionKeys:
    """One session's. All of an owner's sessions are together with their index; those of callers without a
    name, who may be many and are shown no list, each for itself."""

    __slots__ = ("answers", "claim", "index", "listeners", "messages", "numbers", "session")

    def __init__(self, owner: str, session_id: str) -> None:
        place = f"{PREFIX}{{{owner or session_id}}}:{session_id}"
        self.session = f"{place}:session"
        self.messages = f"{place}:messages"
        self.numbers = f"{place}:numbers"
        self.claim = f"{place}:claim"
        self.answers = f"{place}:answers"
        self.listeners = f"{place}:listeners"
        self.index = index_key(owner)


def index_key(owner: str) -> str:
    return f"{PREFIX}{{{owner}}}:sessions"


def idempotency_key(idempotency: Idempotency) -> str:
    """Digested: the client chose it, and in braces it could mean something."""
    digest = sha256(f"{idempotency.scope}\0{idempotency.key}".encode()).hexdigest()
    return f"{PREFIX}{{{digest}}}:key"


def key_value(header: Header) -> bytes:
    """What is kept under an answer's idempotency key."""
    fingerprint = header.idempotency.fingerprint if header.idempotency else None
    return orjson.dumps([header.owner, header.stream_id, fingerprint])


def window_key(name: str) -> str:
    return f"{PREFIX}{{{name}}}:window"


def caller_key(header: Header) -> str:
    """What its caller has running; as `Caps` names callers."""
    return f"{PREFIX}{{{header.owner or header.address}}}:running"


PROCESSES = f"{PREFIX}processes"


class ProcessKeys:
    """One process's."""

    __slots__ = ("lease", "live", "reaper")

    def __init__(self, process: str) -> None:
        self.lease = f"{PREFIX}{{{process}}}:lease"
        self.live = f"{PREFIX}{{{process}}}:live"
        self.reaper = f"{PREFIX}{{{process}}}:reaper"


def channel(process: str) -> str:
    """Where it hears from the others."""
    return f"{PREFIX}{process}"
