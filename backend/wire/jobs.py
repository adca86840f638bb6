"""Jobs, their calls and their bills, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.chat.errors import InvalidRequest
from backend.chat.events import Finished
from backend.ledger.billing import MICROS
from backend.ledger.bills import drawn
from backend.ledger.records import STATUSES, Call, Job
from backend.wire.openai import ID


def created_fields(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "team_id": job.team_id,
        "status": job.status,
        "created_at": job.created_at,
    }


def job_fields(job: Job) -> dict[str, Any]:
    return {
        **created_fields(job),
        "user_id": job.user_id,
        "job_type": job.job_type,
        "metadata": dict(job.metadata),
        "error_message": job.error_message,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "expires_at": job.expires_at,
        "credits_held": job.held,
        "credits_charged": job.charged or 0,
    }


def result_fields(bill: Mapping[str, Any]) -> dict[str, Any]:
    """What ending a job answers; `bill` is the ledger's."""
    return {
        "job_id": bill["job_id"],
        "status": bill["status"],
        "completed_at": bill["completed_at"],
        "total_calls": bill["total_calls"],
        "credits_charged": bill["credits_charged"],
        "credits_remaining": bill["credits_remaining"],
        "costs": costs_fields(bill),
        "calls": [line_fields(line) for line in bill["calls"]],
    }


def running_costs(job: Job, calls: Sequence[Call], free: int) -> dict[str, Any]:
    """What a job has cost so far, or did cost."""
    bill = drawn(job, calls, job.charged or 0, free)
    return {
        "job_id": job.job_id,
        "status": job.status,
        "costs": costs_fields(bill),
        "calls": [line_fields(line) for line in bill["calls"]],
    }


def costs_fields(bill: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "total_calls": bill["total_calls"],
        "successful_calls": bill["successful_calls"],
        "failed_calls": bill["failed_calls"],
        "total_tokens": bill["total_tokens"],
        "total_cost_usd": usd(bill["total_micro_usd"]),
        "avg_latency_ms": bill["avg_latency_ms"],
        "credit_applied": bill["credits_charged"] > 0,
        "credits_remaining": bill["credits_remaining"],
    }


def line_fields(line: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in line.items() if name != "micro_usd"}
    return {**rest, "cost_usd": usd(line["micro_usd"])}


def call_fields(
    call: Call | None, job_id: str, completion: Mapping[str, Any], closing: Finished
) -> dict[str, Any]:
    """A call that is answered: OpenAI's fields, and ours. What it cost is there once the ledger has it."""
    choice = completion["choices"][0]
    message = choice["message"]
    response = {"content": message.get("content"), "finish_reason": choice["finish_reason"]}
    if message.get("tool_calls"):
        response["tool_calls"] = message["tool_calls"]
    return {
        **completion,
        "call_id": completion["id"].removeprefix(ID),
        "job_id": job_id,
        "response": response,
        "metadata": {
            "tokens_used": closing.usage.total_tokens,
            "latency_ms": round(closing.duration_s * 1000),
            "model": completion["model"],
            "cost_usd": usd(call.micro_usd) if call and call.settled_at else None,
        },
    }


def usage_fields(usage: Mapping[str, Any]) -> dict[str, Any]:
    """What a team used, with dollars for micro-USD."""
    return {
        "team_id": usage["team_id"],
        "period": usage["period"],
        "summary": in_usd(usage["summary"], "total_micro_usd", "total_cost_usd"),
        **{
            part: {name: in_usd(row, "micro_usd", "cost_usd") for name, row in usage[part].items()}
            for part in ("job_types", "models", "days")
        },
    }


def in_usd(row: Mapping[str, Any], micro: str, dollars: str) -> dict[str, Any]:
    rest = {name: value for name, value in row.items() if name != micro}
    return {**rest, dollars: usd(row[micro])}


def usd(micro_usd: int) -> float:
    return micro_usd / MICROS


def read_status(text: str | None) -> str | None:
    if text is not None and text not in STATUSES:
        raise InvalidRequest(f"status must be one of {', '.join(STATUSES)}")
    return text
