"""The jobs API as a real HTTP server: by the letter of its contract, over lines that break on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

KEY, TEAM = "sk-fake-0123456789", "team-alpha"
AT = "2026-11-20T10:00:00+00:00"
MICRO_USD_A_TOKEN = 2
FORBIDDEN = {"api_key", "api_base", "base_url"}
CREATE = {"team_id", "user_id", "job_type", "metadata"}
COMPLETE = {"status", "metadata", "error_message"}

Body: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next request to a path that has `route` in it meets. `status`: refused with it, without being
    looked at. `drop`: done, and the line breaks before the answer. `cut`: the answer's body breaks after so
    many bytes; `clean` with a proper end. `body` is sent as it is, with `status`."""

    route: str
    status: int = 0
    drop: bool = False
    cut: int | None = None
    clean: bool = False
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = "unavailable"


class Refusal(Exception):
    def __init__(self, status: int, type: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "code": status, "type": type, "request_id": "r1"}


@dataclass
class Generation:
    """One model call, made once for each idempotency key."""

    call_id: str
    job_id: str
    body: Body
    text: str

    @property
    def tokens(self) -> int:
        return 10 + len(self.pieces)

    @property
    def pieces(self) -> list[str]:
        return [self.text[at : at + 3] for at in range(0, len(self.text), 3)]

    @property
    def call(self) -> Body:
        return {
            "call_id": self.call_id,
            "purpose": self.body.get("purpose"),
            "model_group": self.body.get("model_group") or self.body.get("model"),
            "tokens": self.tokens,
            "latency_ms": 12.5,
            "error": None,
        }


