"""What a client may emit, and what it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from backend.chat.engine import Engine
from backend.chat.errors import NotFound
from backend.transports.chat import ChatLimits
from backend.transports.connection import Connection
from backend.wire import sockets as wire
from backend.wire.body import Body
from backend.wire.chat import ids_of, parse, question, stop_fields
from backend.wire.sessions import live_fields

Handler: TypeAlias = Callable[[Connection, Body], dict[str, Any]]
"""Gives the fields of the acknowledgement, or raises ParleyError."""


class Events:
    def __init__(self, engine: Engine, limits: ChatLimits) -> None:
        self._engine = engine
        self._limits = limits
        self.handlers: dict[str, Handler] = {
            "chat_stream": self._ask,
            "chat_resume": self._resume,
            "chat_stop": self._stop,
            "session_join": self._join,
            "session_leave": self._leave,
        }

    def unknown(self, _connection: Connection, _payload: Body) -> dict[str, Any]:
        raise NotFound("There is no such event; /asyncapi.json tells of those there are")

    def _ask(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatStreamBody, payload)
        limits, key = self._limits, asked.idempotency_key
        request = question(asked, key, limits.max_message_chars, limits.max_answer_tokens)
        request = replace(request, fallback_session_id=connection.own_session_id)
        connection.check_room()
        log = self._engine.open(connection.caller, request)
        if asked.session_id is None:
            # Another one if it joined what it had asked over an earlier connection: it goes on there.
            connection.own_session_id = log.header.session_id or connection.own_session_id
        connection.follow(log, 0, asked.partial)
        return ids_of(log.header)

    def _resume(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatResumeBody, payload)
        log = self._engine.find(connection.caller, asked.stream_id)
        self._engine.catch_up(log, lambda: log.count < asked.after)
        if asked.after == log.closing_number:
            return ids_of(log.header)
        begins = connection.follow(log, asked.after, asked.partial)
        return ids_of(log.header) if begins is None else {**ids_of(log.header), "after": begins}

    def _stop(self, connection: Connection, payload: Body) -> dict[str, Any]:
        asked = parse(wire.ChatStopBody, payload)
        return stop_fields(self._engine.stop(connection.caller, asked.stream_id))

    def _join(self, connection: Connection, payload: Body) -> dict[str, Any]:
        live = connection.join(parse(wire.SessionBody, payload).session_id)
        return {"live_stream": live_fields(live)}

    def _leave(self, connection: Connection, payload: Body) -> dict[str, Any]:
        session_id = parse(wire.SessionBody, payload).session_id
        connection.leave(session_id)
        return {"session_id": session_id}
