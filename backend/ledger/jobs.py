"""Jobs: opened, found, ended; each pays once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from backend.chat.errors import Conflict, InvalidRequest, NotFound
from backend.ledger import bills, checks, postings
from backend.ledger import teams as team_rows
from backend.ledger.records import ENDED, STATUSES, Call, Job, NewJob
from backend.ledger.tables import calls, jobs

UNKNOWN = "There is no such job"
NOT_YET = ("error_message", "started_at", "completed_at", "due", "charged", "bill")
"""What a job has only later."""

_BY_ID = select(jobs).where(jobs.c.job_id == bindparam("job"))
_CALLS = (
    select(*[calls.c[name] for name in Call.__slots__])
    .where(calls.c.job_id == bindparam("job"))
    .order_by(calls.c.created_at, calls.c.call_id)
)
_CHANGE = update(jobs).where(jobs.c.job_id == bindparam("job"))


def open_(tx: Connection, new: NewJob, at: str, expires_at: str) -> Job:
    """A pending job, which holds nothing yet; opening it again changes nothing. Raises NotFound for an
    unknown team, and Conflict for an id that is taken."""
    known = tx.execute(_BY_ID.with_for_update(key_share=True), {"job": new.job_id}).one_or_none()
    if known is not None:
        if known.team_id != new.team_id:
            raise Conflict("This job id is taken; take another")
        return job_of(known)
    terms = team_rows.find(tx, new.team_id).terms
    values: dict[str, Any] = {
        "job_id": checks.named("job_id", new.job_id),
        "team_id": new.team_id,
        "user_id": checks.text("user_id", new.user_id),
        "job_type": checks.some_text("job_type", new.job_type),
        "metadata": dict(new.metadata),
        "status": "pending",
        "created_at": at,
        "expires_at": expires_at,
        "held": 0,
    }
    tx.execute(insert(jobs), {**values, **team_rows.terms_values(terms)})
    values |= dict.fromkeys(NOT_YET)
    return Job(terms=terms, **values)


def find(tx: Connection, team_id: str, job_id: str, *, locked: bool = False) -> Job:
    """Raises NotFound, for another team's as for one that never was."""
    row = tx.execute(
        _BY_ID.with_for_update(key_share=True) if locked else _BY_ID, {"job": job_id}
    ).one_or_none()
    if row is None or row.team_id != team_id:
        raise NotFound(UNKNOWN)
    return job_of(row)


def page(tx: Connection, team_id: str, limit: int, offset: int, status: str | None = None) -> list[Job]:
    """A team's, the newest first."""
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"status must be one of {', '.join(STATUSES)}")
    query = select(jobs).where(jobs.c.team_id == team_id)
    query = query if status is None else query.where(jobs.c.status == status)
    newest = query.order_by(jobs.c.created_at.desc(), jobs.c.job_id.desc())
    return [job_of(row) for row in tx.execute(newest.limit(limit).offset(offset))]


def calls_of(tx: Connection, job_id: str) -> list[Call]:
    """In their order, those that never began with them."""
    return [Call(*row) for row in tx.execute(_CALLS, {"job": job_id})]


def add_metadata(tx: Connection, job: Job, more: Mapping[str, Any], most_bytes: int) -> Job:
    """Merge it into a locked job's, key by key. Raises InvalidRequest for what would be too much."""
    return changed(tx, job, metadata=checks.metadata({**job.metadata, **more}, most_bytes))


def end(tx: Connection, job: Job, status: str, at: str, error_message: str | None = None) -> Job:
    """It takes no more calls. The job is locked; ending one that has ended, in either way, changes nothing,
    and gives what came of the first time.

    A failed job pays nothing and lets go of all it held, at once. A completed one is charged as soon as none
    of its calls runs, which is at once unless some do: then by the last of them, when that is settled. Then
    either has its bill.
    """
    if status not in ENDED:
        raise InvalidRequest(f"status must be one of {', '.join(ENDED)}")
    if job.ended:
        return job
    values: dict[str, Any] = {
        "status": status,
        "completed_at": at,
        "error_message": checks.text("error_message", error_message, 4000),
    }
    return changed(tx, job, **values, **_paid(tx, replace(job, **values), at))


def settle(tx: Connection, job: Job, at: str) -> Job:
    """Bill a locked job that has ended, if that can be done and is not."""
    values = _paid(tx, job, at) if job.ended and not job.billed else {}
    return changed(tx, job, **values) if values else job


def overdue(tx: Connection, now: str, limit: int) -> list[tuple[str, str]]:
    """Team and id of jobs that should have been ended by now, the oldest first; those with a call that runs
    are given until its end."""
    late = (jobs.c.status.in_(("pending", "in_progress")), jobs.c.expires_at <= now)
    runs = (calls.c.job_id == jobs.c.job_id, calls.c.settled_at.is_(None), calls.c.leased_until > now)
    query = (
        select(jobs.c.team_id, jobs.c.job_id)
        .where(*late, ~exists().where(*runs))
        .order_by(jobs.c.expires_at)
        .limit(limit)
    )
    return [(row.team_id, row.job_id) for row in tx.execute(query)]


def changed(tx: Connection, job: Job, **values: Any) -> Job:
    """The job with these values, which are written."""
    tx.execute(_CHANGE, {"job": job.job_id, **values})
    return replace(job, **values)


def job_of(row: Row[*tuple[Any, ...]]) -> Job:
    values = dict(row._mapping)
    terms = team_rows.terms_of(row)
    return Job(terms=terms, **{name: values[name] for name in Job.__slots__ if name != "terms"})


def _paid(tx: Connection, job: Job, at: str) -> dict[str, Any]:
    """Charge an ended job and let go of what it holds besides: what there is to write of it then. As long as
    a call runs a completed job is not charged, and a failed one lets go, and neither has a bill."""
    made = calls_of(tx, job.job_id)
    is_running = any(call.settled_at is None for call in made)
    if is_running and (job.status == "completed" or job.charged is not None):
        return {}
    paid = _charged(tx, job, made, at)
    return {**paid, "bill": None} if is_running else paid


def _charged(tx: Connection, job: Job, made: Sequence[Call], at: str) -> dict[str, Any]:
    due = bills.due(job, made)
    held = job.held + (_hold_the_rest(tx, job, due - job.held, at) if due > job.held else 0)
    charged = min(due, held)
    if charged:
        postings.post(tx, job.team_id, "charge", charged, f"charge:job:{job.job_id}", at, job_id=job.job_id)
    if held > charged:
        once = f"release:job:{job.job_id}"
        postings.post(tx, job.team_id, "release", held - charged, once, at, job_id=job.job_id)
    free = postings.credits(tx, job.team_id).free
    return {"held": 0, "due": due, "charged": charged, "bill": bills.drawn(job, made, charged, free)}


def _hold_the_rest(tx: Connection, job: Job, missing: int, at: str) -> int:
    """What a bill is over the hold, as far as the team has it free: a balance never falls below 0."""
    amount = min(missing, postings.credits(tx, job.team_id).free)
    if amount:
        postings.post(tx, job.team_id, "hold", amount, f"hold:job:{job.job_id}", at, job_id=job.job_id)
    return amount
