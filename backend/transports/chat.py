"""Chat over HTTP: ask, come back, stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from flask import Blueprint, Response, g, jsonify, request

from backend.chat.engine import Engine
from backend.chat.errors import InvalidRequest
from backend.chat.events import Batch, Header
from backend.chat.log import Log, texts_of
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.wire import sse
from backend.wire.body import read_body
from backend.wire.chat import chat_request, ids_of, stop_fields, stream_fields
from backend.wire.framing import LastPiece


@dataclass(frozen=True, slots=True)
class ChatLimits:
    max_message_chars: int
    max_answer_tokens: int
    partial_max_chars: int


def blueprint(engine: Engine, limits: ChatLimits, meters: Meters) -> Blueprint:
    door = Blueprint("chat", __name__, url_prefix="/api/chat")

    @door.post("/stream")
    def ask() -> Response:
        body = read_body(web.body())
        key = request.headers.get("Idempotency-Key")
        question, partial = chat_request(body, key, limits.max_message_chars, limits.max_answer_tokens)
        log = engine.open(web.caller(), question)
        return _answer(log, 0, partial)

    @door.get("/streams/<stream_id>")
    def resume(stream_id: str) -> Response:
        log = engine.find(web.caller(), stream_id)
        if web.prefers_json():
            return jsonify(stream_fields(log))
        after = sse.read_after(stream_id, request.headers.get("Last-Event-ID"), request.args.get("after"))
        partial = _read_flag("partial", default=True)
        engine.catch_up(log, lambda: log.count < after)
        if after == log.closing_number:
            return Response(status=204)
        return _answer(log, after, partial)

    @door.post("/streams/<stream_id>/stop")
    def stop(stream_id: str) -> Response:
        return jsonify(stop_fields(engine.stop(web.caller(), stream_id)))

    def _answer(log: Log, after: int, partial: bool) -> Response:
        count = min(after, log.count)
        offset = log.offset_of(count)
        batches = web.audible(engine.follow(log, offset), meters.following("sse"))
        events = _events(log, batches, offset, g.request_id, limits.partial_max_chars if partial else None)
        if after > count:
            events = chain([sse.reset_event(log.header.stream_id, log.text_until(offset), count)], events)
        return web.stream(chain([sse.OPENING], events), headers=id_headers(log.header))

    return door


def id_headers(header: Header) -> dict[str, str | None]:
    ids = ids_of(header)
    return {
        "X-Stream-Id": ids["stream_id"],
        "X-Session-Id": ids["session_id"],
        "X-Question-Id": ids["question_id"],
    }


def _read_flag(name: str, default: bool) -> bool:
    text = request.args.get(name)
    if text not in (None, "true", "false", "1", "0"):
        raise InvalidRequest(f"{name} must be true or false")
    return default if text is None else text in ("true", "1")


def _events(
    log: Log, batches: Iterable[Batch | None], offset: int, request_id: str, partial_max_chars: int | None
) -> Iterator[bytes]:
    """The answer from `offset` on, as bytes to send: one piece a batch, and pings in silence."""
    stream_id = log.header.stream_id
    said = "" if partial_max_chars is None else log.text_until(offset)
    for batch in batches:
        if batch is None:
            yield sse.PING
            continue
        if partial_max_chars is None:
            events = sse.token_events(stream_id, batch)
            if batch.closing is not None:
                events = LastPiece(events + sse.closing_event(log, request_id))
            yield events
            continue
        yield from sse.token_events_with_partial(stream_id, batch, said, partial_max_chars)
        said += "".join(texts_of(batch.entries))
        if batch.closing is not None:
            yield LastPiece(sse.closing_event(log, request_id))
