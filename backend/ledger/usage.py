"""What a team used in a month or a day, UTC."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from backend.chat.errors import InvalidRequest
from backend.ledger import teams as team_rows
from backend.ledger.records import ENDED
from backend.ledger.tables import calls, entries, jobs

PERIOD = re.compile(r"\d{4}-\d{2}(-\d{2})?", re.ASCII)
NO_CALLS = {"calls": 0, "tokens": 0, "micro_usd": 0, "avg_ttft_ms": None}


def bounds(period: str) -> tuple[str, str]:
    """The day on which `2026-11` or `2026-11-20` begins, and the one that is past it. Raises
    InvalidRequest."""
    try:
        if not PERIOD.fullmatch(period):
            raise ValueError
        whole_month = len(period) == 7
        first = date.fromisoformat(f"{period}-01" if whole_month else period)
        past = first + timedelta(days=32 if whole_month else 1)
        return first.isoformat(), (past.replace(day=1) if whole_month else past).isoformat()
    except (ValueError, OverflowError) as exc:
        raise InvalidRequest("period must be a month such as 2026-11 or a day such as 2026-11-20") from exc


def of_team(tx: Connection, team_id: str, period: str) -> dict[str, Any]:
    """JSON: jobs and calls by when they were made, credits by when they were charged, in sums and by day, job
    type and model. Raises NotFound and InvalidRequest."""
    first, past = bounds(period)
    team_rows.find(tx, team_id)
    jobs_then = _within(jobs, team_id, first, past)
    calls_then = _within(calls, team_id, first, past) & (calls.c.state != "withdrawn")
    statuses = select(jobs.c.status, func.count()).where(jobs_then).group_by(jobs.c.status)
    by_status = {row[0]: row[1] for row in tx.execute(statuses)}
    days = _calls_by(tx, func.substr(calls.c.created_at, 1, 10), calls_then)
    spent = _spent(tx, team_id, first, past)
    return {
        "team_id": team_id,
        "period": period,
        "summary": {
            "total_jobs": sum(by_status.values()),
            "successful_jobs": by_status.get(ENDED[0], 0),
            "failed_jobs": by_status.get(ENDED[1], 0),
            "total_calls": sum(row["calls"] for row in days.values()),
            "total_tokens": sum(row["tokens"] for row in days.values()),
            "total_micro_usd": sum(row["micro_usd"] for row in days.values()),
            "credits_spent": sum(spent.values()),
        },
        "job_types": _job_types(tx, jobs_then),
        "models": _calls_by(tx, calls.c.model, calls_then),
        "days": {
            day: {**days.get(day, NO_CALLS), "credits": spent.get(day, 0)} for day in sorted({*days, *spent})
        },
    }


def _within(table: Any, team_id: str, first: str, past: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = (
        (table.c.team_id == team_id) & (table.c.created_at >= first) & (table.c.created_at < past)
    )
    return condition


def _calls_by(tx: Connection, column: Any, condition: ColumnElement[bool]) -> dict[str, dict[str, Any]]:
    """How many calls, what they took, and the mean time to their first token, for each value of a column."""
    query = select(
        column.label("name"),
        func.count().label("calls"),
        func.sum(calls.c.prompt_tokens + calls.c.completion_tokens).label("tokens"),
        func.sum(calls.c.micro_usd).label("micro_usd"),
        func.avg(calls.c.ttft_ms).label("ttft_ms"),
    )
    rows = tx.execute(query.where(condition).group_by(column).order_by(column))
    return {
        row.name: {
            "calls": row.calls,
            "tokens": int(row.tokens),
            "micro_usd": int(row.micro_usd),
            "avg_ttft_ms": None if row.ttft_ms is None else round(row.ttft_ms),
        }
        for row in rows
    }


def _job_types(tx: Connection, condition: ColumnElement[bool]) -> dict[str, dict[str, int]]:
    """How many jobs of each type there were, and what all their calls cost."""
    joined = jobs.outerjoin(calls, calls.c.job_id == jobs.c.job_id)
    columns = (
        jobs.c.job_type,
        func.count(func.distinct(jobs.c.job_id)).label("count"),
        func.coalesce(func.sum(calls.c.micro_usd), 0).label("micro_usd"),
    )
    rows = tx.execute(
        select(*columns)
        .select_from(joined)
        .where(condition)
        .group_by(jobs.c.job_type)
        .order_by(jobs.c.job_type)
    )
    return {row.job_type: {"count": row[1], "micro_usd": int(row.micro_usd)} for row in rows}


def _spent(tx: Connection, team_id: str, first: str, past: str) -> dict[str, int]:
    """Credits charged, by day."""
    day = func.substr(entries.c.at, 1, 10).label("day")
    charged = (entries.c.kind == "charge") & (entries.c.team_id == team_id)
    then = (entries.c.at >= first) & (entries.c.at < past)
    query = select(day, func.sum(entries.c.amount).label("credits")).where(charged, then).group_by(day)
    return {row.day: int(row.credits) for row in tx.execute(query)}
