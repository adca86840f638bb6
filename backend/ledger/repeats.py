"""Requests that may be sent again: what each idempotency key was first used for."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, select

from backend.chat.errors import IdempotencyMismatch
from backend.ledger.records import Once
from backend.ledger.tables import repeats

_BY_NAME = select(repeats).where(repeats.c.name == bindparam("name"))


def known(tx: Connection, once: Once | None) -> str | None:
    """The job that this request was about when it was sent before; None if it was not. Raises
    IdempotencyMismatch for another body."""
    row = tx.execute(_BY_NAME, {"name": once.name}).one_or_none() if once else None
    if row is None:
        return None
    if once and row.body != once.body:
        raise IdempotencyMismatch
    job_id: str = row.job_id
    return job_id


def note(tx: Connection, once: Once | None, job_id: str) -> None:
    """It is new, and about this job. Of two that are sent at once the database refuses one, which then finds
    the other."""
    if once:
        tx.execute(insert(repeats), {"name": once.name, "body": once.body, "job_id": job_id})
