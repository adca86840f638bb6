"""Who listens to a session."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

from backend.chat.errors import Unavailable
from backend.chat.news import News
from backend.chat.peers import Alone, Peers

Listener: TypeAlias = Callable[[News], None]
"""Called by whoever made the news: it must be quick and not fail."""


class Rooms:
    """A room for every session that somebody here listens to; what happens elsewhere is heard from the peers.

    The lock guards the listeners.
    """

    def __init__(self, peers: Peers | None = None) -> None:
        self._peers = peers or Alone()
        self._rooms: dict[tuple[str, str], list[Listener]] = {}
        self._lock = Lock()

    def join(self, owner: str, session_id: str, listener: Listener) -> bool:
        """Hear of it from now on; once, however often one joins. False if it was heard of before. Raises
        Unavailable."""
        with self._lock:
            room = self._rooms.setdefault((owner, session_id), [])
            is_new = listener not in room
            if is_new:
                room.append(listener)
        try:  # only now: who leaves meanwhile must see that somebody is left
            self._peers.join(owner, session_id)
        except Unavailable:
            if is_new:
                self.leave(owner, session_id, listener)
            raise
        return is_new

    def leave(self, owner: str, session_id: str, listener: Listener) -> None:
        with self._lock:
            room = self._rooms.get((owner, session_id), [])
            if listener not in room:
                return
            room.remove(listener)
            if room:
                return
            del self._rooms[owner, session_id]
        self._peers.leave(owner, session_id)

    def tell(self, owner: str, news: News) -> None:
        """Everybody who listens, here and elsewhere."""
        self.hear(owner, news)
        self._peers.tell(owner, news)

    def hear(self, owner: str, news: News) -> None:
        """What a peer told: those who listen here."""
        with self._lock:
            listeners = list(self._rooms.get((owner, news.session_id), ()))
        for listener in listeners:
            listener(news)
