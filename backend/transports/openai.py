"""`/v1`: OpenAI's chat completions and models; on the same route the short dialect, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import ceil

from flask import Blueprint, Response, jsonify, request

from backend.chat.engine import Engine
from backend.chat.errors import InvalidRequest, ParleyError, RateLimited
from backend.chat.events import Batch, Entry, Failed
from backend.chat.log import Log
from backend.chat.ports import Models
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.wire import prompt
from backend.wire.body import Body, read_body
from backend.wire.completions import CompletionBounds, completion_request, is_completion
from backend.wire.errors import failure_status, openai_failure
from backend.wire.framing import LastPiece
from backend.wire.openai import ID, Chunks, closing_of, completion, model_fields, model_list
from backend.wire.sse import PING, read_after

FIRST_DELTA_S = 15.0
"""How long the headers wait for the first text."""
HEARTBEAT_S = 0.25
"""How often the client of a silent answer is looked for: its upstream is let go within a second."""
OURS_TO_MEND = frozenset({401, 402, 403, 404})
"""An upstream's refusals of our key, our account or its own model's name: asking again changes nothing, which
OpenAI's SDKs would do."""
ENTRIES_A_TURN = 1000
SOON_S = 5
"""When to ask again where nobody says it."""


def blueprint(engine: Engine, bounds: CompletionBounds, models: Models, meters: Meters) -> Blueprint:
    door = Blueprint("openai", __name__, url_prefix="/v1")
    started = int(time.time())

    @door.post("/chat/completions")
    def complete() -> Response:
        raw = web.body()
        if b'"messages"' in raw and is_completion(body := read_body(raw)):
            return completed(body)
        return prompted(raw)

    @door.get("/chat/completions/<stream_id>")
    def resume(stream_id: str) -> Response:
        log = engine.find(web.caller(), stream_id.removeprefix(ID))
        last, after = request.headers.get("Last-Event-ID"), request.args.get("after")
        if last is None and after is None and web.prefers_json():
            return whole(log)
        return streamed(log, read_after(log.header.stream_id, last, after), numbered=True)

    @door.get("/models")
    def list_models() -> Response:
        return jsonify(model_list(models.all, started))

    @door.get("/models/<path:name>")
    def read_model(name: str) -> Response:
        return jsonify(model_fields(models.find(name), started))

    def completed(body: Body) -> Response:
        key = request.headers.get("Idempotency-Key")
        resumable = request.headers.get("X-Stream-Resume") == "1"
        # Who brings a key means to ask again, and would take half an answer for a whole one.
        runs_on = resumable or key is not None
        log = engine.open(web.caller(), completion_request(body, key, bounds, runs_on=runs_on))
        return streamed(log, 0, resumable) if body.fields.get("stream") else whole(log)

    def prompted(raw: bytes) -> Response:
        key = request.headers.get("Idempotency-Key")
        try:
            body = prompt.read_prompt_body(raw)
            log = engine.open(web.caller(), prompt.prompt_request(body, key, bounds.max_answer_tokens))
        except RateLimited:
            raise  # of one shape in all dialects
        except ParleyError as error:
            return prompt_refusal(error)
        return sent(log, 0, prompt.Texts(log), prompt_refusal)

    def streamed(log: Log, after: int, numbered: bool) -> Response:
        """The chunks past number `after`."""
        engine.catch_up(log, lambda: log.offset < after)
        offset = min(after, log.offset)
        chunks = Chunks(log, offset, numbered=numbered)
        if log.closing is None and after > offset:
            raise InvalidRequest("Last-Event-ID is past what there is of this answer; leave it out")
        if log.closing is not None and after >= chunks.last_number():
            return Response(status=204)
        return sent(log, offset, chunks, lambda failed: failure(log, failed), after, comes_back=numbered)

    def sent(
        log: Log,
        offset: int,
        spelling: Chunks | prompt.Texts,
        refusal: Callable[[Failed], Response],
        after: int = 0,
        *,
        comes_back: bool = False,
    ) -> Response:
        """An event stream, of one who `comes_back` as `Engine.follow` means it. A failure before the first
        text has its true status: headers wait for either."""
        batches = engine.follow(log, offset, HEARTBEAT_S, comes_back=comes_back)
        gone = web.client_gone()
        first = first_of(batches, gone)
        if first is None and gone():
            return web.unread(route_headers(log))
        if first and first.closing and not first.end and isinstance(failed := closing_of(log), Failed):
            return refusal(failed)
        heard = web.audible(chain([first] if first else [], batches), meters.following("openai"), HEARTBEAT_S)
        events = written(heard, spelling, after)
        return web.stream(events if first else chain([PING], events), headers=route_headers(log))

    def whole(log: Log) -> Response:
        """The answer once it is whole."""
        gone = web.client_gone()
        with engine.following(log), meters.following("openai"):
            while not log.wait_closed(HEARTBEAT_S):
                if gone():
                    return web.unread(route_headers(log))
        closing = closing_of(log)
        if isinstance(closing, Failed):
            return failure(log, closing)
        response = jsonify(completion(log, closing, in_turns(log.read(0).entries)))
        response.headers.extend(route_headers(log))
        return response

    return door


def in_turns(entries: list[Entry]) -> Iterator[Entry]:
    """The entries, letting others run in between: putting many of them together takes a while."""
    for number, entry in enumerate(entries, 1):
        yield entry
        if number % ENTRIES_A_TURN == 0:
            time.sleep(0)


def first_of(batches: Iterator[Batch | None], gone: Callable[[], bool]) -> Batch | None:
    """The first batch; None if the headers should wait no longer, or nobody is there for it."""
    for beat, batch in enumerate(batches, 1):
        if batch is not None:
            return batch
        if gone() or beat * HEARTBEAT_S >= FIRST_DELTA_S:
            break
    return None


def written(batches: Iterable[Batch | None], spelling: Chunks | prompt.Texts, after: int) -> Iterator[bytes]:
    for batch in batches:
        if batch is None:
            yield PING
        elif batch.closing is None:
            yield spelling.of(batch)
        else:
            yield LastPiece(spelling.of(batch) + spelling.ending(after))


def route_headers(log: Log) -> dict[str, str]:
    """Whose answer it is: the upstream's that gives it, and how many were asked."""
    headers = {"X-Stream-Id": log.header.stream_id}
    if log.route is not None:
        tries = log.route.tries
        headers["X-Upstream-Tried"] = str(len(tries))
        if tries and tries[-1].failure is None:
            headers["X-Upstream"] = tries[-1].upstream
    return headers


def failure(log: Log, failed: Failed) -> Response:
    """An answer that came to nothing."""
    web.noted(failed.type)
    response = jsonify(openai_failure(failed))
    response.status_code = failure_status(failed)
    response.headers.extend(route_headers(log))
    complaint = failed.complaint
    after_s = complaint.retry_after_s if complaint else None
    if after_s is None and response.status_code in (429, 503):
        after_s = SOON_S
    if after_s is not None:
        web.retry_after(response, ceil(after_s))
    # With a key the answer is on record, and so is its failure.
    if log.header.idempotency is not None or (complaint and complaint.status in OURS_TO_MEND):
        response.headers["X-Should-Retry"] = "false"
    return response


def prompt_refusal(error: ParleyError | Failed) -> Response:
    web.noted(error.type)
    status, headers = prompt.error_status(error), {}
    if status in (429, 503):
        said = error.extras if isinstance(error, ParleyError) else {}
        headers["Retry-After"] = str(said.get("retry_after", SOON_S))
    return web.stream([prompt.error_event(error)], status, headers)