class JobsServer:
    """`_lock` guards all of it. `texts` are the model's next answers, the last one again and again."""

    def __init__(self, texts: Sequence[str] = ("Hello there, dear user",), credits: int = 10) -> None:
        self.texts = list(texts)
        self.credits = credits
        self.charged: list[str] = []
        self.generations: list[Generation] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.jobs: dict[str, Body] = {}
        self.numbered = True
        self._by_key: dict[str, tuple[Body, Generation]] = {}
        self._made: dict[str, Body] = {}
        self._results: dict[str, Body] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, Any]:
        """The status, and JSON or the Generation to stream. Raises Refusal."""
        with self._lock:
            self.requests.append((method, path, {name.lower(): headers[name] for name in headers}))
            if headers.get("Authorization") != f"Bearer {KEY}":
                raise Refusal(401, "unauthorized", "Send a virtual key")
            path, _, query = path.partition("?")
            key = headers.get("Idempotency-Key")
            body = json.loads(raw) if raw else {}
            match [method, *path.strip("/").split("/")[1:]]:
                case ["POST", "jobs", "create"] | ["POST", "jobs"]:
                    return 201, self._create_once(body, key)
                case ["POST", "jobs", "create-and-call"]:
                    return 200, self._create_and_call(body, key)
                case ["POST", "jobs", job_id, "llm-call"]:
                    return 200, self._completion(self._generate(job_id, body, key))
                case ["POST", "jobs", job_id, "llm-call-stream"]:
                    return 200, self._generate(job_id, body, key)
                case ["POST", "jobs", job_id, "complete"]:
                    return 200, self._complete(job_id, body)
                case ["GET", "jobs", job_id]:
                    return 200, self._job(job_id)
                case ["GET", "jobs", job_id, "costs"]:
                    return 200, {"job_id": job_id, "costs": self._costs(job_id), "calls": self._calls(job_id)}
                case ["PATCH", "jobs", job_id, "metadata"]:
                    self._job(job_id)["metadata"] |= body["metadata"]
                    return 200, self._job(job_id)
                case ["GET", "teams", team_id, "jobs"]:
                    return 200, {"jobs": self._team(team_id, list(self.jobs.values()))}
                case ["GET", "teams", team_id, "usage"]:
                    return 200, self._team(team_id, self._usage(team_id, query.removeprefix("period=")))
            raise Refusal(404, "not_found", "There is no such address")

    def fault(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.route in path:
                    self.faults.remove(fault)
                    return fault
        return None

    def _create_once(self, body: Body, key: str | None) -> Body:
        if key is None:
            return self._create(body)
        if key not in self._made:
            self._made[key] = self._create(body)
        return self._made[key]

    def _create(self, body: Body) -> Body:
        if unknown := body.keys() - CREATE:
            raise Refusal(400, "invalid_request", f"Unknown field {min(unknown)}")
        if body.get("team_id", TEAM) != TEAM:
            raise Refusal(403, "forbidden", "This key is another team's")
        job_id = f"job-{len(self.jobs) + 1}"
        made = {"job_id": job_id, "team_id": TEAM, "status": "pending", "created_at": AT}
        more = {"job_type": body["job_type"], "metadata": body.get("metadata") or {}}
        self.jobs[job_id] = {**made, **more, "user_id": body.get("user_id")}
        return made

    def _job(self, job_id: str) -> Body:
        if job_id not in self.jobs:
            raise Refusal(404, "not_found", "There is no such job")
        return self.jobs[job_id]

    def _generate(self, job_id: str, body: Body, key: str | None) -> Generation:
        job = self._job(job_id)
        if not isinstance(body.get("messages"), list) or not (body.get("model_group") or body.get("model")):
            raise Refusal(400, "invalid_request", "A call has messages and a model_group")
        if wrong := (body.keys() & FORBIDDEN) | {name for name in body if body[name] is None}:
            raise Refusal(400, "invalid_request", f"Unknown field {min(wrong)}")
        if key in self._by_key:
            if self._by_key[key][0] != body:
                raise Refusal(422, "idempotency_mismatch", "This key was used with another body")
            return self._by_key[key][1]
        if job["status"] in ("completed", "failed"):
            raise Refusal(409, "job_ended", "This job has ended")
        if not self.credits:
            raise Refusal(402, "insufficient_credits", "The team has no credits left")
        job["status"] = "in_progress"
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        made = Generation(f"call-{len(self.generations) + 1}", job_id, body, text)
        self.generations.append(made)
        if key is not None:
            self._by_key[key] = (body, made)
        return made

    def _completion(self, made: Generation) -> Body:
        said = {"role": "assistant", "content": made.text}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        metadata = {"tokens_used": made.tokens, "latency_ms": 12.5, "model": "demo"}
        response = {"content": made.text, "finish_reason": "stop"}
        openais = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "demo"}
        called = {"call_id": made.call_id, "response": response, "metadata": metadata}
        return {**called, **openais, "choices": [choice], "usage": usage(made)}

    def _calls(self, job_id: str) -> list[Body]:
        self._job(job_id)
        made = [each for each in self.generations if each.job_id == job_id]
        return [{**each.call, "cost_usd": each.tokens * MICRO_USD_A_TOKEN / 1e6} for each in made]

    def _costs(self, job_id: str) -> Body:
        calls = self._calls(job_id)
        return {
            "total_calls": len(calls),
            "successful_calls": len(calls),
            "failed_calls": 0,
            "total_tokens": sum(call["tokens"] for call in calls),
            "total_cost_usd": sum(call["cost_usd"] for call in calls),
            "avg_latency_ms": 12.5,
            "credit_applied": job_id in self.charged,
            "credits_remaining": self.credits,
        }

    def _complete(self, job_id: str, body: Body) -> Body:
        job = self._job(job_id)
        if unknown := body.keys() - COMPLETE:
            raise Refusal(400, "invalid_request", f"Unknown field {min(unknown)}")
        if job_id not in self._results:
            job |= {"status": body["status"], "metadata": job["metadata"] | (body.get("metadata") or {})}
            if body["status"] == "completed":
                self.credits -= 1
                self.charged.append(job_id)
            calls = [
                {name: call[name] for name in call if name != "cost_usd"} for call in self._calls(job_id)
            ]
            costs = self._costs(job_id)
            self._results[job_id] = {
                "job_id": job_id, "status": body["status"], "completed_at": AT, "total_calls": len(calls),
                "credits_remaining": self.credits, "costs": costs, "calls": calls,
            }  # fmt: skip
        return self._results[job_id]

    def _create_and_call(self, body: Body, key: str | None) -> Body:
        if key in self._by_key:
            made = self._by_key[key][1]
        else:
            job = self._create({name: body[name] for name in body if name in CREATE})
            call = {name: body[name] for name in body if name not in CREATE}
            made = self._generate(job["job_id"], call, key)
        result = self._complete(made.job_id, {"status": "completed"})
        ended = {name: result[name] for name in ("job_id", "status", "costs", "credits_remaining")}
        return {**self._completion(made), **ended}

    def _team(self, team_id: str, data: Any) -> Any:
        if team_id != TEAM:
            raise Refusal(404, "not_found", "There is no such team")
        return data

    def _usage(self, team_id: str, period: str) -> Body:
        summary = {
            "total_jobs": len(self.jobs), "successful_jobs": len(self.charged), "failed_jobs": 0,
            "total_calls": len(self.generations),
            "total_tokens": sum(each.tokens for each in self.generations),
            "total_cost_usd": 0.01, "credits_spent": len(self.charged),
        }  # fmt: skip
        types = {"chat": {"count": len(self.jobs), "cost_usd": 0.01}}
        return {"team_id": team_id, "period": period, "summary": summary, "job_types": types, "models": {}}


