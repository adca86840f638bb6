"""Chat over Socket.IO: the same questions and answers as over HTTP, on one connection."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    NotFound,
    ParleyError,
    Unauthorized,
    Unavailable,
)
from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.chat.requests import Caller
from backend.telemetry.logs import hush_sockets
from backend.telemetry.meters import Meters
from backend.transports.chat import ChatLimits
from backend.transports.connection import Connection
from backend.transports.handshakes import Handshakes
from backend.transports.lines import VISIT, WSGI, Lines, Visit, strict
from backend.wire import sockets as wire
from backend.wire.body import Body
from backend.wire.chat import parse, question, stop_fields
from backend.wire.errors import chat_error
from backend.wire.sessions import live_fields

logger = logging.getLogger(__name__)

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
LINGER_S = 2.0
"""While draining: how long a socket that follows nothing may stay, to take its answer up again."""
DRAIN_POLL_S = 0.02
RECONNECT_MS = (1000, 5000)

Handler = Callable[[Connection, Body], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`max_nameless` connections of one address may be open that have not said who they are, each for
    `nameless_s`; the token of an open socket is looked at again every `recheck_s`; a socket follows
    `max_followed` answers, and as many sessions."""

    max_message_bytes: int
    max_nameless: int
    nameless_s: float
    recheck_s: float
    max_followed: int


