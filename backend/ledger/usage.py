"""What a team used in a month or a day, UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from backend.chat.errors import InvalidRequest
from backend.ledger import teams as team_rows
from backend.ledger.records import BROKEN, ENDED, Cell, Used
from backend.ledger.tables import calls, entries, jobs

PERIOD = re.compile(r"\d{4}-\d{2}(-\d{2})?", re.ASCII)

_DAY = func.substr(calls.c.created_at, 1, 10).label("day")
_USED = (
    func.count().label("calls"),
    func.sum(case((calls.c.state.in_(BROKEN), 1), else_=0)).label("failed_calls"),
    func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
    func.sum(calls.c.completion_tokens).label("completion_tokens"),
    func.sum(calls.c.micro_usd).label("micro_usd"),
    func.count(calls.c.ttft_ms).label("timed_calls"),
    func.coalesce(func.sum(calls.c.ttft_ms), 0).label("ttft_ms"),
)
"""As the fields of Used. The index `calls_by_team` has all that is read here: a million calls are a few
seconds' work, and the rows themselves would be ten times that."""


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
    statuses = select(jobs.c.status, func.count()).where(jobs_then).group_by(jobs.c.status)
    by_status = {row[0]: row[1] for row in tx.execute(statuses)}
    found = _cells(tx, team_id, first, past)
    days = _together(found, lambda cell: cell.day)
    models = _together(found, lambda cell: cell.model)
    spent = _spent(tx, team_id, first, past)
    total = sum((cell.used for cell in found), Used())
    return {
        "team_id": team_id,
        "period": period,
        "summary": {
            "total_jobs": sum(by_status.values()),
            "successful_jobs": by_status.get(ENDED[0], 0),
            "failed_jobs": by_status.get(ENDED[1], 0),
            "total_calls": total.calls,
            "total_tokens": total.tokens,
            "total_micro_usd": total.micro_usd,
            "avg_ttft_ms": total.avg_ttft_ms,
            "credits_spent": sum(spent.values()),
        },
        "job_types": _job_types(tx, jobs_then),
        "models": {model: _in_short(models[model]) for model in sorted(models)},
        "days": {
            day: {**_in_short(days.get(day, Used())), "credits": spent.get(day, 0)}
            for day in sorted({*days, *spent})
        },
    }


def daily(tx: Connection, team_id: str, period: str, limit: int, offset: int) -> list[Cell]:
    """What each day's calls of each model took, in the order of days and models. Raises NotFound and
    InvalidRequest."""
    first, past = bounds(period)
    team_rows.find(tx, team_id)
    return _cells(tx, team_id, first, past, limit, offset)


def _within(table: Any, team_id: str, first: str, past: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = (
        (table.c.team_id == team_id) & (table.c.created_at >= first) & (table.c.created_at < past)
    )
    return condition


def _cells(
    tx: Connection, team_id: str, first: str, past: str, limit: int | None = None, offset: int = 0
) -> list[Cell]:
    then = _within(calls, team_id, first, past) & (calls.c.state != "withdrawn")
    query = select(_DAY, calls.c.model, *_USED).where(then).group_by(_DAY, calls.c.model)
    rows = tx.execute(query.order_by(_DAY, calls.c.model).limit(limit).offset(offset or None))
    return [Cell(day, model, Used(*map(int, sums))) for day, model, *sums in rows]


def _together(cells: Sequence[Cell], name_of: Callable[[Cell], str]) -> dict[str, Used]:
    found: dict[str, Used] = {}
    for cell in cells:
        name = name_of(cell)
        found[name] = found.get(name, Used()) + cell.used
    return found


def _in_short(used: Used) -> dict[str, Any]:
    return {name: getattr(used, name) for name in ("calls", "tokens", "micro_usd", "avg_ttft_ms")}


def _job_types(tx: Connection, condition: ColumnElement[bool]) -> dict[str, dict[str, int]]:
    """How many jobs of each type there were, and what all their calls cost."""
    cost = select(func.sum(calls.c.micro_usd)).where(calls.c.job_id == jobs.c.job_id).scalar_subquery()
    columns = (
        jobs.c.job_type,
        func.count().label("jobs"),
        func.coalesce(func.sum(cost), 0).label("micro_usd"),
    )
    rows = tx.execute(select(*columns).where(condition).group_by(jobs.c.job_type).order_by(jobs.c.job_type))
    return {row.job_type: {"count": row.jobs, "micro_usd": int(row.micro_usd)} for row in rows}


def _spent(tx: Connection, team_id: str, first: str, past: str) -> dict[str, int]:
    """Credits charged, by day."""
    day = func.substr(entries.c.at, 1, 10).label("day")
    charged = (entries.c.kind == "charge") & (entries.c.team_id == team_id)
    then = (entries.c.at >= first) & (entries.c.at < past)
    query = select(day, func.sum(entries.c.amount).label("credits")).where(charged, then).group_by(day)
    return {row.day: int(row.credits) for row in tx.execute(query)}
