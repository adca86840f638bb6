"""The other processes that serve from the same stores."""

from __future__ import annotations

from typing import Protocol

from backend.chat.log import Log
from backend.chat.news import News


class Peers(Protocol):
    """What they are told is a courtesy to the quick: it may get lost, and then they find out for themselves,
    later."""

    name: str
    """What this process is called in the headers of its answers."""

    shared: bool
    """Whether there can be others: then a reader of this process's answers may be sent to them."""

    def stop(self, log: Log, reason: str) -> None:
        """Have the process that writes this answer stop it."""

    def followed(self, log: Log) -> bool:
        """Whether somebody elsewhere follows an answer that is written here."""

    def join(self, owner: str, session_id: str) -> None:
        """Hear of this session from now on. Raises Unavailable; `leave` then undoes what came of it."""

    def leave(self, owner: str, session_id: str) -> None:
        """Hear of it no more."""

    def tell(self, owner: str, news: News) -> None:
        """Pass it on to those who want to hear of its session. It neither waits nor raises."""


class Alone:
    """Peers of a process that has none."""

    name = ""
    shared = False

    def stop(self, log: Log, reason: str) -> None:
        pass

    def followed(self, log: Log) -> bool:  # noqa: ARG002
        return False

    def join(self, owner: str, session_id: str) -> None:
        pass

    def leave(self, owner: str, session_id: str) -> None:
        pass

    def tell(self, owner: str, news: News) -> None:
        pass
