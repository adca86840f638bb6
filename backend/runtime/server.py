"""The HTTP server: it listens, and accepts connections."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from functools import partial

from backend.chat.ports import Runtime
from backend.runtime.body import Bounds
from backend.runtime.connection import App, Connection

logger = logging.getLogger(__name__)

BACKLOG = 4096
POLL_S = 0.01


def listen(host: str, port: int) -> socket.socket:
    """A listening socket with a queue for thousands: a shorter one drops a burst of clients, and each
    then waits a second or more for its retransmission. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _detect_vanished(listener)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def _detect_vanished(listener: socket.socket) -> None:
    """A peer that is gone without a word is noticed within 50 s, sending or silent. Connections have
    these from the socket that accepts them."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40000)


class HttpServer:
    """Has a WSGI application answer, each connection in a green thread, until it is closed."""

    def __init__(self, app: App, listener: socket.socket, bounds: Bounds, runtime: Runtime) -> None:
        self.app = app
        self.bounds = bounds
        self.runtime = runtime
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.answering = 0
        self.closing = False
        self._listener = listener

    def run(self) -> None:
        """Ends when the server is closed."""
        while not self.closing:
            try:
                sock, address = self._listener.accept()
            except OSError as exc:
                if self.closing or exc.errno in (errno.EBADF, errno.EINVAL):
                    return
                # Out of descriptors, or the client left the queue: the next one may do better.
                logger.warning("a connection could not be accepted: %s", exc)
                self.runtime.sleep(0.1)
                continue
            self.runtime.spawn(partial(self._converse, sock, address[:2]))

    def close(self, patience_s: float) -> None:
        """Accept no more, and let those be answered who are being answered."""
        self.closing = True
        self._listener.close()
        until_s = self.runtime.monotonic() + patience_s
        while self.answering and self.runtime.monotonic() < until_s:
            self.runtime.sleep(POLL_S)

    def _converse(self, sock: socket.socket, address: tuple[str, int]) -> None:
        Connection(sock, address, self).converse()
