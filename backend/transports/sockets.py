"""Chat over Socket.IO: the same questions and answers as over HTTP, on one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO

from backend.access.gate import Gate, bearer
from backend.access.origins import Origins
from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.errors import (
    Internal,
    InvalidRequest,
    ParleyError,
)
from backend.chat.ports import Runtime
from backend.chat.requests import Caller
from backend.telemetry.logs import hush_sockets
from backend.telemetry.meters import Meters
from backend.transports.chat import ChatLimits
from backend.transports.connection import Connection
from backend.transports.events import Events, Handler
from backend.transports.handshakes import Handshakes
from backend.transports.lines import VISIT, WSGI, Lines, Visit, strict
from backend.transports.seats import Seat, Seats
from backend.wire.errors import chat_error
from backend.wire.sockets import acknowledgement, payload_of

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`polling`: whether all of a client's requests come to this process, as polling needs. `max_nameless`
    connections of one address may be open that have not said who they are, each for `nameless_s`; the token
    of an open socket is looked at again every `recheck_s`; a socket follows `max_followed` answers, and as
    many sessions."""

    max_message_bytes: int
    polling: bool
    max_nameless: int
    nameless_s: float
    recheck_s: float
    max_followed: int


class Sockets:
    """The door. It stands in front of the Flask app once it is made."""

    def __init__(
        self,
        app: Flask,
        engine: Engine,
        conversations: Conversations,
        gate: Gate,
        origins: Origins,
        runtime: Runtime,
        websocket: Callable[..., WSGI],
        limits: SocketLimits,
        chat_limits: ChatLimits,
        meters: Meters,
    ) -> None:
        self._engine = engine
        self._conversations = conversations
        self._gate = gate
        self._runtime = runtime
        self._limits = limits
        self._chat_limits = chat_limits
        self._meters = meters
        self._socketio = SocketIO(
            app,
            async_mode=runtime.name,
            async_handlers=False,  # one client's events in their order, and no faster than they are done
            manage_session=False,
            cors_allowed_origins=[],  # the handshakes see to that
            cookie=None,
            http_compression=False,
            max_http_buffer_size=limits.max_message_bytes,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )
        hush_sockets()
        server = self._socketio.server
        self._seats = Seats(gate, runtime, limits.recheck_s, server.disconnect)
        meters.sockets_open.set_function(self._seats.__len__)
        server.eio._async = {**server.eio._async, "websocket": strict(websocket, runtime.sleep)}
        self._lines = Lines(server, runtime.signal)
        self._handshakes = Handshakes(
            app.wsgi_app,
            self._lines,
            origins,
            gate,
            runtime.monotonic,
            limits.polling,
            limits.max_nameless,
            limits.nameless_s,
        )
        app.wsgi_app = self._handshakes  # type: ignore[method-assign]
        self._socketio.on("connect")(self._enter)
        self._socketio.on("disconnect")(self._leave)
        events = Events(engine, chat_limits)
        for name, handle in events.handlers.items():
            self._socketio.on(name)(self._answering(name, handle))
        unknown = self._answering("an unknown event", events.unknown)
        self._socketio.on("*")(lambda _name, *payload: unknown(*payload))

    def tend(self) -> None:
        """What must be done every second or so: send pings, close who does not say who they are, send away
        who must leave."""
        self._lines.tend()
        self._handshakes.tend()
        self._seats.tend(self._engine.draining, self._engine.handing_over)

    def drain(self) -> None:
        """Let the ends of answers be sent, and send everybody away."""
        self._seats.drain()

    def _enter(self, auth: Any = None) -> None:
        visit: Visit = request.environ[VISIT]
        try:
            token, caller = self._identify(auth, visit)
        except ParleyError as error:
            self._meters.refused("socket", error.type)
            fields = chat_error(error, token_hex(8))
            self._log("connect", fields, 0.0)
            raise ConnectionRefusedError(error.message, fields) from error
        if visit.line is None or visit.line.closed:
            # It did not wait to be identified; nobody would see it leave.
            raise ConnectionRefusedError("The connection is closed")
        connection = Connection(
            visit.line,
            caller,
            token,
            self._engine,
            self._conversations,
            self._runtime,
            self._meters,
            self._limits.max_followed,
            self._chat_limits.partial_max_chars,
        )
        seat = self._seats.take(request.sid, connection, visit)  # type: ignore[attr-defined]
        visit.frames.refuse = partial(self._refuse_unread, seat)
        self._handshakes.named(visit)

    def _identify(self, auth: Any, visit: Visit) -> tuple[str | None, Caller]:
        """The token and whose it is. Raises ParleyError."""
        with self._counted(visit):
            token = token_of(auth, request.headers.get("Authorization"))
            return token, self._gate.identify(token, visit.address)

    def _leave(self, *_reason: str) -> None:
        if self._seats.leave(request.sid):  # type: ignore[attr-defined]
            self._handshakes.nameless(request.environ[VISIT])

    def _answering(self, event: str, handle: Handler) -> Callable[..., dict[str, Any] | None]:
        """A handler of an event: what it gives is the acknowledgement; what it raises is one, too, and a
        `chat_stream_error`."""

        def answer(*payload: Any) -> dict[str, Any] | None:
            seat = self._seats.find(request.sid)  # type: ignore[attr-defined]
            if seat is None:
                return None
            started_s, request_id = self._runtime.monotonic(), token_hex(8)
            try:
                self._seats.check(seat)
                with self._counted(seat.visit):
                    said = {"ok": True, **handle(seat.connection, payload_of(payload))}
            except ParleyError as error:
                said = self._refuse(seat, error, request_id)
            except Exception:
                logger.exception("the event failed", extra={"request_id": request_id})
                said = self._refuse(seat, Internal("The server failed on this event; try again"), request_id)
            took_ms = (self._runtime.monotonic() - started_s) * 1000
            self._log(event, {"request_id": request_id, **said}, round(took_ms, 1))
            return said

        return answer

    def _log(self, event: str, said: dict[str, Any], ms: float) -> None:
        status = said.get("code", 200)
        what = {name: said.get(name) for name in ("request_id", "stream_id", "type")}
        how = {"door": "socket", "route": event, "status": status, "ms": ms}
        logger.info("%s %d %.1f ms", event, status, ms, extra={**what, **how})

    @contextmanager
    def _counted(self, visit: Visit) -> Iterator[None]:
        """What is refused inside counts for the address. Raises RateLimited when it has had its share,
        and closes the line: it was told often enough."""
        try:
            self._gate.enter(visit.address)
        except ParleyError:
            if visit.line is not None:
                self._runtime.spawn(visit.line.drop)
            raise
        try:
            yield
        except ParleyError as error:
            if error.status < 500:
                self._gate.count_refusal(visit.address)
            raise

    def _refuse(self, seat: Seat, error: ParleyError, request_id: str) -> dict[str, Any]:
        self._meters.refused("socket", error.type)
        said = {"ok": False, **chat_error(error, request_id)}
        seat.connection.emit("chat_stream_error", said)
        return said

    def _refuse_unread(self, seat: Seat, error: ParleyError, number: str) -> None:
        """An event that could not be read; `number` is its acknowledgement's, if it wants one."""
        try:
            with self._counted(seat.visit):
                raise error
        except ParleyError as refused:
            said = self._refuse(seat, refused, token_hex(8))
        if number:
            seat.connection.send(acknowledgement(number, said))


def token_of(auth: Any, authorization: str | None) -> str | None:
    """The token of a connection's `auth` payload, with or without `Bearer`, else of its header. Raises
    InvalidRequest."""
    if auth is None or auth == {}:
        return bearer(authorization)
    token = auth.get("token") if isinstance(auth, dict) else auth
    if token is not None and not isinstance(token, str):
        raise InvalidRequest('The auth payload must be an object with a token: {token: "…"}')
    if not token:
        return bearer(authorization)
    scheme, _, rest = token.partition(" ")
    return rest if scheme.lower() == "bearer" and rest else token
