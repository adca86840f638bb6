"""What is told of a session to those who listen to it."""

from __future__ import annotations

from dataclasses import dataclass
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
