"""A connection to an upstream and the HTTP/1.1 on it, by hand, so that every byte is given on as it
arrives; and the time limits it keeps to."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from urllib3.util.wait import wait_for_read

from backend.providers.framing import Head, UntilClosed, head_of

READ_BYTES = 16_384
MAX_HEAD_BYTES = 65_536
MAX_INTERIM = 20
MAX_IDLE_S = 30.0
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long an upstream may take: to be reached, from the request to the first byte of the answer's
    body, between two reads of it, and for all together, retries included."""

    connect_s: float = 5
    first_byte_s: float = 60
    between_s: float = 30
    total_s: float = 600


class TooSlow(Exception):
    """A time limit ran out; `limit` is its name in `TimeLimits`."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class NoAnswer(ConnectionError):
    """The upstream hung up before the first byte of an answer."""


class Timer:
    """The time one answer may still take."""

    def __init__(self, limits: TimeLimits) -> None:
        self.limits = limits
        self._ends_s = time.monotonic() + limits.total_s

    def left_s(self) -> float:
        return self._ends_s - time.monotonic()

    @contextmanager
    def until(self, limit: str, ends_s: float) -> Iterator[float]:
        """The seconds that what is inside may block. Its TimeoutError becomes TooSlow with the limit
        that ran out: this one or the total."""
        if ends_s > self._ends_s:
            limit, ends_s = "total_s", self._ends_s
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise TooSlow(limit)
        try:
            yield left_s
        except TimeoutError as exc:
            raise TooSlow(limit) from exc


class Connection:
    """A socket to the upstream and the HTTP on it: a request, its answer to the end, the next request."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self._idle_since_s = 0.0

    def handshake(self, timer: Timer, ends_s: float) -> None:
        """Agree on TLS, if this is a TLS connection."""
        if isinstance(self._sock, ssl.SSLSocket):
            with timer.until("connect_s", ends_s) as left_s:
                self._sock.settimeout(left_s)
                self._sock.do_handshake()

    def ask(self, request: bytes, timer: Timer) -> Head:
        """Send a request and wait for the head of its answer. Raises NoAnswer."""
        self._timer = timer
        self._first_ends_s = time.monotonic() + timer.limits.first_byte_s
        self._begun = False
        try:
            with timer.until("first_byte_s", self._first_ends_s) as left_s:
                self._sock.settimeout(left_s)
                # An upstream may refuse and hang up before it has read everything: listen all the same.
                with suppress(BrokenPipeError):
                    self._sock.sendall(request)
            head = self._read_head()
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise NoAnswer("no answer") from exc
        self._body = head.body()
        self._stays = head.may_stay
        return head

    def read(self, wait_s: float) -> bytes:
        """What there is of the body as soon as there is anything, b"" at its end. Waits this long, but
        `first_byte_s` for the first byte. Raises IncompleteRead if the connection ends before it."""
        body = self._body
        while not body.done:
            if body.broken:
                raise http.client.HTTPException("a chunk without a size")
            data, self._unread = self._unread, b""
            data = data or self._receive(wait_s)
            if not data and isinstance(body, UntilClosed):
                return b""
            if not data:
                raise http.client.IncompleteRead(b"")
            self._begun = True
            if piece := body.feed(data):
                return piece
        return b""

    def read_all(self, wait_s: float, max_bytes: int) -> bytes:
        """The whole body. Raises HTTPException if it is longer."""
        pieces = []
        while piece := self.read(wait_s):
            pieces.append(piece)
            max_bytes -= len(piece)
            if max_bytes < 0:
                raise http.client.HTTPException("a body that is too long")
        return b"".join(pieces)

    def finish(self, wait_s: float) -> None:
        """Read the few bytes that end the framing, if the connection can be used again."""
        if self._stays and not isinstance(self._body, UntilClosed):
            with suppress(OSError, EOFError, http.client.HTTPException, TooSlow):
                self.read(wait_s)

    @property
    def whole(self) -> bool:
        """The answer was read to its end and the upstream will take another request."""
        return self._stays and self._body.done and not (self._body.surplus or self._unread)

    def rest(self) -> None:
        self._idle_since_s = time.monotonic()

    @property
    def alive(self) -> bool:
        """Fresh enough, and silent: what an idle connection has to say is that it is closed."""
        return time.monotonic() - self._idle_since_s < MAX_IDLE_S and not wait_for_read(self._sock, 0)

    def cut(self) -> None:
        """End it now, from any thread; whoever waits on it wakes up."""
        with suppress(OSError, ValueError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def _read_head(self) -> Head:
        """The head of the answer, past those that only say that it will come (RFC 9110, 15.2)."""
        for _ in range(MAX_INTERIM):
            head = self._read_one_head()
            if not 100 <= head.status < 200:
                return head
        raise http.client.HTTPException("too many interim answers")

    def _read_one_head(self) -> Head:
        data, self._unread = self._unread, b""
        while not (end := END_OF_HEAD.search(data)):
            more = self._receive(0)
            if not more:
                raise http.client.IncompleteRead(data) if data else NoAnswer("no answer")
            data += more
            if len(data) > MAX_HEAD_BYTES:
                raise http.client.HTTPException("a head that is too long")
        self._unread = data[end.end() :]
        return head_of(data[: end.start()])

    def _receive(self, wait_s: float) -> bytes:
        limit, ends_s = "first_byte_s", self._first_ends_s
        if self._begun:
            limit, ends_s = "between_s", time.monotonic() + wait_s
        with self._timer.until(limit, ends_s) as left_s:
            self._sock.settimeout(left_s)
            return self._sock.recv(READ_BYTES)
