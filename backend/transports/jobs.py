"""Jobs: several calls of models, one business operation, one bill."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

from flask import Blueprint, Response, jsonify, request

from backend.chat.engine import Engine
from backend.chat.errors import Forbidden, NotFound, StreamExpired, Unavailable
from backend.chat.events import Failed, Finished
from backend.chat.ids import new_id
from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.ledger.desk import Desk
from backend.ledger.records import Call, NewJob, Once
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.transports.completing import Completing, route_headers
from backend.wire import calls
from backend.wire import jobs as wire
from backend.wire.body import Body, read_body
from backend.wire.chat import idempotency_key as checked_key
from backend.wire.chat import parse
from backend.wire.completions import CompletionBounds
from backend.wire.errors import chat_error, failure_status
from backend.wire.queries import read_page
from backend.wire.sse import read_after

BILL_S = 10.0
"""How long a completed job is waited for whose calls are yet to end."""
BILL_POLL_S = 0.05
LEFT_POLL_S = 1.0
"""How often it is looked meanwhile whether a call's process has died."""
NO_JOB = "There is no such job"
NO_TEAM = "There is no such team"


def blueprint(
    engine: Engine,
    desk: Desk,
    settle_left: Callable[[str, str], None],
    bounds: CompletionBounds,
    runtime: Runtime,
    meters: Meters,
) -> Blueprint:
    """`settle_left` settles the calls of a team's job that nobody else will."""
    door = Blueprint("jobs", __name__, url_prefix="/api")
    answers = Completing(engine, meters, "jobs", fault, call_headers)

    @door.post("/jobs/create")
    @door.post("/jobs", endpoint="create_job")
    def create() -> tuple[Response, int]:
        team_id = own_team()
        body = read_body(web.body())
        asked = parse(calls.JobBody, body)
        check_own(asked.team_id)
        new = NewJob(new_id(), team_id, asked.job_type, asked.user_id, asked.metadata or {})
        return jsonify(wire.created_fields(desk.ledger.open_job(new, once(team_id, "create", body)))), 201

    @door.post("/jobs/<job_id>/llm-call")
    def call(job_id: str) -> Response:
        log = opened(job_id, streaming=False)
        return answers.whole(log, lambda fields, closing: called(log, job_id, fields, closing))

    @door.post("/jobs/<job_id>/llm-call-stream")
    def call_stream(job_id: str) -> Response:
        last = request.headers.get("Last-Event-ID")
        if last:
            log = engine.find(web.caller(), last.partition(":")[0])
            if desk.ledger.call(log.header.stream_id).job_id != job_id:
                raise NotFound(NO_JOB)
            return answers.streamed(log, read_after(log.header.stream_id, last, None), numbered=True)
        log = opened(job_id, streaming=True)
        return answers.streamed(log, 0, numbered=resumable())

    @door.post("/jobs/create-and-call")
    def whole_job() -> Response:
        own_team()
        job, asked = calls.whole_job_request(read_body(web.body()), idempotency_key(), bounds)
        check_own(job.team_id)
        log = engine.open(web.caller(), asked)

        def spelled(fields: dict[str, Any], closing: Finished) -> dict[str, Any]:
            job_id = log.header.stream_id
            bill = wire.result_fields(billed(own_team(), job_id))
            ended = {name: bill[name] for name in ("status", "completed_at", "costs", "credits_remaining")}
            return {**called(log, job_id, fields, closing), **ended}

        return answers.whole(log, spelled)

    @door.post("/jobs/<job_id>/complete")
    def complete(job_id: str) -> Response:
        team_id, raw = own_team(), web.body()
        body = read_body(raw) if raw.strip() else Body({}, "")
        asked = parse(calls.EndBody, body)
        status, again = asked.status or "completed", once(team_id, f"complete {job_id}", body)
        job = desk.ledger.end_job(team_id, job_id, status, asked.metadata, asked.error_message, again)
        if job.status == "failed" and job.bill is None:
            stop_calls(team_id, job_id)
        return jsonify(wire.result_fields(billed(team_id, job_id)))

    @door.get("/jobs/<job_id>")
    def read(job_id: str) -> Response:
        return jsonify(wire.job_fields(desk.ledger.job(own_team(), job_id)))

    @door.get("/jobs/<job_id>/costs")
    def costs(job_id: str) -> Response:
        team_id = own_team()
        job, made = desk.ledger.job(team_id, job_id), desk.ledger.calls(team_id, job_id)
        return jsonify(wire.running_costs(job, made, desk.accounts.team(team_id).credits.free))

    @door.patch("/jobs/<job_id>/metadata")
    def add_metadata(job_id: str) -> Response:
        team_id = own_team()
        more = parse(calls.MetadataBody, read_body(web.body())).metadata
        return jsonify(wire.job_fields(desk.ledger.add_metadata(team_id, job_id, more)))

    @door.get("/teams/<team_id>/jobs")
    def list_jobs(team_id: str) -> Response:
        check_seen(team_id)
        limit, offset = read_page(request.args)
        status = wire.read_status(request.args.get("status"))
        desk.accounts.team(team_id)
        found = desk.ledger.jobs(team_id, limit, offset, status)
        return jsonify({"jobs": [wire.job_fields(job) for job in found], "limit": limit, "offset": offset})

    @door.get("/teams/<team_id>/usage")
    def usage(team_id: str) -> Response:
        check_seen(team_id)
        period = request.args.get("period") or runtime.now()[: len("2026-11")]
        return jsonify(wire.usage_fields(desk.accounts.usage(team_id, period)))

    def opened(job_id: str, *, streaming: bool) -> Log:
        own_team()
        key = idempotency_key()
        asked = calls.call_request(
            read_body(web.body()),
            job_id,
            key,
            bounds,
            streaming=streaming,
            runs_on=key is not None or resumable(),
        )
        return engine.open(web.caller(), asked)

    def called(log: Log, job_id: str, fields: dict[str, Any], closing: Finished) -> dict[str, Any]:
        return wire.call_fields(recorded(log.header.stream_id), job_id, fields, closing)

    def stop_calls(team_id: str, job_id: str) -> None:
        """Nobody wants what a failed job's calls are still to say, and nobody pays for it."""
        for call in desk.ledger.calls(team_id, job_id):
            if call.settled_at is None:
                with suppress(NotFound, StreamExpired):
                    engine.stop(web.caller(), call.stream_id)

    def recorded(call_id: str) -> Call | None:
        """The call as the ledger has it, which may have to wait for it."""
        try:
            return desk.ledger.call(call_id)
        except Unavailable:
            return None

    def billed(team_id: str, job_id: str) -> dict[str, Any]:
        """The bill of a job that has ended, once what it must pay for has, too."""
        looks_s = runtime.monotonic()
        until_s = looks_s + BILL_S
        while (job := desk.ledger.job(team_id, job_id)).bill is None:
            now_s = runtime.monotonic()
            if now_s >= looks_s:
                settle_left(team_id, job_id)
                looks_s = now_s + LEFT_POLL_S
                continue
            if now_s >= until_s or web.client_gone()():
                raise Unavailable("This job has ended, and a call of it is yet to; ask again for the bill")
            runtime.sleep(BILL_POLL_S)
        return dict(job.bill)

    return door


