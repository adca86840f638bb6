"""Server-sent events, from bytes in any pieces."""

from __future__ import annotations

MAX_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


class EventReader:
    """Takes a stream's bytes in any pieces and gives the data of its events, as soon as they are whole.

    Lines end in CR, LF or CRLF and in nothing else, so they are cut as bytes; the pieces of a line
    without its end are joined only once, or a slow long line would cost its square. `overlong` is set,
    and nothing more read, once a line or an event passes MAX_LINE_BYTES.
    """

    def __init__(self) -> None:
        self.overlong = False
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._data_size = 0
        self._held = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that these bytes complete."""
        size = len(data)
        if b"\r" in data or self._after_cr:
            data = self._with_lf(data)
        if self.overlong or b"\n" not in data:
            self._line.append(data)
            self._hold(self._held + size)
            return []
        lines = data.split(b"\n")
        if self._line:
            lines[0] = b"".join([*self._line, lines[0]])
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(BOM)
        rest = lines.pop()
        self._line = [rest] if rest else []
        if self._held + size > MAX_LINE_BYTES:
            lines = self._up_to_overlong(lines)
        events = self._events(lines)
        self._hold(self._data_size + len(rest))
        return events

    def end(self) -> list[bytes]:
        """The event that only lacked its empty line; a line without its end is dropped."""
        data, self._data = self._data, []
        return [b"\n".join(data)] if data else []

    def _with_lf(self, data: bytes) -> bytes:
        """The bytes with every line end as LF; a CR's own LF may come with the next bytes."""
        if not data:
            return data
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        known = len(data)
        for line in lines:
            if not line:
                if data:
                    events.append(b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data: "):
                data.append(line[6:])
            elif line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
        if events:
            self._data_size = known = 0
        self._data_size += sum(len(line) + 1 for line in data[known:])
        return events

    def _hold(self, size: int) -> None:
        self._held = size
        if size > MAX_LINE_BYTES:
            self.overlong = True
            self._line.clear()

    def _up_to_overlong(self, lines: list[bytes]) -> list[bytes]:
        for number, line in enumerate(lines):
            if len(line) > MAX_LINE_BYTES:
                self.overlong = True
                return lines[:number]
        return lines
