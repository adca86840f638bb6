"""Server-sent events from bytes, however they were cut (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from parley_client.errors import BadAnswer

MAX_EVENT_BYTES = 32 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is empty where the event has none of its own."""

    id: str
    data: str


class Parser:
    """One connection's. What is left unfinished when the line ends is no event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._id = b""
        self._held = 0

    def read(self, piece: bytes) -> Iterator[Event]:
        """The events that are complete with this piece. Raises BadAnswer."""
        self._held += len(piece)
        if self._held > MAX_EVENT_BYTES:
            raise BadAnswer(f"The server sent an event of over {MAX_EVENT_BYTES} bytes")
        data = self._rest + piece
        at = 0
        for end in _LINE_END.finditer(data):
            if end.group() == b"\r" and end.end() == len(data):
                break  # the rest of this line end may come with the next piece
            line, at = data[at : end.start()], end.end()
            if line:
                self._take(line)
            elif self._data:
                yield self._event()
        self._rest = data[at:]

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id":
            self._id = value

    def _event(self) -> Event:
        try:
            event = Event(self._id.decode(), b"\n".join(self._data).decode())
        except UnicodeDecodeError as exc:
            raise BadAnswer("The server sent an event that is not UTF-8") from exc
        self._data, self._id, self._held = [], b"", 0
        return event