def fault(failed: Failed, request_id: str) -> dict[str, Any]:
    """An answer that broke off, as this API tells it."""
    return chat_error(failed, request_id, code=failure_status(failed))


def call_headers(log: Log) -> dict[str, str]:
    """A call's id is its stream's."""
    return {**route_headers(log), "X-Call-Id": log.header.stream_id}


def idempotency_key() -> str | None:
    """Raises InvalidRequest."""
    return checked_key(request.headers.get("Idempotency-Key"))


def once(team_id: str, what: str, body: Body) -> Once | None:
    """What a request is known by that may be sent again; None without a key. Raises InvalidRequest."""
    key = idempotency_key()
    if key is None:
        return None
    name = sha256(f"{team_id} {what} {key}".encode("utf-8", "replace")).hexdigest()
    return Once(name, body.fingerprint)


def resumable() -> bool:
    return request.headers.get("X-Stream-Resume") == "1"


def own_team() -> str:
    """Whose key was shown. Raises Forbidden."""
    team_id = web.caller().team_id
    if team_id is None:
        raise Forbidden("This takes a team's virtual key: Authorization: Bearer sk-…")
    return team_id


def check_own(team_id: str | None) -> None:
    if team_id is not None and team_id != own_team():
        raise Forbidden("This key is another team's; leave team_id out, or send that team's key")


def check_seen(team_id: str) -> None:
    """A team sees itself, who manages teams sees all. Raises NotFound and Forbidden."""
    if not web.caller().admin and team_id != own_team():
        raise NotFound(NO_TEAM)
