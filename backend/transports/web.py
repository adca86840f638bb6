"""What all HTTP doors share: who calls, ids, origins, and how refusals are rendered."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from secrets import token_hex
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from backend.access.gate import Gate, bearer, stranger
from backend.access.origins import Origins
from backend.access.rates import Budget
from backend.chat.engine import HEARTBEAT_S
from backend.chat.errors import (
    Internal,
    InvalidRequest,
    NotFound,
    ParleyError,
    UnsupportedMediaType,
)
from backend.chat.events import Batch
from backend.chat.requests import Caller
from backend.telemetry.meters import Meters
from backend.wire.errors import chat_error, openai_error

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream; charset=utf-8"
STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
NO_HEADERS: Mapping[str, str | None] = {}
PING_S = 15.0
GUARDED = ("/api/", "/v1/")
"""Where one must say who one is, and may be refused for what one did before."""
NAMELESS = ("/api/status",)
"""What anybody may read there, whoever they are."""
CERTAIN = ("/api/jobs", "/api/team", "/api/admin/")
"""Where one must whatever AUTH says."""
SPENDING = ("chat.ask", "openai.complete", "jobs.call", "jobs.call_stream", "jobs.whole_job")
"""The endpoints that spend the budget, and tell of it."""
CLIENT_CLOSED = 499
"""As nginx has it. It is no refusal."""
LONG_WAIT_S = 60
"""OpenAI's SDKs wait no longer than this by themselves: past it they would only waste their retries."""
PROBES = ("/health", "/ready", "/metrics")
"""Asked by machines, all the time, under whatever name or address they know us by."""
DOORS = {"chat": "sse", "openai": "openai", "jobs": "jobs"}
"""What logs and metrics call the door of a blueprint; `http` is any other."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
EXPOSED = (
    "X-Request-Id, X-Session-Id, X-Stream-Id, X-Question-Id, X-Call-Id, X-Upstream, X-Upstream-Tried, "
    "X-Should-Retry, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)
CORS_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    # OpenAI's SDK in a browser sends a dozen of its own; the star stands for all but Authorization.
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id, X-Stream-Resume, *"
    ),
    "Access-Control-Max-Age": "600",
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def caller() -> Caller:
    """Who sent this request. Only for routes that are GUARDED."""
    found: Caller = g.caller
    return found


def request_id(given: str) -> str:
    """The client's own, if it is one."""
    return given if _REQUEST_ID.fullmatch(given) else token_hex(8)


def body() -> bytes:
    """The request's body. Raises UnsupportedMediaType, and what the server's reading of it raises."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not read; send the JSON as it is")
    if request.mimetype.startswith("multipart/"):
        raise UnsupportedMediaType("Forms are not read; send the fields as a JSON body")
    raw: bytes = request.environ["wsgi.input"].read()
    return raw


def prefers_json() -> bool:
    """Whether this request's client would rather have JSON than events."""
    kinds = ["text/event-stream", "application/json"]
    return request.accept_mimetypes.best_match(kinds) == "application/json"


def stream(
    events: Iterable[bytes], status: int = 200, headers: Mapping[str, str | None] = NO_HEADERS
) -> Response:
    """An event stream; headers that are None are left out."""
    response = Response(
        _logged(events, g.request_id),
        status,
        STREAM_HEADERS,
        content_type=EVENT_STREAM,
        direct_passthrough=True,  # they are bytes
    )
    for name, value in headers.items():
        if value is not None:
            response.headers[name] = value
    return response


def _logged(events: Iterable[bytes], request_id: str) -> Iterator[bytes]:
    """A stream that breaks in our hands just ends, and its reader comes back; but we hear of it."""
    try:
        yield from events
    except Exception:
        logger.exception("a stream broke while it was sent", extra={"request_id": request_id})


def client_gone() -> Callable[[], bool]:
    """Tells whether this request's client has closed; for as long as it is answered."""
    gone: Callable[[], bool] = request.environ.get("parley.client_gone", lambda: False)
    return gone


def unread(headers: Mapping[str, str]) -> Response:
    """For a client that has closed: only the log and the metrics see it."""
    return Response(status=CLIENT_CLOSED, headers=headers)


def audible(
    batches: Iterable[Batch | None],
    following: AbstractContextManager[object],
    heartbeat_s: float = HEARTBEAT_S,
) -> Iterator[Batch | None]:
    """The batches of a followed answer for this request's client, with None where it is time for a ping.
    Ends early when the client has gone. It is read inside `following`."""
    return _audible(batches, client_gone(), following, round(PING_S / heartbeat_s))


