"""Hold every column against the entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, case, func, select

from backend.ledger.postings import moved
from backend.ledger.records import ENDED, Discrepancy
from backend.ledger.tables import calls, entries, jobs, teams

COLUMNS = ("granted", "free", "held", "spent")


def discrepancies(tx: Connection) -> list[Discrepancy]:
    """All there are, as of one moment; none in a ledger that is right."""
    return [*_of_teams(tx), *_of_jobs(tx), *_of_charges(tx), *_of_calls(tx)]


def _of_teams(tx: Connection) -> Iterator[Discrepancy]:
    """A team's columns are what its entries come to; they add up, and none is below 0."""
    sums = select(entries.c.team_id, *[moved(column).label(f"{column}_posted") for column in COLUMNS])
    posted = sums.group_by(entries.c.team_id).subquery()
    joined = teams.outerjoin(posted, posted.c.team_id == teams.c.team_id)
    for row in tx.execute(select(teams, posted).select_from(joined).order_by(teams.c.team_id)):
        values = {column: getattr(row, column) for column in COLUMNS}
        for column, value in values.items():
            by_entries = int(getattr(row, f"{column}_posted") or 0)
            if value != by_entries:
                yield Discrepancy(row[0], f"{column} is {value}, by the entries {by_entries}")
            if value < 0 and column != "granted":
                yield Discrepancy(row[0], f"{column} is {value}, below 0")
        if values["granted"] != values["free"] + values["held"] + values["spent"]:
            yield Discrepancy(row[0], "granted is not free + held + spent")


def _of_jobs(tx: Connection) -> Iterator[Discrepancy]:
    """A job holds what its entries hold, and nothing once it is billed; it was charged what its bill says,
    in one entry."""
    charges = func.sum(case((entries.c.kind == "charge", 1), else_=0))
    charged = func.sum(case((entries.c.kind == "charge", entries.c.amount), else_=0))
    sums = select(
        entries.c.job_id, moved("held").label("posted"), charges.label("charges"), charged.label("taken")
    )
    posted = sums.where(entries.c.job_id.is_not(None)).group_by(entries.c.job_id).subquery()
    joined = jobs.outerjoin(posted, posted.c.job_id == jobs.c.job_id)
    columns = (jobs.c.job_id, jobs.c.team_id, jobs.c.status, jobs.c.held, jobs.c.due, jobs.c.charged)
    right = (
        (jobs.c.held == func.coalesce(posted.c.posted, 0))
        & (func.coalesce(posted.c.charges, 0) <= 1)
        & (func.coalesce(jobs.c.charged, 0) == func.coalesce(posted.c.taken, 0))
        & (jobs.c.charged.is_(None) | (jobs.c.status.in_(ENDED) & (jobs.c.held == 0)))
        & ((jobs.c.status != "failed") | (func.coalesce(jobs.c.charged, 0) == 0))
    )
    found = select(*columns, posted.c.posted, posted.c.charges, posted.c.taken).select_from(joined)
    for row in tx.execute(found.where(~right).order_by(jobs.c.job_id)):
        yield Discrepancy(row.team_id, _job_in_words(row))


def _of_charges(tx: Connection) -> Iterator[Discrepancy]:
    """Every entry but a grant is of a job of the same team."""
    joined = entries.outerjoin(jobs, jobs.c.job_id == entries.c.job_id)
    astray = jobs.c.job_id.is_(None) | (jobs.c.team_id != entries.c.team_id)
    query = select(entries.c.number, entries.c.team_id, entries.c.kind).select_from(joined)
    for row in tx.execute(query.where(entries.c.kind != "grant", astray).order_by(entries.c.number)):
        yield Discrepancy(row.team_id, f"entry {row.number}, a {row.kind}, is of no job of the team")


def _of_calls(tx: Connection) -> Iterator[Discrepancy]:
    """A job that is completed and billed has no running call, and no bill is without its calls."""
    joined = calls.join(jobs, jobs.c.job_id == calls.c.job_id)
    unbilled = (calls.c.settled_at.is_(None)) & (jobs.c.status == "completed") & jobs.c.charged.is_not(None)
    astray = unbilled | (calls.c.team_id != jobs.c.team_id)
    query = select(calls.c.call_id, calls.c.team_id, calls.c.job_id).select_from(joined)
    for row in tx.execute(query.where(astray).order_by(calls.c.call_id)):
        yield Discrepancy(row.team_id, f"call {row.call_id} is not on the bill of job {row.job_id}")


def _job_in_words(row: Row[*tuple[Any, ...]]) -> str:
    return (
        f"job {row.job_id} ({row.status}) holds {row.held}, by the entries {row.posted or 0}; it was charged "
        f"{row.charged or 0} of {row.due or 0} due, by the entries {row.taken or 0} in {row.charges or 0}"
    )
