"""Who listens to a session, and what they are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal, TypeAlias

from backend.chat.log import Log

Change: TypeAlias = Literal["message", "title", "deleted"]


@dataclass(frozen=True, slots=True)
class News:
    """A session changed: a message came (a question, with its answer in `live`, or an answer's end),
    it has another title, or it is gone."""

    session_id: str
    change: Change
    live: Log | None = None


Listener: TypeAlias = Callable[[News], None]
"""Called by whoever made the news: it must be quick and not fail."""


class Rooms:
    """A room for every session that somebody listens to.

    The lock guards the listeners.
    """

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, str], list[Listener]] = {}
        self._lock = Lock()

    def join(self, owner: str, session_id: str, listener: Listener) -> None:
        """Hear of it from now on; once, however often one joins."""
        with self._lock:
            room = self._rooms.setdefault((owner, session_id), [])
            if listener not in room:
                room.append(listener)

    def leave(self, owner: str, session_id: str, listener: Listener) -> None:
        with self._lock:
            room = self._rooms.get((owner, session_id), [])
            if listener in room:
                room.remove(listener)
            if not room:
                self._rooms.pop((owner, session_id), None)

    def tell(self, owner: str, news: News) -> None:
        with self._lock:
            listeners = list(self._rooms.get((owner, news.session_id), ()))
        for listener in listeners:
            listener(news)