def _audible(
    batches: Iterable[Batch | None],
    gone: Callable[[], bool],
    following: AbstractContextManager[object],
    ping_every: int,
) -> Iterator[Batch | None]:
    silence = 0
    with following:
        for batch in batches:
            silence = 0 if batch else silence + 1
            if batch is None and gone():
                return
            if batch is not None or silence % ping_every == 0:
                yield batch


def install(app: Flask, origins: Origins, gate: Gate, budget: Budget, meters: Meters) -> None:
    """Have every request checked and counted, every answer marked, and every error rendered."""

    @app.before_request
    def enter() -> Response | None:
        g.started_s = time.monotonic()
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        if request.path in PROBES:
            return None
        origin = request.headers.get("Origin")
        origins.admit(request.headers.get("Host", ""), origin)
        if request.method == "OPTIONS" and origin and "Access-Control-Request-Method" in request.headers:
            return Response(status=204, headers=CORS_HEADERS)
        if request.path.startswith(GUARDED):
            _pass(gate)
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin and origins.is_foreign_allowed(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.endpoint in SPENDING:
            _tell_budget(response, budget)
        if 400 <= response.status_code < CLIENT_CLOSED and g.get("entered"):
            gate.count_refusal(_address())
        _tell(response, time.monotonic() - g.started_s, meters)
        return response

    @app.errorhandler(ParleyError)
    def refused(error: ParleyError) -> Response:
        return render(error)

    @app.errorhandler(HTTPException)
    def misdirected(error: HTTPException) -> Response:
        return _misdirected(error)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        logger.error("a request failed", exc_info=error, extra={"request_id": g.request_id})
        return render(Internal("The server failed on this request; try again"))


def _pass(gate: Gate) -> None:
    """Raises RateLimited and Unauthorized."""
    gate.enter(_address())
    g.entered = True
    if request.path not in NAMELESS:
        token = bearer(request.headers.get("Authorization"))
        g.caller = gate.identify(token, _address(), always=request.path.startswith(CERTAIN))


def _address() -> str:
    return request.remote_addr or ""


def _tell_budget(response: Response, budget: Budget) -> None:
    state = budget.state(g.get("caller") or stranger(_address()))
    if state is None:
        return
    limit, remaining, reset_s = state
    response.headers["X-RateLimit-Limit"] = str(limit)
    response.headers["X-RateLimit-Remaining"] = str(remaining)
    response.headers["X-RateLimit-Reset"] = str(reset_s)


def render(error: ParleyError) -> Response:
    """A refusal in the dialect of its route."""
    noted(error.type)
    fields: dict[str, Any] = chat_error(error, g.request_id)
    if request.path.startswith("/v1/"):
        fields = openai_error(error)
    response = jsonify(fields)
    response.status_code = error.status
    if "retry_after" in error.extras:
        retry_after(response, error.extras["retry_after"])
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def retry_after(response: Response, seconds: int) -> None:
    response.headers["Retry-After"] = str(seconds)
    if response.status_code == 429 and seconds > LONG_WAIT_S:
        response.headers["X-Should-Retry"] = "false"


def noted(type_: str) -> None:
    """Have this request count as refused, with an error of this type; `render` does it."""
    g.refusal = type_


def _misdirected(error: HTTPException) -> Response:
    """What the router and the file sender refuse: no such route, or not this way."""
    refusal: ParleyError = NotFound("There is nothing at this address")
    if error.code != 404:
        refusal = InvalidRequest(f"{error.name}: this address does not take that")
        refusal.status = error.code or 500
    response = render(refusal)
    for name, value in error.get_headers():
        if name in ("Allow", "Content-Range"):
            response.headers[name] = value
    return response


def _tell(response: Response, took_s: float, meters: Meters) -> None:
    """Count a request and log it by its route: a path may hold what nobody should read."""
    method = request.method if request.method in METHODS else "-"
    route = request.url_rule.rule if request.url_rule else "-"
    door = DOORS.get(request.blueprint or "", "http")
    status = response.status_code
    refusal = g.get("refusal")
    meters.answered(method, route, status, took_s)
    if refusal:
        meters.refused(door, refusal)
    stream_id = response.headers.get("X-Stream-Id")
    if stream_id is None and status < 400:
        stream_id = (request.view_args or {}).get("stream_id")
    ms = round(took_s * 1000, 1)
    logger.log(
        logging.DEBUG if request.path in PROBES and status < 400 else logging.INFO,
        "%s %s %d %.1f ms", method, route, status, ms,
        extra={"request_id": g.request_id, "stream_id": stream_id, "door": door, "type": refusal,
               "method": method, "route": route, "status": status, "ms": ms},
    )  # fmt: skip
