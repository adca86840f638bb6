from __future__ import annotations

from backend.ledger.records import Cell, Credits, Entry, Line, Used
from backend.wire.teams import cell_fields, line_fields

AT = "2026-11-20T12:00:00.000000+00:00"


def test_a_cell_has_dollars_for_micro_dollars_and_a_mean_for_a_sum() -> None:
    assert cell_fields(Cell("2026-11-20", "demo", Used(3, 1, 20, 10, 1500, 2, 301))) == {
        "day": "2026-11-20", "model": "demo", "calls": 3, "failed_calls": 1, "prompt_tokens": 20,
        "completion_tokens": 10, "avg_ttft_ms": 150, "cost_usd": 0.0015,
    }  # fmt: skip
    assert cell_fields(Cell("2026-11-20", "demo", Used(1)))["avg_ttft_ms"] is None


def test_a_line_of_a_ledger_does_not_say_who_wrote_it() -> None:
    entry = Entry(7, "acme", "grant", 5, None, "a gift", "user:alice", AT, "grant:acme:k")
    assert line_fields(Line(entry, Credits(15, 12, 1, 2))) == {
        "number": 7, "at": AT, "kind": "grant", "amount": 5, "job_id": None, "reason": "a gift",
        "balance": {"granted": 15, "free": 12, "held": 1, "spent": 2},
    }  # fmt: skip
