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
from backend.chat.signals import Signal
from backend.wire.engineio import BadFrame, Frames

logger = logging.getLogger(__name__)

VISIT = "parley.visit"

MAX_UNREAD = 64
"""Packets that may wait for a client before no more is read of what it sends."""
UNREAD_POLL_S = 0.05
CLOSED_S = 0.25
"""How soon it is seen that a line on which nothing moves was closed, or its client sent away."""

StartResponse: TypeAlias = Callable[..., Any]
WSGI: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass(slots=True, eq=False)
class Visit:
    """One engine.io connection: from where, since when it has not said who it is, and what it sends.
    `line` is there from the moment that engine.io knows it, `websocket` the one it talks over."""

    address: str
    nameless_since_s: float
    frames: Frames = field(default_factory=Frames)
    line: EngineLine | None = None
    websocket: WebSocket | None = None

    @property
    def open(self) -> bool:
        return self.line is not None and not self.line.closed

    def heard_on(self, websocket: WebSocket) -> None:
        """A client may try several, and moves to the one on which it says so: that is the last it was heard
        on before it has moved."""
        if self.line is not None and not self.line.upgraded:
            self.websocket = websocket


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
                self._visit.heard_on(self)
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
            visit: Visit = environ[VISIT]

            def talk(opened: WebSocket) -> Any:
                read_strictly = StrictWebSocket(opened, visit, sleep)
                visit.websocket = visit.websocket or read_strictly
                return handler(read_strictly)

            return websocket(talk, server)(environ, start_response)

        return answer

    return serve


class EngineLine:
    """A `Line` over one of engine.io's connections.

    What is delivered goes past engine.io's queue where it can: straight to the WebSocket, once nothing is
    before it. Pings are sent by `ping`: engine.io would keep a green thread waiting for each, and for 25 s
    longer than the connection is there.
    """

    def __init__(self, socket: Any, visit: Visit, idle: Signal) -> None:
        """`idle` tells when what was queued has left."""
        self._socket = socket
        self._visit = visit
        self._idle = idle
        self._sending = False
        self._upgraded = False
        self._take_queued = socket.poll
        self._ping_at_s = math.inf
        socket.poll = self._poll
        socket.schedule_ping = self._schedule_ping

    @property
    def closed(self) -> bool:
        return bool(self._socket.closed or self._socket.closing)

    @property
    def upgraded(self) -> bool:
        """Whether it is on a WebSocket. engine.io forgets that when another one comes to nothing."""
        self._upgraded = self._upgraded or bool(self._socket.upgraded)
        return self._upgraded

    @property
    def backlog(self) -> int:
        return int(self._socket.queue.qsize())

    @property
    def unread(self) -> bool:
        """Whether packets that should be leaving by themselves pile up."""
        return self.upgraded and not self.closed and self.backlog >= MAX_UNREAD

    def send(self, packet: str) -> None:
        try:
            self._socket.send(Packet(MESSAGE, packet))
        except SocketIsClosedError:
            logger.debug("a packet came too late for its socket")

    def deliver(self, packet: str, wanted: Callable[[], bool]) -> None:
        if self.upgraded:
            self._wait_idle(wanted)
            if not self.closed and wanted():
                self._send_now(packet)
        else:
            self.send(packet)
            self._wait_idle(wanted)

    def _send_now(self, packet: str) -> None:
        websocket = self._visit.websocket
        assert websocket is not None
        try:
            websocket.send(str(Packet(MESSAGE, packet).encode()))
        except OSError as exc:
            logger.debug("a packet could not be delivered: %s", exc)
            websocket.close()

    def _wait_idle(self, wanted: Callable[[], bool]) -> None:
        """Until nothing is on its way any more, or nobody waits for that."""

        def over() -> bool:
            return self.closed or not (self.backlog or self._sending) or not wanted()

        while not self._idle.wait_for(over, CLOSED_S):
            pass

    def drop(self) -> None:
        self._socket.close(wait=False, abort=True)

    def ping(self) -> None:
        """Send one if it is time."""
        if time.monotonic() >= self._ping_at_s and not self.closed:
            self._ping_at_s = math.inf
            self._socket.last_ping = time.time()
            self._socket.send(Packet(PING))

    def _poll(self) -> list[Packet]:
        """What engine.io sends next. A WebSocket's writer comes back for more when that was taken; a request
        that polls does not, and may still be here when the line has moved to a WebSocket."""
        comes_back = self.upgraded
        if comes_back:
            self._sending = False
            self._idle.notify()
        packets: list[Packet] = self._take_queued()
        if comes_back:
            self._sending = True
        self._idle.notify()
        return packets

    def _schedule_ping(self) -> None:
        """It is open, or has answered the last one, unless it was not asked."""
        if self._socket.last_ping is not None:
            self._socket.last_ping = None
            self._ping_at_s = time.monotonic() + self._socket.server.ping_interval


class Lines:
    """All of them, by engine.io's ids."""

    def __init__(self, server: socketio.Server, signal: Callable[[], Signal]) -> None:
        self._server = server
        self._signal = signal
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
        visit: Visit = environ[VISIT]
        visit.line = EngineLine(self._server.eio.sockets[line_id], visit, self._signal())
        self._enter(line_id, environ)
