"""The lines of sockets: engine.io's connections, read strictly and written packet by packet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import engineio
import socketio
from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE, Packet

from backend.chat.errors import InvalidRequest
from backend.wire.engineio import BadFrame, Frames

logger = logging.getLogger(__name__)

VISIT = "parley.visit"

StartResponse: TypeAlias = Callable[..., Any]
WSGI: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass(slots=True, eq=False)
class Visit:
    """One engine.io connection: from where, since when it has not said who it is, and what it sends."""

    address: str
    nameless_since_s: float
    frames: Frames = field(default_factory=Frames)


class WebSocket(Protocol):
    """As engine.io's drivers have it."""

    socket: Any

    def wait(self) -> str | bytes | None: ...

    def send(self, message: str | bytes) -> None: ...

    def close(self) -> None: ...


class StrictWebSocket:
    """Gives engine.io only frames that can be read; the first other one ends the connection."""

    def __init__(self, websocket: WebSocket, frames: Frames) -> None:
        self._websocket = websocket
        self._frames = frames
        self.socket = getattr(websocket, "socket", None)
        self.send = websocket.send
        self.close = websocket.close

    def wait(self) -> str | None:
        while (frame := self._websocket.wait()) is not None:
            try:
                read = self._frames.read(frame)
            except BadFrame as exc:
                logger.info("a socket is closed: %s", exc)
                break
            if read is not None:
                return read
        return None


def strict(websocket: Callable[..., WSGI]) -> Callable[..., WSGI]:
    """A driver's WebSocket server, with its frames read strictly."""

    def serve(handler: Callable[[StrictWebSocket], Any], server: engineio.Server) -> WSGI:
        def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            frames = environ[VISIT].frames
            return websocket(lambda each: handler(StrictWebSocket(each, frames)), server)(
                environ, start_response
            )

        return answer

    return serve


class EngineLine:
    """A `Line` over one of engine.io's connections."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    @property
    def closed(self) -> bool:
        return bool(self._socket.closed)

    @property
    def backlog(self) -> int:
        return int(self._socket.queue.qsize())

    def send(self, packet: str) -> None:
        try:
            self._socket.send(Packet(MESSAGE, packet))
        except SocketIsClosedError:
            logger.debug("a packet came too late for its socket")

    def drop(self) -> None:
        self._socket.close(wait=False, abort=True)


class Lines:
    """All of them, by engine.io's ids."""

    def __init__(self, server: socketio.Server) -> None:
        self._server = server

    def ids(self) -> dict[Visit, str]:
        return {environ[VISIT]: line_id for line_id, environ in list(self._server.environ.items())}

    def visit(self, line_id: str) -> Visit:
        """Raises InvalidRequest for an id that is not, or no longer, known."""
        environ = self._server.environ.get(line_id)
        if environ is None:
            raise InvalidRequest("This connection is not known here; open a new one")
        visit: Visit = environ[VISIT]
        return visit

    def line(self, line_id: str) -> EngineLine:
        return EngineLine(self._server.eio.sockets[line_id])

    def drop(self, line_id: str) -> None:
        """Close it, if it is open, without waiting."""
        if line_id in self._server.eio.sockets:
            self.line(line_id).drop()
