"""A WebSocket over a connection of the HTTP server."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from backend.wire.framing import lists
from backend.wire.websocket import (
    INTERNAL,
    NORMAL,
    PONG,
    BadFrame,
    Closing,
    FrameReader,
    Ping,
    accept_of,
    close_frame,
    frame,
    message_frame,
)

logger = logging.getLogger(__name__)

CLOSE_S = 1.0
"""How long a client may take to answer our closing."""

_RECV_BYTES = 16_384


class WebSocket:
    """A conversation that has begun: one green thread waits for messages, any may send and close.

    `socket` is there for its `settimeout`: how long the client may be silent, or take nothing.
    `_sending` guards the order of frames on the wire, so that none begins inside another.
    """

    def __init__(self, sock: socket.socket, begun: bytes, max_message_bytes: int) -> None:
        self.socket = sock
        self._reader = FrameReader(max_message_bytes)
        self._reader.feed(begun)
        self._sending = threading.Lock()
        self._waiting = False
        self._heard_last = threading.Event()
        self._said_last = False

    def wait(self) -> str | bytes | None:
        """The next message; None when the conversation is over, whoever ended it. Answers pings."""
        self._waiting = True
        try:
            message = None if self._heard_last.is_set() else self._next()
        except BadFrame as exc:
            logger.debug("a client broke the protocol: %s", exc)
            self._say_last(exc.code)
            message = None
        except (OSError, EOFError) as exc:
            logger.debug("a conversation broke: %s", exc)
            message = None
        finally:
            self._waiting = False
        if message is None:
            self._heard_last.set()
        return message

    def send(self, message: str | bytes) -> None:
        """Raises OSError when the conversation is over."""
        self._send(message_frame(message))

    def close(self, code: int = NORMAL) -> None:
        """Say so, if nobody has yet. Who waits for messages goes on until the client has answered, but
        not for long."""
        self._say_last(code)
        if self._waiting and not self._heard_last.wait(CLOSE_S):
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RD)

    def _next(self) -> str | bytes | None:
        while True:
            event = self._reader.next()
            if event is None:
                time.sleep(0)  # who always has sent more holds up nobody else
                data = self.socket.recv(_RECV_BYTES)
                if not data:
                    return None
                self._reader.feed(data)
            elif isinstance(event, Ping):
                self._send(frame(PONG, event.payload))
            elif isinstance(event, Closing):
                self._say_last(event.code)
                return None
            elif not self._said_last:
                return event

    def _send(self, data: bytes) -> None:
        with self._sending:
            if self._said_last:
                raise BrokenPipeError("the conversation is over")
            try:
                self._send_all(data)
            except OSError:
                self._said_last = True  # perhaps in the middle of a frame
                raise

    def _say_last(self, code: int) -> None:
        with self._sending, suppress(OSError):
            if not self._said_last:
                self._said_last = True
                self._send_all(close_frame(code))

    def _send_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.socket.send(rest) :]


class Settings(Protocol):
    """What is read of an Engine.IO server."""

    max_http_buffer_size: int


class WebSocketWSGI:
    """An Engine.IO driver's `websocket`: called as a WSGI application it opens a WebSocket, has
    `handler(websocket)` talk over it, and leaves the connection closed."""

    def __init__(self, handler: Callable[[WebSocket], object], server: Settings) -> None:
        self._handler = handler
        self._max_message_bytes = int(server.max_http_buffer_size)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = refusal_of(environ)
        if refused is not None:
            status, sentence = refused
            body = sentence.encode()
            fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            if status.startswith("426"):
                fields += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            start_response(status, fields)
            return (body,)  # no list: Engine.IO would take that for packets
        accept = accept_of(environ["HTTP_SEC_WEBSOCKET_KEY"])
        connection = environ["parley.connection"]
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % (accept or "").encode()
        )
        sock, begun = connection.take()
        self._talk(WebSocket(sock, begun, self._max_message_bytes))
        return []

    def _talk(self, websocket: WebSocket) -> None:
        code = NORMAL
        try:
            self._handler(websocket)
        except Exception:
            logger.exception("a conversation failed")
            code = INTERNAL
        finally:
            websocket.close(code)


def refusal_of(environ: dict[str, Any]) -> tuple[str, str] | None:
    """The status and the sentence for a handshake that is not one (RFC 6455, 4.2)."""
    if environ["REQUEST_METHOD"] != "GET" or environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        return "400 Bad Request", "A WebSocket is opened with GET over HTTP/1.1"
    if not lists(environ.get("HTTP_CONNECTION", ""), "upgrade"):
        return "400 Bad Request", "Opening a WebSocket takes Connection: Upgrade"
    if not lists(environ.get("HTTP_UPGRADE", ""), "websocket"):
        return "400 Bad Request", "Opening a WebSocket takes Upgrade: websocket"
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
        return "426 Upgrade Required", "The only WebSocket version spoken is 13"
    if accept_of(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")) is None:
        return "400 Bad Request", "Sec-WebSocket-Key is 16 bytes in base64"
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        return "400 Bad Request", "Opening a WebSocket takes no body"
    return None
