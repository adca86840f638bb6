"""HTTP/1.1 as it is framed: the head of an answer, and its body taken out of lengths and chunks."""

from __future__ import annotations

import http.client
import io
import re
from dataclasses import dataclass
from email.message import Message
from typing import Protocol

MAX_SIZE_LINE_BYTES = 4_096
NEXT_CHUNK = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: |$)")


class Body(Protocol):
    """The framing of one answer's body. `broken` once the upstream breaks its rules, `surplus` when
    there are bytes after the end."""

    done: bool
    broken: bool
    surplus: bool

    def feed(self, data: bytes) -> bytes:
        """What these bytes hold of the body."""


class UntilClosed:
    """A body that ends where the connection does."""

    done = broken = surplus = False

    def feed(self, data: bytes) -> bytes:
        return data


class Sized:
    """A body of a length told in advance."""

    broken = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        self.surplus = len(data) > self._left
        data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data


class Chunked:
    """A body in chunks, each after a line with its size; a part of a chunk is given at once."""

    def __init__(self) -> None:
        self.done = self.broken = self.surplus = False
        self._rest = b""
        self._left = 0
        self._expects = "size"

    def feed(self, data: bytes) -> bytes:
        data = self._rest + data if self._rest else data
        pieces = []
        at = 0
        while not (self.done or self.broken):
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._expects = "gap"
                # Nearly always the next chunk's plain size follows, and can be taken in one go.
                if (following := NEXT_CHUNK.match(data, at)) and (size := int(following[1], 16)):
                    self._left, self._expects, at = size, "data", following.end()
                    continue
            end = data.find(b"\r\n", at)
            if (len(data) if end < 0 else end) - at > MAX_SIZE_LINE_BYTES:
                self.broken = True
            if self.broken or end < 0:
                break
            self._read_line(data[at:end])
            at = end + 2
        self._rest = data[at:]
        self.surplus = self.done and bool(self._rest)
        return b"".join(pieces)

    def _read_line(self, line: bytes) -> None:
        if self._expects == "size":
            self._left = size_of_chunk(line)
            self.broken = self._left < 0
            self._expects = "data" if self._left else "trailer"
        elif self._expects == "gap":
            self.broken = line != b""
            self._expects = "size"
        else:
            self.done = line == b""


def size_of_chunk(line: bytes) -> int:
    """-1 if the line tells none."""
    try:
        return max(int(line.partition(b";")[0], 16), -1)
    except ValueError:
        return -1


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins: its status and its headers."""

    status: int
    headers: Message
    may_stay: bool

    @property
    def media_type(self) -> str:
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()

    def body(self) -> Body:
        """The framing these headers announce."""
        coding = self.headers.get("Transfer-Encoding", "").strip().lower()
        length = self.headers.get("Content-Length", "").strip()
        if coding == "chunked":
            return Chunked()
        if coding or (length and not (length.isascii() and length.isdigit())):
            raise http.client.HTTPException("a framing that is not known")
        return Sized(int(length)) if length else UntilClosed()


def head_of(data: bytes) -> Head:
    """Raises HTTPException if it is none."""
    line, _, fields = data.partition(b"\n")
    match = STATUS_LINE.match(line.rstrip(b"\r"))
    if not match:
        raise http.client.BadStatusLine("no status line")
    headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    stays = match[1] == b"1" and "close" not in headers.get("Connection", "").lower()
    return Head(int(match[2]), headers, stays)
