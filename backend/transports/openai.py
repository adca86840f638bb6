"""`/v1`: OpenAI's chat completions and models; on the same route the short dialect, too."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify, request

from backend.chat.engine import Engine
from backend.chat.errors import ParleyError, RateLimited
from backend.chat.events import Failed
from backend.chat.ports import Models
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.transports.completing import SOON_S, Completing, route_headers
from backend.wire import prompt
from backend.wire.body import Body, read_body
from backend.wire.completions import CompletionBounds, completion_request, is_completion
from backend.wire.errors import openai_failure
from backend.wire.openai import ID, model_fields, model_list
from backend.wire.sse import read_after


def blueprint(engine: Engine, bounds: CompletionBounds, models: Models, meters: Meters) -> Blueprint:
    door = Blueprint("openai", __name__, url_prefix="/v1")
    started = int(time.time())
    answers = Completing(engine, meters, "openai", lambda failed, _: openai_failure(failed), route_headers)

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
            return answers.whole(log)
        return answers.streamed(log, read_after(log.header.stream_id, last, after), numbered=True)

    @door.get("/models")
    def list_models() -> Response:
        return jsonify(
            model_list([model for model in models.all if web.caller().may_ask(model.name)], started)
        )

    @door.get("/models/<path:name>")
    def read_model(name: str) -> Response:
        return jsonify(model_fields(models.find(name), started))

    def completed(body: Body) -> Response:
        key = request.headers.get("Idempotency-Key")
        resumable = request.headers.get("X-Stream-Resume") == "1"
        # Who brings a key means to ask again, and would take half an answer for a whole one.
        runs_on = resumable or key is not None
        log = engine.open(web.caller(), completion_request(body, key, bounds, runs_on=runs_on))
        streaming = body.fields.get("stream")
        return answers.streamed(log, 0, numbered=resumable) if streaming else answers.whole(log)

    def prompted(raw: bytes) -> Response:
        key = request.headers.get("Idempotency-Key")
        try:
            body = prompt.read_prompt_body(raw)
            log = engine.open(web.caller(), prompt.prompt_request(body, key, bounds.max_answer_tokens))
        except RateLimited:
            raise  # of one shape in all dialects
        except ParleyError as error:
            return prompt_refusal(error)
        return answers.sent(log, 0, prompt.Texts(log), prompt_refusal)

    return door


def prompt_refusal(error: ParleyError | Failed) -> Response:
    web.noted(error.type)
    status, headers = prompt.error_status(error), {}
    if status in (429, 503):
        said = error.extras if isinstance(error, ParleyError) else {}
        headers["Retry-After"] = str(said.get("retry_after", SOON_S))
    return web.stream([prompt.error_event(error)], status, headers)
