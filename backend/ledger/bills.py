"""A job's bill: what it comes to, and how it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.ledger import billing
from backend.ledger.records import GENERATED, Call, Job


def due(job: Job, calls: Sequence[Call]) -> int:
    """Credits: nothing for a failed job; for a completed one all that its calls generated counts, theirs too
    that broke off."""
    if job.status == "failed":
        return 0
    tokens, micro_usd = sum(call.tokens for call in calls), sum(call.micro_usd for call in calls)
    return billing.due(job.terms, tokens, micro_usd)


def drawn(job: Job, calls: Sequence[Call], charged: int, free: int) -> dict[str, Any]:
    """What completing the job answers, now and whenever it is asked again: JSON. `free` is what the team has
    left. Calls that never began are not in it."""
    made = [call for call in calls if call.state != "withdrawn"]
    latencies = [call.latency_ms for call in made if call.latency_ms is not None]
    return {
        "job_id": job.job_id,
        "status": job.status,
        "completed_at": job.completed_at,
        "total_calls": len(made),
        "successful_calls": sum(call.state in GENERATED for call in made),
        "failed_calls": sum(call.state in ("failed", "interrupted") for call in made),
        "total_tokens": sum(call.tokens for call in made),
        "total_micro_usd": sum(call.micro_usd for call in made),
        "avg_latency_ms": round(sum(latencies) / len(latencies)) if latencies else 0,
        "credits_charged": charged,
        "credits_remaining": free,
        "calls": [line(call) for call in made],
    }


def line(call: Call) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "purpose": call.purpose,
        "model_group": call.model_group,
        "model": call.model,
        "state": call.state,
        "tokens": call.tokens,
        "micro_usd": call.micro_usd,
        "latency_ms": call.latency_ms,
        "error": call.error,
    }
