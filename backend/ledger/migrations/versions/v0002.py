"""Indices that hold all that usage sums up."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

USED = ["state", "model", "prompt_tokens", "completion_tokens", "micro_usd", "ttft_ms"]


def upgrade() -> None:
    op.drop_index("jobs_by_team", "jobs")
    op.create_index("jobs_by_team", "jobs", ["team_id", "created_at", "job_id", "status", "job_type"])
    op.drop_index("calls_by_job", "calls")
    op.create_index("calls_by_job", "calls", ["job_id", "created_at", "micro_usd"])
    op.drop_index("calls_by_team", "calls")
    op.create_index("calls_by_team", "calls", ["team_id", "created_at", *USED])
    op.create_index("entries_by_time", "entries", ["team_id", "at", "kind", "amount"])
