"""The connections to one upstream: opened, kept for the next request, cut by a stop."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EALREADY, EINPROGRESS, EWOULDBLOCK
from ipaddress import ip_address
from threading import Lock

from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.wait import wait_for_write

from backend.chat.stop import Stop
from backend.providers.connections import Connection, Timer

MAX_IDLE = 50
LOOK_S = 0.1


class Grip:
    """The one connection a stream holds, which a stop cuts.

    The lock guards `_held`: a connection that was put away may be another stream's by now, and the
    descriptor of a closed one another file's, so neither is ever cut.
    """

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._lock = Lock()
        self._held: Connection | None = None

    def check(self) -> None:
        """Raises ConnectionAbortedError once stopped."""
        if self.stop.requested:
            raise ConnectionAbortedError("stopped")

    def hold(self, connection: Connection) -> None:
        """Take it up, closing what was held before. Raises ConnectionAbortedError if already stopped."""
        self.close()
        with self._lock:
            self._held = connection
        self.check()

    def let_go(self) -> None:
        """From now on the connection is not ours."""
        with self._lock:
            self._held = None

    def cut(self) -> None:
        with self._lock:
            if self._held:
                self._held.cut()

    def close(self) -> None:
        with self._lock:
            held, self._held = self._held, None
            if held:
                held.close()


class Pool:
    """The connections to one host: new ones, and idle ones, the last used first. A list's `append` and
    `pop` are atomic, so `_idle` needs no lock; it may pass MAX_IDLE by a few."""

    def __init__(self, host: str, port: int, secure: bool) -> None:
        self._host = host
        self._port = port
        self._tls: ssl.SSLContext | None = None
        if secure:
            self._tls = create_urllib3_context()
            self._tls.set_alpn_protocols(["http/1.1"])
            self._tls.load_default_certs()
        self._idle: list[Connection] = []

    def take(self, grip: Grip) -> Connection | None:
        """An idle connection that is still good."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            grip.hold(connection)
            if connection.alive:
                return connection
        grip.close()
        return None

    def open(self, grip: Grip, timer: Timer) -> Connection:
        """A new connection. Raises OSError."""
        ends_s = time.monotonic() + timer.limits.connect_s
        with timer.until("connect_s", ends_s):
            sock = dial(self._host, self._port, ends_s, grip)
        if self._tls:
            with closed_on_error(sock):
                sock = self._tls.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        connection = Connection(sock)
        grip.hold(connection)
        connection.handshake(timer, ends_s)
        return connection

    def give(self, connection: Connection, grip: Grip) -> None:
        """Take a connection back: kept if its answer was read to the end, else closed."""
        if not connection.whole or len(self._idle) >= MAX_IDLE:
            grip.close()
            return
        connection.rest()
        grip.let_go()
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise


def dial(host: str, port: int, ends_s: float, grip: Grip) -> socket.socket:
    """A socket connected to one of the host's addresses, each tried for its share of the time. Looking
    up the name cannot be cut short."""
    grip.check()
    found = as_written(host, port) or socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        now_s = time.monotonic()
        share_s = (ends_s - now_s) / (len(found) - number)
        sock = socket.socket(family, kind, protocol)
        try:
            with closed_on_error(sock):
                connect(sock, address, now_s + share_s, grip)
            return sock
        except OSError as exc:
            grip.check()
            failure = exc
    raise failure or OSError("the name has no address")


def as_written(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]:
    """Where a host is that is given as an address; nothing for a name, nor for an address with a zone
    (`fe80::1%eth0`), which has a number to be looked up. Looking up takes a thread on gevent, and a crowd
    would queue for it."""
    if "%" in host:
        return []
    try:
        version = ip_address(host).version
    except ValueError:
        return []
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, 0, "", (host, port))]


def connect(sock: socket.socket, address: tuple[object, ...], ends_s: float, grip: Grip) -> None:
    """Connect without blocking, looking for a stop every LOOK_S: a socket that is still connecting
    cannot be cut, a green one would begin anew."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    error = sock.connect_ex(address)
    while error in (EINPROGRESS, EALREADY, EWOULDBLOCK):
        grip.check()
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("not connected in time")
        if wait_for_write(sock, min(left_s, LOOK_S)):
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    # A green TLS socket stays for ever as non-blocking as the one it was made of.
    sock.setblocking(True)
