"""The lines of sockets: engine.io's connections, read strictly and written packet by packet."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import engineio
import socketio
from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE, PING, Packet

from backend.chat.errors import InvalidRequest
from backend.wire.engineio import BadFrame, Frames

logger = logging.getLogger(__name__)

VISIT = "parley.visit"

MAX_UNREAD = 64
"""Packets that may wait for a client before no more is read of what it sends."""
UNREAD_POLL_S = 0.05

StartResponse: TypeAlias = Callable[..., Any]
WSGI: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass(slots=True, eq=False)
class Visit:
    """One engine.io connection: from where, since when it has not said who it is, and what it sends.
    `line` is there from the moment that engine.io knows it."""

    address: str
    nameless_since_s: float
    frames: Frames = field(default_factory=Frames)
    line: EngineLine | None = None

    @property
    def open(self) -> bool:
        return self.line is not None and not self.line.closed


class UnknownLine(InvalidRequest):
    """Not its client's fault: after a restart all that poll come with one."""

    def __init__(self) -> None:
        super().__init__("This connection is not known here; open a new one")


class WebSocket(Protocol):
    """As engine.io's drivers have it."""

    socket: Any

    def wait(self) -> str | bytes | None: ...

    def send(self, message: str | bytes) -> None: ...

    def close(self) -> None: ...


class StrictWebSocket:
    """Gives engine.io only frames that can be read; the first other one ends the connection.

    After each frame others have their turn, however many more have come; and who does not read what they
    are sent is not read either.
    """

    def __init__(self, websocket: WebSocket, visit: Visit, sleep: Callable[[float], None]) -> None:
        self._websocket = websocket
        self._visit = visit
        self._sleep = sleep
        self._closed = False
        self.socket = getattr(websocket, "socket", None)
        self.send = websocket.send

    def close(self) -> None:
        """Whoever sends does this, too, when it breaks."""
        self._closed = True
        self._websocket.close()

    def wait(self) -> str | None:
        while (frame := self._websocket.wait()) is not None:
            try:
                read = self._visit.frames.read(frame)
            except BadFrame as exc:
                logger.info("a socket is closed: %s", exc)
                break
            self._rest()
            if read is not None:
                return read
        return None

    def _rest(self) -> None:
        line = self._visit.line
        self._sleep(0)
        while line is not None and line.unread and not self._closed:
            self._sleep(UNREAD_POLL_S)


def strict(websocket: Callable[..., WSGI], sleep: Callable[[float], None]) -> Callable[..., WSGI]:
    """A driver's WebSocket server, with its frames read strictly."""

    def serve(handler: Callable[[StrictWebSocket], Any], server: engineio.Server) -> WSGI:
        def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            visit = environ[VISIT]
            return websocket(lambda each: handler(StrictWebSocket(each, visit, sleep)), server)(
                environ, start_response
            )

        return answer

    return serve


class EngineLine:
    """A `Line` over one of engine.io's connections.

    Its pings are sent by `ping`: engine.io would keep a green thread waiting for each, and for 25 s longer
    than the connection is there.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._ping_at_s = math.inf
        socket.schedule_ping = self._schedule_ping

    @property
    def closed(self) -> bool:
        return bool(self._socket.closed or self._socket.closing)

    @property
    def backlog(self) -> int:
        return int(self._socket.queue.qsize())

    @property
    def unread(self) -> bool:
        """Whether packets that should be leaving by themselves pile up."""
        return self._socket.upgraded and not self.closed and self.backlog >= MAX_UNREAD

    def send(self, packet: str) -> None:
        try:
            self._socket.send(Packet(MESSAGE, packet))
        except SocketIsClosedError:
            logger.debug("a packet came too late for its socket")

    def drop(self) -> None:
        self._socket.close(wait=False, abort=True)

    def ping(self) -> None:
        """Send one if it is time."""
        if time.monotonic() >= self._ping_at_s and not self.closed:
            self._ping_at_s = math.inf
            self._socket.last_ping = time.time()
            self._socket.send(Packet(PING))

    def _schedule_ping(self) -> None:
        """It is open, or has answered the last one, unless it was not asked."""
        if self._socket.last_ping is not None:
            self._socket.last_ping = None
            self._ping_at_s = time.monotonic() + self._socket.server.ping_interval


class Lines:
    """All of them, by engine.io's ids."""

    def __init__(self, server: socketio.Server) -> None:
        self._server = server
        self._enter = server.eio.handlers["connect"]
        server.eio.on("connect", self._entered)

    def tend(self) -> None:
        """Send the pings that are due. Call every second or so."""
        for environ in list(self._server.environ.values()):
            environ[VISIT].line.ping()

    def visit(self, line_id: str) -> Visit:
        """Raises UnknownLine for an id that is not, or no longer, known."""
        environ = self._server.environ.get(line_id)
        if environ is None:
            raise UnknownLine
        visit: Visit = environ[VISIT]
        return visit

    def _entered(self, line_id: str, environ: dict[str, Any]) -> None:
        environ[VISIT].line = EngineLine(self._server.eio.sockets[line_id])
        self._enter(line_id, environ)
