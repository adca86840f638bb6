"""The HTTP server: it listens, and accepts connections."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from contextlib import suppress
from functools import partial

from backend.chat.errors import Misconfigured
from backend.chat.ports import Runtime
from backend.runtime.body import Bounds
from backend.runtime.connection import App, Connection

logger = logging.getLogger(__name__)

BACKLOG = 4096
POLL_S = 0.01
LOOK_UP_S = 0.1
"""How often one of several who accept on a socket sees whether it still should."""
AT_ONCE = 4
"""So many connections one of several accepts in a turn. With a single one, answers that are asked for
together begin apart, and what they write goes to the store in more and smaller pieces: a fifth more work."""
FIRST_ASK_S = 1.0
"""Who connects without a request is a browser that is only prepared for one."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket with a queue for thousands: a shorter one drops a burst of clients, and each
    then waits a second or more for its retransmission. Raises Misconfigured."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _detect_vanished(listener)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        raise Misconfigured(
            f"Nothing can listen on {host} port {port}: {exc.strerror}; set HOST or PORT"
        ) from exc
    return listener


def inherit(descriptor: int) -> socket.socket:
    """The listening socket of the parent process, as one that the green threads of this one can wait on."""
    return socket.socket(family=-1, fileno=descriptor)


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
    """Has a WSGI application answer, each connection in a green thread, until it is closed.

    When it is `brief`, connections are closed after the answer they are at: who asks again comes over another
    one. `shared`: other processes accept on the same socket. Then no more than a few connections are accepted
    before these have had their turn, so that a burst is spread over all of them.
    """

    def __init__(
        self, app: App, listener: socket.socket, bounds: Bounds, runtime: Runtime, *, shared: bool = False
    ) -> None:
        self.app = app
        self.bounds = bounds
        self.runtime = runtime
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.answering = 0
        self.closing = False
        self.brief = False
        self.waiting: dict[socket.socket, bool] = {}
        self._listener = listener
        self._shared = shared
        self._accepting = False

    def run(self) -> None:
        """Ends when the server is closed, or leaves its socket to others."""
        if self._shared:
            self._listener.settimeout(LOOK_UP_S)
        self._accepting = True
        try:
            self._accept_all()
        finally:
            self._accepting = False

    def leave(self) -> None:
        """Leave the shared socket to others, so that nobody new asks here: accept no more, close what is
        idle between two requests, and give who has just come a moment to ask. The socket is closed only
        when nobody waits on it: the kernel would go on telling this process what the others get."""
        self.closing = self.brief = True
        while self._accepting:
            self.runtime.sleep(POLL_S)
        self._listener.close()
        for sock, idle in list(self.waiting.items()):
            if idle:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)
        until_s = self.runtime.monotonic() + FIRST_ASK_S
        while self.waiting and self.runtime.monotonic() < until_s:
            self.runtime.sleep(POLL_S)

    def _accept_all(self) -> None:
        accepted = 0
        while not self.closing:
            try:
                sock, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as exc:
                if self.closing or exc.errno in (errno.EBADF, errno.EINVAL):
                    return
                # Out of descriptors, or the client left the queue: the next one may do better.
                logger.warning("a connection could not be accepted: %s", exc)
                self.runtime.sleep(0.1)
                continue
            self.runtime.spawn(partial(self._converse, sock, address[:2]))
            accepted += 1
            if self._shared and accepted % AT_ONCE == 0:
                self.runtime.sleep(0)

    def close(self, patience_s: float) -> None:
        """Accept no more, and let those be answered who are being answered."""
        self.closing = self.brief = True
        self._listener.close()
        until_s = self.runtime.monotonic() + patience_s
        while self.answering and self.runtime.monotonic() < until_s:
            self.runtime.sleep(POLL_S)

    def _converse(self, sock: socket.socket, address: tuple[str, int]) -> None:
        Connection(sock, address, self).converse()
