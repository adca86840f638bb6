"""`/v1/chat/completions`, in its short dialect: `prompt`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from flask import Blueprint, Response, request

from backend.chat.engine import Engine
from backend.chat.errors import InvalidRequest, ParleyError, RateLimited
from backend.chat.events import Batch, Failed
from backend.chat.log import Log
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.wire import prompt
from backend.wire.framing import LastPiece
from backend.wire.sse import PING

FIRST_DELTA_S = 15
"""So many heartbeats of a second the headers wait for the first text."""


def blueprint(engine: Engine, max_answer_tokens: int, meters: Meters) -> Blueprint:
    door = Blueprint("openai", __name__, url_prefix="/v1")

    @door.post("/chat/completions")
    def complete() -> Response:
        raw = web.body()
        try:
            body = prompt.read_prompt_body(raw)
            if "messages" in body.fields and "prompt" not in body.fields:
                raise InvalidRequest("This server takes a prompt here, not messages")
            key = request.headers.get("Idempotency-Key")
            log = engine.open(web.caller(), prompt.prompt_request(body, key, max_answer_tokens))
        except RateLimited:
            raise  # of one shape in all dialects
        except ParleyError as error:
            return refusal(error)
        return answer(log)

    def answer(log: Log) -> Response:
        """A failure before the first text has its true status, so headers wait for either."""
        batches = engine.follow(log)
        first = next((batch for batch in islice(batches, FIRST_DELTA_S) if batch), None)
        if first and isinstance(first.closing, Failed) and not first.entries:
            return refusal(first.closing)
        ahead = [first] if first else []
        events = _events(web.audible(chain(ahead, batches), meters.following("openai")))
        return web.stream(events if first else chain([PING], events), X_Stream_Id=log.header.stream_id)

    return door


def refusal(error: ParleyError | Failed) -> Response:
    extras = {}
    if isinstance(error, ParleyError):
        web.noted(error)
        extras = error.extras
    retry_after = str(extras["retry_after"]) if "retry_after" in extras else None
    return web.stream([prompt.error_event(error)], prompt.error_status(error), Retry_After=retry_after)


def _events(batches: Iterable[Batch | None]) -> Iterator[bytes]:
    """Chunks, then `[DONE]` or the error."""
    for batch in batches:
        if batch is None:
            yield PING
        elif isinstance(batch.closing, Failed):
            yield LastPiece(prompt.chunks(batch) + prompt.error_event(batch.closing))
        elif batch.closing is not None:
            yield LastPiece(prompt.chunks(batch) + prompt.DONE)
        else:
            yield prompt.chunks(batch)
