"""A WSGI application's answer on its way to the client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from secrets import token_hex
from types import TracebackType
from typing import TypeAlias
from wsgiref.handlers import format_date_time

from backend.wire.framing import LastPiece

Fields: TypeAlias = list[tuple[str, str]]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write: TypeAlias = Callable[[bytes], None]

BODILESS = ("204", "304")
LAST_CHUNK = b"0\r\n\r\n"


class Answer:
    """The head leaves together with the first piece, every further piece as it comes, each in one
    write, and the end together with a LastPiece. Without a Content-Length pieces are chunks, or, for
    `old` clients of HTTP/1.0, all until the connection ends.

    `send` sends bytes; `may_keep` tells, when the head is made, whether the connection can go on after
    this answer; `keep` is what came of it. What breaks the framing raises ValueError.
    """

    def __init__(self, send: Write, may_keep: Callable[[], bool], old: bool, only_head: bool) -> None:
        self._send = send
        self._may_keep = may_keep
        self._old = old
        self._only_head = only_head
        self._status = ""
        self._fields: Fields = []
        self._chunked = False
        self._left: int | None = None
        self.keep = False
        self.begun = False
        self.whole = False

    def start(self, status: str, fields: Fields, exc_info: ExcInfo | None = None) -> Write:
        """WSGI's `start_response`: again only with `exc_info`, and then only before the first piece."""
        if exc_info and exc_info[1] and self.begun:
            raise exc_info[1]
        if self._status and not exc_info:
            raise ValueError("an answer is started once")
        self._status, self._fields = status, fields
        return self.write

    def write(self, piece: bytes) -> None:
        """Send one piece that is not empty."""
        head = b"" if self.begun else self._begin(None)
        if self.whole:
            self._send(head)
        elif self._chunked:
            self.whole = isinstance(piece, LastPiece)
            end = LAST_CHUNK if self.whole else b""
            self._send(b"%b%x\r\n%b\r\n%b" % (head, len(piece), piece, end))
        elif self._left is None:
            self._send(head + piece)
        else:
            self._left -= len(piece)
            if self._left < 0:
                raise ValueError("an answer is longer than its Content-Length")
            self._send(head + piece)

    def end(self) -> None:
        """There are no more pieces."""
        if not self.begun:
            self._send(self._begin(0))
        elif self._chunked and not self.whole:
            self._send(LAST_CHUNK)
        if self._left and not self.whole:
            raise ValueError("an answer is shorter than its Content-Length")
        self.whole = True

    def _begin(self, length: int | None) -> bytes:
        """The head, and how the body will be framed; `length` is the body's, where that is known."""
        if not self._status:
            raise ValueError("an answer was not started")
        given = {name.lower(): value for name, value in self._fields}
        ours = [] if "date" in given else [("Date", http_date(int(time.time())))]
        bodiless = self._status.startswith(BODILESS)
        self.whole = bodiless or self._only_head
        if "content-length" in given:
            self._left = int(given["content-length"])
        elif length is not None and not self.whole:
            self._left = length
            ours.append(("Content-Length", str(length)))
        elif not self._old and not bodiless:
            self._chunked = True
            ours.append(("Transfer-Encoding", "chunked"))
        self.keep = self._may_keep()
        if not self.keep:
            ours.append(("Connection", "close"))
        made = head(self._status, [*self._fields, *ours])
        self.begun = True
        return made


def head(status: str, fields: Fields) -> bytes:
    """Raises ValueError if it would not be read as these fields."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    text = "\r\n".join(lines)
    if text.count("\r") + text.count("\n") != 2 * len(fields) or "\0" in text:
        raise ValueError("a header may not hold a line end or NUL")
    return text.encode("latin-1") + b"\r\n\r\n"


def refusal(status: HTTPStatus, type_: str, sentence: str) -> bytes:
    """A whole answer in the shape of all errors, after which the connection is closed."""
    request_id = token_hex(8)
    fields = {"error": sentence, "code": status.value, "type": type_, "request_id": request_id}
    body = json.dumps(fields).encode()
    return head(f"{status.value} {status.phrase}", [
        ("Content-Type", "application/json"), ("Content-Length", str(len(body))),
        ("X-Request-Id", request_id), ("Date", http_date(int(time.time()))), ("Connection", "close"),
    ]) + body  # fmt: skip


@lru_cache(maxsize=1)
def http_date(epoch_s: int) -> str:
    return format_date_time(epoch_s)
