"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Document = sa.JSON(none_as_null=True)
Id = sa.String(64)
Time = sa.String(32)


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("team_id", Id, primary_key=True),
        sa.Column("budget_mode", sa.String(32), nullable=False),
        sa.Column("credits_per_dollar", sa.BigInteger, nullable=False),
        sa.Column("tokens_per_credit", sa.BigInteger, nullable=False),
        sa.Column("rate_limit", sa.String(32)),
        sa.Column("model_groups", Document),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("free", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.CheckConstraint("free >= 0", name="teams_free"),
        sa.CheckConstraint("held >= 0", name="teams_held"),
        sa.CheckConstraint("spent >= 0", name="teams_spent"),
        sa.CheckConstraint("granted = free + held + spent", name="teams_balanced"),
        sa.CheckConstraint("credits_per_dollar > 0 AND tokens_per_credit > 0", name="teams_rates"),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", Id, primary_key=True),
        sa.Column("team_id", Id, sa.ForeignKey("teams.team_id"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("expires_at", Time),
        sa.Column("revoked_at", Time),
    )
    op.create_index("keys_by_team", "keys", ["team_id", "created_at"])
    op.create_table(
        "model_groups",
        sa.Column("name", Id, primary_key=True),
        sa.Column("members", Document, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", Id, primary_key=True),
        sa.Column("team_id", Id, sa.ForeignKey("teams.team_id"), nullable=False),
        sa.Column("user_id", sa.String(255)),
        sa.Column("job_type", sa.String(255), nullable=False),
        sa.Column("metadata", Document, nullable=False),
        sa.Column("budget_mode", sa.String(32), nullable=False),
        sa.Column("credits_per_dollar", sa.BigInteger, nullable=False),
        sa.Column("tokens_per_credit", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("completed_at", Time),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("charged", sa.BigInteger),
        sa.Column("bill", Document),
        sa.CheckConstraint("held >= 0", name="jobs_held"),
        sa.CheckConstraint("charged >= 0 AND charged <= due", name="jobs_charged"),
    )
    op.create_index("jobs_by_team", "jobs", ["team_id", "created_at", "job_id"])
    op.create_index("jobs_by_time", "jobs", ["status", "expires_at"])
    op.create_table(
        "calls",
        sa.Column("call_id", Id, primary_key=True),
        sa.Column("job_id", Id, sa.ForeignKey("jobs.job_id"), nullable=False),
        sa.Column("team_id", Id, sa.ForeignKey("teams.team_id"), nullable=False),
        sa.Column("stream_id", Id, nullable=False, unique=True),
        sa.Column("purpose", sa.String(255)),
        sa.Column("model_group", sa.String(255)),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("metadata", Document, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("micro_usd", sa.BigInteger, nullable=False),
        sa.Column("basis", sa.String(16)),
        sa.Column("latency_ms", sa.BigInteger),
        sa.Column("ttft_ms", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("leased_until", Time, nullable=False),
        sa.Column("settled_at", Time),
        sa.CheckConstraint(
            "held >= 0 AND prompt_tokens >= 0 AND completion_tokens >= 0 AND micro_usd >= 0",
            name="calls_counts",
        ),
        sa.CheckConstraint("(state = 'running') = (settled_at IS NULL)", name="calls_settled"),
    )
    op.create_index("calls_by_job", "calls", ["job_id", "created_at"])
    op.create_index("calls_by_team", "calls", ["team_id", "created_at"])
    op.create_index("calls_by_lease", "calls", ["settled_at", "leased_until"])
    op.create_table(
        "entries",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("team_id", Id, sa.ForeignKey("teams.team_id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("job_id", Id, sa.ForeignKey("jobs.job_id")),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("once", sa.String(255), nullable=False, unique=True),
        sa.CheckConstraint("kind = 'grant' OR amount > 0", name="entries_amount"),
    )
    op.create_index("entries_by_team", "entries", ["team_id", "number"])
    op.create_index("entries_by_job", "entries", ["job_id"])
