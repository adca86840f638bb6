"""One answer read over as many connections as it takes: each event once, in order, without a gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from parley_client.doors import CALL_ID, QUESTION_ID, SESSION_ID, STREAM_ID, Door, Meaning
from parley_client.errors import BadAnswer, Interrupted, ParleyError
from parley_client.requests import Request
from parley_client.sse import Event, Parser

T = TypeVar("T")


class Cursor(Generic[T]):
    """Where a reader is. It does no I/O: `request` says what to send, `opened` and `read` take what came.

    Events are numbered by their ids, `<stream_id>:<n>`. If a server gives none, they are counted, and an
    answer that is come back to is read from its start and what was had is passed over.
    """

    def __init__(self, door: Door[T], stream_id: str | None = None, after: int = 0) -> None:
        self.stream_id = stream_id
        self.session_id: str | None = None
        self.question_id: str | None = None
        self.call_id: str | None = None
        self.begun = False
        self.ended = False
        self._door = door
        self._number = after
        self._last_id = f"{stream_id}:{after}" if stream_id else None
        self._has_read = False
        self._unnumbered = 0
        self._parser = Parser()

    @property
    def request(self) -> Request:
        """What to send for the next event, be it the first."""
        if self.stream_id is None or not self.begun:
            return self._door.ask
        return self._door.again(self.stream_id, self._last_id)

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        """A connection is there. Raises BadAnswer, or Interrupted if there is nothing more and was no end."""
        if status == 204:
            if self._has_read:
                raise Interrupted("The server has nothing more of this answer, and no end of it either")
            self.ended = True
            return
        if not headers.get("Content-Type", "").startswith("text/event-stream"):
            raise BadAnswer("The server answered with something that is no event stream", status=status)
        self.begun = True
        self.stream_id = self.stream_id or headers.get(STREAM_ID) or headers.get(CALL_ID)
        self.session_id = headers.get(SESSION_ID, self.session_id)
        self.question_id = headers.get(QUESTION_ID, self.question_id)
        self.call_id = headers.get(CALL_ID, self.call_id)
        self._unnumbered = 0
        self._parser = Parser()

    def read(self, data: bytes) -> Iterator[T]:
        """What is new in these bytes. Raises the error that the answer ended with, and BadAnswer."""
        for event in self._parser.read(data):
            number = self._number_of(event)
            meaning = self._meaning(event)
            if not meaning.is_last and meaning.back_to is None:
                if number <= self._number:
                    continue
                if number > self._number + 1:
                    raise BadAnswer(f"The server left out what stands between {self._number} and {number}")
            self._number = number if meaning.back_to is None else meaning.back_to
            self._last_id = event.id or None
            self._has_read = True
            self.ended = meaning.is_last
            if meaning.item is not None:
                yield meaning.item
            if self.ended:
                return

    def _meaning(self, event: Event) -> Meaning[T]:
        try:
            return self._door.meaning(event.data)
        except ParleyError:
            self.ended = True
            raise

    def _number_of(self, event: Event) -> int:
        if not event.id:
            self._unnumbered += 1
            return self._unnumbered
        stream_id, _, number = event.id.rpartition(":")
        self.stream_id = self.stream_id or stream_id
        if stream_id != self.stream_id or not number.isdecimal():
            raise BadAnswer(f"The server sent an event of something else: {event.id[:100]!r}")
        return int(number)
