"""Calls: begun with a hold, settled exactly once by their stream id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from backend.chat.errors import Conflict, InvalidRequest, NotFound
from backend.ledger import billing, checks, jobs, postings
from backend.ledger.records import BASES, GENERATED, SETTLED, Call, Job, NewCall, Outcome
from backend.ledger.tables import calls

_CALL = select(*[calls.c[name] for name in Call.__slots__])
_BY_STREAM = _CALL.where(calls.c.stream_id == bindparam("stream"))
_BY_EITHER = _CALL.where(or_(calls.c.call_id == bindparam("call"), calls.c.stream_id == bindparam("stream")))
_SETTLE = update(calls).where(calls.c.stream_id == bindparam("stream"), calls.c.settled_at.is_(None))


def begin(tx: Connection, new: NewCall, job: Job, at: str, leased_until: str) -> Call:
    """A running call of a locked job, whose hold is made; beginning it again changes nothing.

    Raises Conflict for a job that has ended or an id that is taken, and InsufficientCredits.
    """
    ids = {"call": new.call_id, "stream": new.stream_id}
    known = tx.execute(_BY_EITHER, ids).first()
    if known is not None:
        call = Call(*known)
        if (call.call_id, call.stream_id, call.job_id) != (new.call_id, new.stream_id, new.job_id):
            raise Conflict("This call's id is taken; take another")
        return call
    if job.ended:
        raise Conflict(f"This job is {job.status}; open another")
    checks.whole("the most a call can take", new.most.tokens)
    checks.whole("the most a call can cost", new.most.micro_usd)
    amount = billing.to_hold(job.terms, new.most, job.held)
    if amount:
        once = f"hold:call:{new.call_id}"
        postings.post(tx, job.team_id, "hold", amount, once, at, job_id=job.job_id)
    if amount or job.status == "pending":
        started_at = job.started_at or at
        jobs.changed(tx, job, held=job.held + amount, status="in_progress", started_at=started_at)
    call = _begun(new, amount, at, leased_until)
    tx.execute(insert(calls), {name: getattr(call, name) for name in Call.__slots__})
    return call


def settle(tx: Connection, outcome: Outcome, at: str, job_status: str | None = None) -> Call:
    """Record how it ended; the first to say so is believed. What its job was waiting for to be billed, is
    billed. With a `job_status` the job ends as well; so does a job of one call, which has its stream's id:
    completed, if that gave what was wanted. Raises NotFound."""
    _check(outcome)
    call = find(tx, outcome.stream_id)
    job = jobs.find(tx, call.team_id, call.job_id, locked=True)
    values = {name: getattr(outcome, name) for name in Outcome.__slots__ if name != "stream_id"}
    values |= {"model": outcome.model or call.model, "settled_at": at}
    if tx.execute(_SETTLE, {"stream": outcome.stream_id, **values}).rowcount:
        call = replace(call, **values)
        if outcome.state == "withdrawn":
            job = _let_go(tx, job, call, at)
        job = jobs.settle(tx, job, at)
    else:
        call = find(tx, outcome.stream_id)
    if job_status is None and job.job_id == call.stream_id:
        job_status = "completed" if call.state in GENERATED else "failed"
    if job_status is not None:
        jobs.end(tx, job, job_status, at, error_message=outcome.error)
    return call


def find(tx: Connection, stream_id: str) -> Call:
    """Raises NotFound."""
    row = tx.execute(_BY_STREAM, {"stream": stream_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such call")
    return Call(*row)


def renew(tx: Connection, stream_ids: Sequence[str], leased_until: str) -> int:
    """Keep running calls from being overdue; how many of these run."""
    running = (calls.c.stream_id.in_(stream_ids), calls.c.settled_at.is_(None))
    return tx.execute(update(calls).where(*running).values(leased_until=leased_until)).rowcount


def overdue(tx: Connection, now: str, limit: int) -> list[Call]:
    """Running calls whose lease is over: whoever made them is gone. The oldest first."""
    late = (calls.c.settled_at.is_(None), calls.c.leased_until <= now)
    rows = tx.execute(_CALL.where(*late).order_by(calls.c.leased_until).limit(limit))
    return [Call(*row) for row in rows]


def _let_go(tx: Connection, job: Job, call: Call, at: str) -> Job:
    """A call that never began holds nothing; a job with other calls goes on holding 1 at least. If it has
    ended, its hold is the bill's business."""
    others = any(other.state != "withdrawn" for other in jobs.calls_of(tx, job.job_id))
    least = 1 if others else 0
    amount = min(call.held, job.held - least)
    if job.ended or amount <= 0:
        return job
    once = f"release:call:{call.call_id}"
    postings.post(tx, job.team_id, "release", amount, once, at, job_id=job.job_id)
    return jobs.changed(tx, job, held=job.held - amount)


def _check(outcome: Outcome) -> None:
    if outcome.state not in SETTLED or outcome.basis not in BASES:
        raise InvalidRequest(f"a call ends as one of {', '.join(SETTLED)}, by {' or '.join(BASES)}")
    checks.text("error", outcome.error, 4000)
    for name in ("prompt_tokens", "completion_tokens", "micro_usd"):
        checks.whole(name, getattr(outcome, name))
    if outcome.state == "withdrawn" and (
        outcome.prompt_tokens or outcome.completion_tokens or outcome.micro_usd
    ):
        raise InvalidRequest("A call that never began has generated nothing")


def _begun(new: NewCall, held: int, at: str, leased_until: str) -> Call:
    return Call(
        call_id=checks.named("call_id", new.call_id),
        job_id=new.job_id,
        team_id=new.team_id,
        stream_id=checks.named("stream_id", new.stream_id),
        purpose=checks.text("purpose", new.purpose),
        model_group=checks.text("model_group", new.model_group),
        model=checks.some_text("model", new.model),
        metadata=dict(new.metadata),
        state="running",
        held=held,
        prompt_tokens=checks.whole("prompt_tokens", new.prompt_tokens),
        completion_tokens=0,
        micro_usd=0,
        basis=None,
        latency_ms=None,
        ttft_ms=None,
        error=None,
        created_at=at,
        leased_until=leased_until,
        settled_at=None,
    )