def usage(made: Generation) -> Body:
    return {"prompt_tokens": 10, "completion_tokens": made.tokens - 10, "total_tokens": made.tokens}


def stream_of(made: Generation, stream_id: str, after: int, numbered: bool) -> bytes:
    """The events of a call past one of its numbers."""
    same = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "demo"}
    deltas: list[Body] = [{"content": piece} for piece in made.pieces]
    deltas[0] = {"role": "assistant", **deltas[0]}
    chunks = [{**same, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks += [{**same, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    if made.body.get("stream_options", {}).get("include_usage"):
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks += [{**same, "choices": [], "usage": usage(made)}]
    events = ["data: " + data for data in [*map(json.dumps, chunks), "[DONE]"]]
    if numbered:
        events = [f"id: {stream_id}:{number}\n{event}" for number, event in enumerate(events, 1)]
    return "".join(event + "\n\n" for event in events[after:]).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    jobs: JobsServer

    def respond(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.jobs.fault(self.path)
        if fault and fault.status:
            said = {"error": "Not now", "code": fault.status, "type": fault.type}
            self.send(
                fault.status, json.dumps(said).encode() if fault.body is None else fault.body, fault.headers
            )
            return
        try:
            status, answer = self.jobs.answer(self.command, self.path, self.headers, raw)
        except Refusal as exc:
            self.send(exc.status, json.dumps(exc.body).encode())
            return
        if fault and fault.drop:
            self.close_connection = True
        elif isinstance(answer, Generation):
            self.stream(answer, fault)
        else:
            self.send(status, json.dumps(answer).encode())

    do_GET = do_POST = do_PATCH = respond

    def stream(self, made: Generation, fault: Fault | None) -> None:
        resumable = self.headers.get("X-Stream-Resume") == "1" and self.jobs.numbered
        stream_id = f"stream-{made.call_id}"
        last = self.headers.get("Last-Event-ID", "")
        assert not last or last.startswith(f"{stream_id}:"), last
        body = stream_of(made, stream_id, int(last.rpartition(":")[2] or 0) if resumable else 0, resumable)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("X-Stream-Id", stream_id)
        self.send_header("X-Call-Id", made.call_id)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = len(body) if fault is None or fault.cut is None else fault.cut
        if body[:cut]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(body[:cut]), body[:cut]))
        if cut == len(body) or (fault and fault.clean):
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving(jobs: JobsServer) -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"jobs": jobs}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
