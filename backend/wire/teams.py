"""What a team used and how its credits moved, as JSON."""

from __future__ import annotations

from typing import Any

from backend.ledger.records import Cell, Line
from backend.wire.admin import credits_fields
from backend.wire.jobs import usd

COUNTS = ("calls", "failed_calls", "prompt_tokens", "completion_tokens", "avg_ttft_ms")


def cell_fields(cell: Cell) -> dict[str, Any]:
    counts = {name: getattr(cell.used, name) for name in COUNTS}
    return {"day": cell.day, "model": cell.model, **counts, "cost_usd": usd(cell.used.micro_usd)}


def line_fields(line: Line) -> dict[str, Any]:
    """Who made it is for who manages teams alone."""
    names = ("number", "at", "kind", "amount", "job_id", "reason")
    return {
        **{name: getattr(line.entry, name) for name in names},
        "balance": credits_fields(line.balance),
    }