@dataclass(slots=True)
class Seat:
    """A connection among the others: when its token is looked at again, and since when it is idle while
    the server drains."""

    sid: str
    connection: Connection
    visit: Visit
    recheck_at_s: float
    idle_since_s: float | None = None


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
        self._seats: dict[str, Seat] = {}
        meters.sockets_open.set_function(self._seats.__len__)
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
        server.eio._async = {**server.eio._async, "websocket": strict(websocket, runtime.sleep)}
        self._lines = Lines(server)
        self._handshakes = Handshakes(
            app.wsgi_app,
            self._lines,
            origins,
            gate,
            runtime.monotonic,
            limits.max_nameless,
            limits.nameless_s,
        )
        app.wsgi_app = self._handshakes  # type: ignore[method-assign]
        self._socketio.on("connect")(self._enter)
        self._socketio.on("disconnect")(self._leave)
        for name, handle in {
            "chat_stream": self._ask,
            "chat_resume": self._resume,
            "chat_stop": self._stop,
            "session_join": self._join,
            "session_leave": self._unjoin,
        }.items():
            self._socketio.on(name)(self._answering(name, handle))
        unknown = self._answering("an unknown event", _unknown)
        self._socketio.on("*")(lambda _name, *payload: unknown(*payload))

    def tend(self) -> None:
        """What must be done every second or so: send pings, close the nameless, look at tokens again, and
        while the server drains send away who waits for nothing."""
        self._lines.tend()
        self._handshakes.tend()
        for seat in list(self._seats.values()):
            self._recheck(seat)
            if self._engine.draining:
                self._drain(seat)

    def drain(self) -> None:
        """Let the ends of answers be sent, and send everybody away."""
        until_s = self._runtime.monotonic() + LINGER_S
        while self._runtime.monotonic() < until_s and not all(
            seat.connection.idle for seat in self._seats.values()
        ):
            self._runtime.sleep(DRAIN_POLL_S)
        for seat in list(self._seats.values()):
            self._send_away(seat)

    def _enter(self, auth: Any = None) -> None:
        visit, sid = request.environ[VISIT], request.sid  # type: ignore[attr-defined]
        try:
            token, caller = self._identify(auth, visit)
        except ParleyError as error:
            raise ConnectionRefusedError(error.message, chat_error(error, None)) from error
        if not visit.open:  # it did not wait to be identified: nobody would see it leave
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
        seat = Seat(sid, connection, visit, self._runtime.monotonic() + self._limits.recheck_s)
        self._seats[sid] = seat
        visit.frames.refuse = lambda error: self._tell_refusal(seat, error)
        self._handshakes.named(visit)

    def _identify(self, auth: Any, visit: Visit) -> tuple[str | None, Caller]:
        """The token and whose it is. Raises ParleyError."""
        self._enter_gate(visit)
        try:
            token = token_of(auth, request.headers.get("Authorization"))
            return token, self._gate.identify(token, visit.address)
        except ParleyError:
            self._gate.count_refusal(visit.address)
            raise

    def _leave(self, *_reason: str) -> None:
        seat = self._seats.pop(request.sid, None)  # type: ignore[attr-defined]
        if seat is not None:
            seat.connection.close()
            self._handshakes.nameless(request.environ[VISIT])

    def _answering(self, event: str, handle: Handler) -> Callable[..., dict[str, Any] | None]:
        """A handler of an event: what it gives is the acknowledgement; what it raises is one, too, and a
        `chat_stream_error`."""

        def answer(*payload: Any) -> dict[str, Any] | None:
            seat = self._seats.get(request.sid)  # type: ignore[attr-defined]
            if seat is None:
                return None
            started_s, request_id = self._runtime.monotonic(), token_hex(8)
            try:
                self._enter_gate(seat.visit)
                said = {"ok": True, **handle(seat.connection, wire.payload_of(payload))}
            except ParleyError as error:
                said = self._refuse(seat, error, request_id)
            except Exception:
                logger.exception("the event failed", extra={"request_id": request_id})
                said = self._refuse(seat, Internal("The server failed on this event; try again"), request_id)
            took_ms = (self._runtime.monotonic() - started_s) * 1000
            self._log(event, said, request_id, round(took_ms, 1))
            return said

        return answer

    def _log(self, event: str, said: dict[str, Any], request_id: str, ms: float) -> None:
        status = said.get("code", 200)
        what = {"request_id": request_id, "stream_id": said.get("stream_id"), "type": said.get("type")}
        how = {"door": "socket", "route": event, "status": status, "ms": ms}
        logger.info("%s %d %.1f ms", event, status, ms, extra={**what, **how})

    def _enter_gate(self, visit: Visit) -> None:
        """Raises RateLimited, and closes the line: it was told often enough."""
        try:
            self._gate.enter(visit.address)
        except ParleyError:
            if visit.line is not None:
                self._runtime.spawn(visit.line.drop)
            raise

    def _refuse(self, seat: Seat, error: ParleyError, request_id: str) -> dict[str, Any]:
        if error.status < 500:
            self._gate.count_refusal(seat.visit.address)
        self._meters.refused("socket", error.type)
        fields = chat_error(error, request_id)
        seat.connection.emit("chat_stream_error", fields)
        return {"ok": False, **fields}

    def _tell_refusal(self, seat: Seat, error: ParleyError) -> None:
        try:
            self._enter_gate(seat.visit)
        except ParleyError as refused:
            error = refused
        self._refuse(seat, error, token_hex(8))

    def _ask(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatStreamBody, payload)
        request = question(
            asked,
            wire.fingerprint_of(payload),
            asked.idempotency_key,
            self._chat_limits.max_message_chars,
            self._chat_limits.max_answer_tokens,
        )
        if request.session_id is None:
            request = replace(request, session_id=connection.own_session_id)
        log = self._engine.open(connection.caller, request)
        connection.follow(log, 0, asked.partial)
        return ids_of(log)

    def _resume(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatResumeBody, payload)
        log = self._engine.find(connection.caller, asked.stream_id)
        if asked.after != log.closing_number:
            connection.follow(log, asked.after, asked.partial)
        return ids_of(log)

    def _stop(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatStopBody, payload)
        return stop_fields(self._engine.stop(connection.caller, asked.stream_id))

    def _join(self, connection: Connection, payload: Body) -> dict[str, Any]:
        live = connection.join(parse(wire.SessionBody, payload).session_id)
        return {"live_stream": live_fields(live)}

    def _unjoin(self, connection: Connection, payload: Body) -> dict[str, Any]:
        session_id = parse(wire.SessionBody, payload).session_id
        connection.leave(session_id)
        return {"session_id": session_id}

    def _recheck(self, seat: Seat) -> None:
        """A token holds for its connection only as long as it would open another."""
        now_s = self._runtime.monotonic()
        if now_s < seat.recheck_at_s or seat.connection.token is None:
            return
        seat.recheck_at_s = now_s + self._limits.recheck_s
        try:
            self._gate.identify(seat.connection.token, seat.visit.address)
        except Unauthorized as error:
            seat.connection.emit("auth_expired", chat_error(error, None))
            self._disconnect(seat)
        except Unavailable:
            logger.warning("a socket's token could not be looked at again; it stays for now")

    def _drain(self, seat: Seat) -> None:
        now_s = self._runtime.monotonic()
        if not seat.connection.idle:
            seat.idle_since_s = None
        elif seat.idle_since_s is None:
            seat.idle_since_s = now_s
        elif now_s - seat.idle_since_s >= LINGER_S:
            self._send_away(seat)

    def _send_away(self, seat: Seat) -> None:
        seat.connection.emit("server_draining", {"reconnect_in_ms": random.randint(*RECONNECT_MS)})
        self._disconnect(seat)

    def _disconnect(self, seat: Seat) -> None:
        self._socketio.server.disconnect(seat.sid)


def _unknown(_connection: Connection, _payload: Body) -> dict[str, Any]:
    raise NotFound("There is no such event; see the AsyncAPI document")


def ids_of(log: Log) -> dict[str, Any]:
    return {"stream_id": log.header.stream_id, "session_id": log.header.session_id}


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
