"""The HTTP server: connections, and the strict reading of what comes over them."""

from __future__ import annotations

import errno
import io
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Any

import eventlet
import eventlet.wsgi

from backend.runtime.body import Body, Bounds
from backend.wire.framing import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    BadFraming,
    check_head,
)

logger = logging.getLogger(__name__)

App = Callable[..., Any]

BACKLOG = 4096
KEEPALIVE_S = 75.0
SEND_S = 120.0
LINGER_S = 1.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket with a queue for thousands: a shorter one drops a burst of clients, and each
    then waits a second or more for its retransmission. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


class HttpServer:
    """Accepts and answers in green threads until it is closed."""

    def __init__(self, app: App, listener: socket.socket, bounds: Bounds) -> None:
        self._listener = listener
        self._server = eventlet.wsgi.Server(
            listener,
            listener.getsockname(),
            app,
            environ={"parley.bounds": bounds, "wsgi.multithread": True},
            max_http_version="HTTP/1.1",
            protocol=StrictProtocol,
            minimum_chunk_size=1,
            keepalive=KEEPALIVE_S,
            socket_timeout=SEND_S,
            url_length_limit=MAX_REQUEST_LINE,
            log_output=False,
            debug=False,
        )

    def run(self) -> None:
        """Ends when the server is closed."""
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError as exc:
                if exc.errno in (errno.EBADF, errno.EINVAL):
                    return
                # Out of descriptors, or the client left the queue: the next one may do better.
                logger.warning("a connection could not be accepted: %s", exc)
                eventlet.sleep(0.1)
                continue
            eventlet.spawn_n(_converse, self._server, connection, address)

    def close(self, patience_s: float) -> None:
        """Accept no more, and let those be answered who are being answered."""
        self._listener.close()
        until_s = time.monotonic() + patience_s
        while self._server.outstanding_requests and time.monotonic() < until_s:
            eventlet.sleep(0.01)


def _converse(server: Any, connection: Any, address: Any) -> None:
    """One connection, from its first request to its last."""
    _detect_vanished(connection)
    connection.settimeout(SEND_S)
    try:
        server.process_request([address, connection, eventlet.wsgi.STATE_IDLE])
    except (OSError, eventlet.Timeout) as exc:
        logger.debug("a connection broke: %s", exc)
    except Exception:
        logger.exception("a connection failed")
    finally:
        connection.close()


def _detect_vanished(connection: Any) -> None:
    """A peer that is gone without a word is noticed within 50 s, sending or silent."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40000)


class StrictProtocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """HTTP/1.1 with one reading only, heads and bodies within their time and size."""

    rfile: Any
    _lines: list[bytes]
    _body: Body | None = None
    _refused = False

    def _read_request_line(self) -> bytes:
        """A head has its time from its first byte on; waiting for that one is waiting between requests."""
        try:
            self.connection.settimeout(KEEPALIVE_S)
            if not self.rfile.peek(1):
                return b""
            self.connection.settimeout(SEND_S)
            with eventlet.Timeout(self.server.environ["parley.bounds"].head_s):
                return self._read_head()
        except (OSError, eventlet.Timeout):
            return b""

    def _read_head(self) -> bytes:
        """The request line; the header lines are kept for `parse_request`."""
        request_line: bytes = self.rfile.readline(MAX_REQUEST_LINE + 1)
        if len(request_line) > MAX_REQUEST_LINE:
            self._refuse("414 URI Too Long", f"The path is over {MAX_REQUEST_LINE} bytes; shorten it")
            return b""
        self._lines = []
        left = MAX_HEAD_BYTES
        while (line := self.rfile.readline(left + 1)) not in (b"\r\n", b"\n", b""):
            left -= len(line)
            if left < 0 or len(self._lines) == MAX_HEADERS:
                sentence = f"Headers may be {MAX_HEADERS}, of {MAX_HEAD_BYTES} bytes in all; send less"
                self._refuse("431 Request Header Fields Too Large", sentence)
                return b""
            self._lines.append(line)
        try:
            if line != b"\r\n":
                raise BadFraming("A header line is malformed")
            return check_head(request_line, self._lines)
        except BadFraming as exc:
            self._refuse("400 Bad Request", str(exc))
            return b""

    def parse_request(self) -> bool:
        self.rfile = io.BytesIO(b"".join(self._lines) + b"\r\n")
        return bool(super().parse_request())

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        connection = self.connection
        raw = environ["eventlet.input"]
        self._body = environ["wsgi.input"] = Body(raw, environ["parley.bounds"], self)
        raw.discard = self._body.discard
        environ["wsgi.input_terminated"] = True
        environ["parley.client_gone"] = lambda: client_gone(connection)
        return environ

    def finish(self) -> None:
        """A client that still sends would lose our answer to a reset: hear it out for a moment."""
        if self._refused or (self._body is not None and not self._body.complete):
            self._linger()
        super().finish()

    def _linger(self) -> None:
        try:
            with eventlet.Timeout(LINGER_S):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(65536):
                    pass
        except (OSError, eventlet.Timeout) as exc:
            logger.debug("a client sent more than was read: %s", exc)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library would say in HTML."""
        self._refuse(f"{code} {HTTPStatus(code).phrase}", explain or message or "The request is malformed")

    def _refuse(self, status: str, sentence: str) -> None:
        """Answer in the shape of all errors, and close: what follows on the wire cannot be trusted."""
        request_id = token_hex(8)
        fields = {
            "error": sentence,
            "code": int(status[:3]),
            "type": "invalid_request",
            "request_id": request_id,
        }
        body = json.dumps(fields).encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-Id: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)
        self._refused = True
        self.close_connection = 1


def client_gone(connection: Any) -> bool:
    """Whether the peer has closed, looked up without waiting or reading."""
    try:
        return not connection.fd.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
