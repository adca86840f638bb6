"""A server between a browser and Parley: browser ← this ← Parley ← model.

    python examples/example_streaming_chain_server.py      # then open http://127.0.0.1:8000

It has the team's key, and the page never sees it. Every question is one job: its tokens go on to the page
as they come, and at its end the page shows the bill.

A question is answered in a thread of its own, whoever listens. A browser that goes away loses nothing: it
comes back to the answer by its id and reads on after the last event it has. An id that is sent twice is one
question, one job, one charge.

Flask, and not FastAPI: Parley's own environment has it, and the client's synchronous twin in threads shows
the whole chain without an event loop to look after. With FastAPI use `SaaSLLMClient` and `StreamingResponse`
in the same places. Answers are kept in this process: run one of it, or keep them where several see them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any

from flask import Flask, Response, abort, jsonify, request, send_from_directory
from werkzeug.serving import make_server

from typed_client import JobResult, Parley, ParleyError, settings

FOLDER = Path(__file__).resolve().parent
MAX_KEPT = 1000
"""Answers that can be come back to."""
MAX_RUNNING = 20
MAX_CHARS = 4000
PING_S = 5.0
"""A silent stream says so often that it is alive; a browser that has gone is noticed by it."""
ID = re.compile(r"[\w-]{16,64}", re.ASCII)


class Answer:
    """One question's events, kept so that any number of readers can follow, from any of them on."""

    def __init__(self, message: str, streaming: bool) -> None:
        self.message = message
        self.streaming = streaming
        self.events: list[tuple[str, Any]] = []
        self.ended = False
        self._changed = Condition()

    def add(self, name: str, data: Any, *, last: bool = False) -> None:
        with self._changed:
            self.events.append((name, data))
            self.ended = last
            self._changed.notify_all()

    def wait(self, after: int) -> tuple[list[tuple[str, Any]], bool]:
        """The events past the first `after`, none if none came in `PING_S`, and whether they are the last."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or len(self.events) > after, PING_S)
            return self.events[after:], self.ended

    def whole(self) -> dict[str, Any]:
        """Its text and how it ended, once it has."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended)
            name, data = self.events[-1]
            return {"text": "".join(text for kind, text in self.events if kind == "token"), name: data}


class Answers:
    """By the ids that pages make. The lock guards all of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, Answer] = {}

    def find(self, answer_id: str) -> Answer | None:
        with self._lock:
            return self._kept.get(answer_id)

    def take(self, answer_id: str, answer: Answer) -> tuple[Answer | None, bool]:
        """The answer with this id, and whether it is new; None if too many run."""
        with self._lock:
            if answer_id in self._kept:
                return self._kept[answer_id], False
            if sum(not each.ended for each in self._kept.values()) >= MAX_RUNNING:
                return None, False
            if len(self._kept) >= MAX_KEPT:
                del self._kept[next(name for name, each in self._kept.items() if each.ended)]
            self._kept[answer_id] = answer
            return answer, True


def write(answer: Answer, parley: tuple[str, str, str]) -> None:
    """The job, from its making to its bill. What fails is told as the last event, and costs nothing."""
    try:
        with Parley(*parley) as client:
            client.create_job("chain")
            try:
                call(client, answer)
            except ParleyError as error:
                client.complete_job("failed", error_message=error.message)
                raise
            answer.add("bill", bill_of(client.complete_job()), last=True)
    except ParleyError as error:
        answer.add("failed", {"error": error.message, "type": error.type}, last=True)
    except Exception:
        answer.add("failed", {"error": "The server made a mistake", "type": "internal"}, last=True)
        raise


def call(client: Parley, answer: Answer) -> None:
    messages = [{"role": "user", "content": answer.message}]
    if not answer.streaming:
        answer.add("token", client.chat("chat-fast", messages).text)
        return
    with client.chat_stream("chat-fast", messages) as stream:
        for chunk in stream:
            if chunk.text:
                answer.add("token", chunk.text)


def bill_of(result: JobResult) -> dict[str, Any]:
    """What the page may know of it."""
    return {
        "job_id": result.job_id,
        "tokens": result.costs.total_tokens,
        "cost_usd": result.costs.total_cost_usd,
        "latency_ms": result.costs.avg_latency_ms,
        "credits_remaining": result.credits_remaining,
    }


def sent(answer: Answer, after: int) -> Iterator[str]:
    """Server-sent events, numbered from 1: EventSource tells the last number when it comes back."""
    is_over = False
    while not is_over:
        events, is_over = answer.wait(after)
        for name, data in events:
            after += 1
            yield f"id: {after}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
        if not events and not is_over:
            yield ": ping\n\n"


def build(parley: tuple[str, str, str]) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(TRUSTED_HOSTS=["127.0.0.1", "localhost"], MAX_CONTENT_LENGTH=64 * 1024)
    answers = Answers()

    @app.get("/")
    def page() -> Response:
        return send_from_directory(FOLDER, "example_streaming_chain_ui.html")

    @app.post("/answers")
    def ask() -> tuple[Response, int]:
        # JSON alone: other sites' pages cannot send it without being asked first.
        match request.get_json():
            case {"id": str(answer_id), "message": str(message), "stream": bool(streaming)}:
                message = message.strip()
            case _:
                abort(400, "Send an id, a message, and whether to stream")
        if not ID.fullmatch(answer_id) or not 0 < len(message) <= MAX_CHARS:
            abort(400, f"An id has 16 letters or more, a message 1 to {MAX_CHARS}")
        answer, is_new = answers.take(answer_id, Answer(message, streaming))
        if answer is None:
            abort(503, "Too many questions at once; try again")
        if (answer.message, answer.streaming) != (message, streaming):
            abort(409, "This id is another question's")
        if is_new:
            Thread(target=write, args=(answer, parley), daemon=False).start()
        return jsonify({"id": answer_id}), 202

    @app.get("/answers/<answer_id>")
    def read(answer_id: str) -> Response:
        """The whole of it, once it is there."""
        return jsonify(found(answer_id).whole())

    @app.get("/answers/<answer_id>/events")
    def follow(answer_id: str) -> Response:
        after = request.headers.get("Last-Event-ID", "0")
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            abort(400, "Last-Event-ID is the number of an event")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(sent(found(answer_id), int(after)), mimetype="text/event-stream", headers=headers)

    def found(answer_id: str) -> Answer:
        answer = answers.find(answer_id)
        if answer is None:
            abort(404, "There is no such answer")
        return answer

    return app


def main() -> None:
    app = build(settings())
    server = make_server("127.0.0.1", int(os.environ.get("CHAIN_PORT", "8000")), app, threaded=True)
    # Answers under way are written to their end, and billed: their threads are waited for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"open http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("ending, once every answer has been billed", flush=True)
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
