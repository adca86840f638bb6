"""Virtual keys that were shown, and whose they are: remembered for a moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "sk-"
REMEMBERED_S = 2.0
"""How long a key that was revoked elsewhere may still be let in."""
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """A team as doors must know it; `models` None: it may use all."""

    team_id: str
    rate_limit: str | None = None
    models: frozenset[str] | None = None


class Keyring:
    """`find` looks a key up where they are kept: it may take its time, and raises Unauthorized and
    Unavailable. Only keys that are good are remembered."""

    def __init__(
        self,
        find: Callable[[str], Holder],
        monotonic: Callable[[], float],
        remembered_s: float = REMEMBERED_S,
    ) -> None:
        self._find = find
        self._monotonic = monotonic
        self._remembered_s = remembered_s
        self._known: OrderedDict[bytes, tuple[float, Holder]] = OrderedDict()

    def holder(self, key: str) -> Holder:
        """Whose key it is. Raises as `find` does."""
        digest, now_s = sha256(key.encode("utf-8", "replace")).digest(), self._monotonic()
        until_s, holder = self._known.get(digest, (now_s, None))
        if holder is not None and now_s < until_s:
            return holder
        self._known.pop(digest, None)
        found = self._find(key)
        self._known[digest] = (now_s + self._remembered_s, found)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return found

    def forget(self) -> None:
        """Look all of them up again: a key was revoked, or a team changed."""
        self._known.clear()
