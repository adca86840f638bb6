"""The front of the Socket.IO door: who may open a connection, and what may come over it.

Engine.IO's own checks are behind this one: it reads declared lengths before bodies, packets leniently, and
keeps connections that never say who they are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from backend.access.gate import Gate
from backend.access.origins import Origins
from backend.chat.errors import InvalidRequest, ParleyError, Unavailable
from backend.transports import web
from backend.transports.connection import MAX_QUEUED
from backend.transports.lines import VISIT, WSGI, Lines, StartResponse, UnknownLine, Visit
from backend.wire.errors import chat_error
from backend.wire.framing import lists

PATH = "/socket.io/"
TRANSPORTS = ("polling", "websocket")
ALWAYS = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
CORS_HEADERS = [
    ("Access-Control-Allow-Methods", "GET, POST"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
    ("Access-Control-Max-Age", "600"),
]


class Handshakes:
    """WSGI middleware in front of engine.io; everything else passes through.

    A connection is nameless until its Socket.IO CONNECT was accepted, and after its disconnect: there are
    at most `max_nameless` of them from one address, and none is kept longer than `nameless_s`.
    """

    def __init__(
        self,
        app: WSGI,
        lines: Lines,
        origins: Origins,
        gate: Gate,
        monotonic: Callable[[], float],
        polling: bool,
        max_nameless: int,
        nameless_s: float,
    ) -> None:
        self._app = app
        self._lines = lines
        self._origins = origins
        self._gate = gate
        self._monotonic = monotonic
        self._polling = polling
        self._max_nameless = max_nameless
        self._nameless_s = nameless_s
        self._nameless: set[Visit] = set()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not f"{environ.get('PATH_INFO', '')}/".startswith(PATH):
            return self._app(environ, start_response)
        request_id = web.request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers = [("X-Request-Id", request_id), *ALWAYS, *self._cors(environ)]

        def start(status: str, given: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*given, *headers], *rest)

        try:
            self._admit(environ)
        except ParleyError as error:
            return refusal(error, request_id, start)
        return self._app(environ, start)

    def named(self, visit: Visit) -> None:
        """It has said who it is."""
        self._nameless.discard(visit)

    def nameless(self, visit: Visit) -> None:
        """Its Socket.IO connection has ended; the one below may be open still."""
        visit.nameless_since_s = self._monotonic()
        self._nameless.add(visit)

    def tend(self) -> None:
        """Close those that do not say who they are. Call every second or so."""
        too_old_s = self._monotonic() - self._nameless_s
        for visit in list(self._nameless):
            if visit.open and visit.line is not None and visit.nameless_since_s < too_old_s:
                visit.line.drop()
            if not visit.open:
                self._nameless.discard(visit)

    def _admit(self, environ: dict[str, Any]) -> None:
        """Find or open the request's visit, its body checked. Raises ParleyError."""
        address = environ.get("REMOTE_ADDR", "")
        self._gate.enter(address)
        self._origins.admit(environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN"))
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return
        try:
            self._find(environ, address)
        except ValueError as exc:
            self._gate.count_refusal(address)
            raise InvalidRequest(f"The request is malformed: {exc}") from exc
        except ParleyError as error:
            if error.status < 500 and not isinstance(error, UnknownLine):
                self._gate.count_refusal(address)
            raise

    def _find(self, environ: dict[str, Any], address: str) -> None:
        query = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=20)
        line_id = query.get("sid", [None])[0]
        check(environ, query, self._polling)
        environ[VISIT] = self._open(address) if line_id is None else self._lines.visit(line_id)
        if environ["REQUEST_METHOD"] == "POST":
            self._read(environ)

    def _open(self, address: str) -> Visit:
        if sum(visit.address == address and visit.open for visit in self._nameless) >= self._max_nameless:
            raise Unavailable(
                f"{self._max_nameless} connections of this address have not said who they are "
                "(MAX_HANDSHAKES_PER_ADDRESS); try again in a moment"
            )
        visit = Visit(address, self._monotonic())
        self._nameless.add(visit)
        return visit

    def _read(self, environ: dict[str, Any]) -> None:
        """Put the packets that are left of the body in its place."""
        body, visit = environ["wsgi.input"].read(), environ[VISIT]
        if not visit.open:  # meanwhile
            raise UnknownLine
        try:
            if visit.line.backlog >= MAX_QUEUED:
                raise ValueError("its connection does not poll for what it is sent")
            packets = visit.frames.read_payload(body.decode()).encode()
        except ValueError:
            visit.line.drop()
            raise
        environ["wsgi.input"] = io.BytesIO(packets)
        environ["CONTENT_LENGTH"] = str(len(packets))

    def _cors(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        origin = environ.get("HTTP_ORIGIN")
        if not origin or not self._origins.is_foreign_allowed(origin):
            return []
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin"), *CORS_HEADERS]


def check(environ: dict[str, Any], query: dict[str, list[str]], polling: bool) -> None:
    """Raises InvalidRequest for a request that is none of the protocol's: some of them engine.io answers
    with an exception."""
    method, transport = environ["REQUEST_METHOD"], query.get("transport", ["polling"])[0]
    if method not in ("GET", "POST") or (method == "POST" and "sid" not in query):
        raise InvalidRequest("A connection is opened with GET, and used with GET and POST")
    if "j" in query:
        raise InvalidRequest("JSONP is not served; use polling with CORS, or websocket")
    if transport not in TRANSPORTS:
        raise InvalidRequest("The transports are polling and websocket")
    if transport == "polling" and not polling:
        raise InvalidRequest(
            "Several processes serve here, and polling needs one: connect with WebSocket "
            '(transports: ["websocket"])'
        )
    if "sid" not in query and query.get("EIO") != ["4"]:
        raise InvalidRequest("Speak Engine.IO's revision 4 (EIO=4): Socket.IO clients of 3.0 or later do")
    upgrade, connection = environ.get("HTTP_UPGRADE", ""), environ.get("HTTP_CONNECTION", "")
    if transport == "websocket" and not (upgrade.lower() == "websocket" and lists(connection, "upgrade")):
        raise InvalidRequest("transport=websocket takes Connection: Upgrade and Upgrade: websocket")


def refusal(error: ParleyError, request_id: str, start_response: StartResponse) -> list[bytes]:
    body = json.dumps(chat_error(error, request_id), ensure_ascii=False).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if "retry_after" in error.extras:
        headers.append(("Retry-After", str(error.extras["retry_after"])))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", headers)
    return [body]
