"""What a client sends, read in time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from backend.wire.framing import MAX_HEAD_BYTES, MAX_REQUEST_LINE

SEND_S = 120.0
"""How long a client may take nothing of what is sent to it."""

_RECV_BYTES = 65_536
_END_OF_HEAD = re.compile(rb"\n\r?\n")


class Incoming:
    """A buffer in front of a socket. Reading raises TimeoutError when its time is over, and other
    OSErrors when the line breaks."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = bytearray()
        self._until_s = 0.0

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All that is read inside must arrive in this time, however it trickles."""
        self._until_s = time.monotonic() + seconds
        try:
            yield
        finally:
            self._socket.settimeout(SEND_S)

    @property
    def waiting(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(self._data)

    def wait(self) -> bool:
        """Until something comes; False if the client has ended instead."""
        return bool(self._data) or self._receive()

    def read_head(self) -> bytes:
        """All up to and with the blank line that ends a head. Without that line if the client ended
        early, or sent more than any head may be."""
        seen = 0
        while (found := _END_OF_HEAD.search(self._data, max(seen - 2, 0))) is None:
            seen = len(self._data)
            if seen > MAX_REQUEST_LINE + MAX_HEAD_BYTES or not self._receive():
                return self.take()
        return self._take(found.end())

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only when the client has ended."""
        while len(self._data) < size and self._receive():
            pass
        return self._take(size)

    def readline(self, limit: int) -> bytes:
        """Up to and with the next LF, but no more than `limit` bytes."""
        while (end := self._data.find(b"\n", 0, limit)) < 0 and len(self._data) < limit and self._receive():
            pass
        return self._take(end + 1 if end >= 0 else limit)

    def skip(self) -> bool:
        """Throw away what came, and what comes next; False when the client has ended."""
        self._data.clear()
        return self._receive()

    def take(self) -> bytes:
        """What has come so far."""
        return self._take(len(self._data))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def _receive(self) -> bool:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the client was too slow")
        self._socket.settimeout(left_s)
        data = self._socket.recv(_RECV_BYTES)
        self._data += data
        return bool(data)
