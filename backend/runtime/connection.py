"""One client's connection: its requests, and their answers in the same order."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

from backend.chat.ports import Runtime
from backend.runtime.answer import Answer, refusal
from backend.runtime.body import Body, Bounds
from backend.runtime.environ import environ_of
from backend.runtime.incoming import SEND_S, Incoming
from backend.wire.framing import BadFraming, Head, read_head, split_head

logger = logging.getLogger(__name__)

App: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

KEEPALIVE_S = 75.0
LINGER_S = 1.0
ESTABLISHED = 1
"""The state of a TCP connection that neither side has closed, as Linux numbers them (tcp_states.h)."""


class Service(Protocol):
    """The server, as a connection knows it."""

    app: App
    bounds: Bounds
    runtime: Runtime
    address: tuple[str, int]
    answering: int
    brief: bool
    waiting: dict[socket.socket, bool]
    """Those that have sent nothing of their next request, and whether it is not their first."""


class Gone(ConnectionError):
    """The client is not there any more, or takes nothing more."""


class Connection:
    def __init__(self, sock: socket.socket, address: tuple[str, int], service: Service) -> None:
        sock.settimeout(SEND_S)
        self._socket = sock
        self._address = address
        self._service = service
        self._incoming = Incoming(sock)
        self._taken = False
        self._asked = False

    def converse(self) -> None:
        """From the first request to the last."""
        try:
            while self._answer_next():
                if self._incoming.waiting:
                    self._service.runtime.sleep(0)  # many requests sent at once hold up nobody else
        except (OSError, EOFError) as exc:
            logger.debug("a connection broke: %s", exc)
        except Exception:
            logger.exception("a connection failed")
        finally:
            self._socket.close()

    def send(self, data: bytes) -> None:
        """All of it; in one write, if the client keeps up. Raises Gone."""
        try:
            sent = self._socket.send(data)
            if sent < len(data):
                rest = memoryview(data)[sent:]
                while rest:
                    rest = rest[self._socket.send(rest) :]
        except OSError as exc:
            raise Gone("the client is gone") from exc

    def client_gone(self) -> bool:
        """Whether the client has closed, or its half of the line; looked up without waiting or reading, for
        what it sent before it left may still be unread."""
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED
        except OSError:
            return True

    def take(self) -> tuple[socket.socket, bytes]:
        """The socket, and what has come over it unread, for an application that speaks another protocol
        on it; nothing of its answer is sent. The connection is closed when the application returns."""
        self._taken = True
        return self._socket, self._incoming.take()

    def _answer_next(self) -> bool:
        """Whether the connection can go on."""
        try:
            head = self._read_head()
        except BadFraming as exc:
            self.send(refusal(HTTPStatus(exc.status), "invalid_request", str(exc)))
            self._linger()
            return False
        if head is None:
            return False
        body = Body(head, self._incoming, self._service.bounds, self._go_on)
        keep = self._answer(head, body)
        if keep:
            body.discard()
        if self._taken or not body.complete:
            self._linger()
        return keep and body.complete and not self._service.brief

    def _read_head(self) -> Head | None:
        """A head has its time from its first byte on; waiting for that one is waiting between requests."""
        try:
            if not self._wait():
                return None
            with self._incoming.within(self._service.bounds.head_s):
                raw = self._incoming.read_head()
        except TimeoutError:
            return None
        self._asked = True
        return read_head(*split_head(raw))

    def _wait(self) -> bool:
        """For the first byte of a request; False if there is none to come. Raises TimeoutError."""
        waiting = self._service.waiting
        waiting[self._socket] = self._asked
        try:
            with self._incoming.within(KEEPALIVE_S):
                return self._incoming.wait()
        finally:
            del waiting[self._socket]

    def _answer(self, head: Head, body: Body) -> bool:
        """Have the application answer; whether the connection can go on."""
        service = self._service
        willing = bool(head.minor_version) and not head.lists(b"connection", "close")
        answer = Answer(
            self.send,
            may_keep=lambda: willing and not service.brief and not body.in_the_way,
            old=not head.minor_version,
            only_head=head.method == "HEAD",
        )
        environ = environ_of(head, service.address, self._address)
        environ["wsgi.input"] = body
        environ["wsgi.input_terminated"] = True
        environ["parley.client_gone"] = self.client_gone
        environ["parley.connection"] = self
        service.answering += 1
        try:
            self._run(environ, answer)
        except Gone as exc:
            logger.debug("a client left before its answer was whole: %s", exc)
            return False
        except Exception:
            logger.exception("an answer failed")
            if not answer.begun and not self._taken:
                sentence = "The server failed on this request; try again"
                self.send(refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", sentence))
            return False
        finally:
            service.answering -= 1
        return answer.keep

    def _run(self, environ: dict[str, Any], answer: Answer) -> None:
        pieces = self._service.app(environ, answer.start)
        try:
            if self._taken:
                return
            for piece in pieces:
                if piece:
                    answer.write(piece)
                    if answer.whole:
                        return
            answer.end()
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _go_on(self) -> None:
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _linger(self) -> None:
        """A client that still sends would lose our answer to a reset: hear it out for a moment."""
        self._socket.shutdown(socket.SHUT_WR)
        with self._incoming.within(LINGER_S):
            while self._incoming.skip():
                self._service.runtime.sleep(0)
