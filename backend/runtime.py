"""The one file that knows which green-thread library runs us: patching, signals, threads, serving.

`patch()` must be called before anything else is imported; `python -m backend` does.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import socket
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from secrets import token_hex
from typing import Any, TypeVar

with warnings.catch_warnings():
    # It says at every start that it is being retired; that is known, and why only this file names it.
    warnings.simplefilter("ignore")
    import eventlet
import eventlet.hubs
import eventlet.tpool
import eventlet.wsgi
from greenlet import getcurrent

from backend.chat.errors import InvalidRequest, PayloadTooLarge
from backend.wire.framing import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    BadFraming,
    check_head,
    read_chunks,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
App = Callable[..., Any]

BACKLOG = 4096
HEAD_S = 10.0
BODY_S = 10.0
KEEPALIVE_S = 75.0
SEND_S = 120.0
LINGER_S = 1.0


def patch() -> None:
    """Make the standard library's blocking calls yield to others."""
    eventlet.monkey_patch()
    # A database thread gives the interpreter back sooner than after the default 5 ms, so that tokens
    # do not wait for it.
    sys.setswitchinterval(0.0005)


class EventletSignal:
    """All run in one thread and switch only where they block, so no lock is needed."""

    def __init__(self) -> None:
        self._waiting: list[_Waiter] = []

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not ready():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._wait(left_s)
        return True

    def notify(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            eventlet.hubs.get_hub().schedule_call_global(0, _wake_all, waiting)

    def _wait(self, timeout_s: float) -> None:
        hub = eventlet.hubs.get_hub()
        waiter = _Waiter()
        self._waiting.append(waiter)
        timer = hub.schedule_call_global(timeout_s, waiter.wake)
        try:
            hub.switch()
        finally:
            waiter.asleep = False
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)


class _Waiter:
    """A greenlet to switch to once, by the signal or by its timer."""

    __slots__ = ("asleep", "greenlet")

    def __init__(self) -> None:
        self.greenlet = getcurrent()
        self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.greenlet.switch()


def _wake_all(waiting: list[_Waiter]) -> None:
    for waiter in waiting:
        waiter.wake()


class EventletRuntime:
    """`chat.ports.Runtime` on eventlet."""

    name = "eventlet"

    def spawn(self, work: Callable[[], None]) -> None:
        eventlet.spawn_n(work)

    def signal(self) -> EventletSignal:
        return EventletSignal()

    def offload(self, work: Callable[[], T]) -> T:
        return eventlet.tpool.execute(work)  # type: ignore[no-any-return]

    def sleep(self, seconds: float) -> None:
        eventlet.sleep(seconds)

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")


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

    def __init__(self, app: App, listener: socket.socket, max_body_bytes: int) -> None:
        self._listener = listener
        self._server = eventlet.wsgi.Server(
            listener,
            listener.getsockname(),
            app,
            environ={"parley.max_body_bytes": max_body_bytes, "wsgi.multithread": True},
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
            with eventlet.Timeout(HEAD_S):
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
        self._body = environ["wsgi.input"] = Body(raw, environ["parley.max_body_bytes"], self)
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


class Body(io.RawIOBase):
    """A request's body: bounded in bytes and time, chunks read strictly.

    Reading raises PayloadTooLarge, before reading anything when the length says so, and InvalidRequest;
    after either the connection is closed, since nobody knows where the next request would begin.
    """

    def __init__(self, raw: Any, max_bytes: int, protocol: StrictProtocol) -> None:
        self._raw = raw
        self._max_bytes = max_bytes
        self._protocol = protocol
        self._whole: io.BytesIO | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left in the connection."""
        return self._whole is not None or self._raw.content_length == 0

    def discard(self) -> None:
        """Get an unread body out of the way of the next request, within the same bounds."""
        if not self.complete:
            try:
                self._whole = io.BytesIO(self._read_whole())
            except (InvalidRequest, PayloadTooLarge) as exc:
                logger.debug("an unread body was given up: %s", exc)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._whole is None:
            self._whole = io.BytesIO(self._read_whole())
        return self._whole.readinto(buffer)

    def _read_whole(self) -> bytes:
        try:
            with eventlet.Timeout(BODY_S):
                return self._within_bounds()
        except (BadFraming, OSError) as exc:
            self._protocol.close_connection = 1
            raise InvalidRequest("The body could not be read to its end; send it again") from exc
        except eventlet.Timeout as exc:
            self._protocol.close_connection = 1
            raise InvalidRequest(f"The body took over {BODY_S:.0f} s to arrive; send it again") from exc
        except PayloadTooLarge:
            self._protocol.close_connection = 1
            raise

    def _within_bounds(self) -> bytes:
        raw = self._raw
        if not raw.chunked_input:
            if raw.content_length > self._max_bytes:
                raise too_large(self._max_bytes)
            body: bytes = raw.read()
            if len(body) < raw.content_length:
                raise BadFraming("The body ended early")
            return body
        if raw.should_send_hundred_continue:
            raw.send_hundred_continue_response()
            raw.is_hundred_continue_response_sent = True
        pieces, size = [], 0
        for piece in read_chunks(raw.rfile.read, raw.rfile.readline):
            size += len(piece)
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            pieces.append(piece)
        raw.chunk_length = 0  # read to its end: there is nothing to discard
        return b"".join(pieces)


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is over {max_bytes} bytes (MAX_BODY_BYTES); send less")


def client_gone(connection: Any) -> bool:
    """Whether the peer has closed, looked up without waiting or reading."""
    try:
        return not connection.fd.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
