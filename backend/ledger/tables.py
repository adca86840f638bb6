"""The tables, as the queries see them. Times are ISO 8601 UTC texts, which sort, and begin with their day.

The indices by team and by time hold what usage sums up, so that the rows need not be read for it.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0003"
"""The revision of `migrations` that makes these."""

metadata = MetaData()

Number = BigInteger().with_variant(Integer, "sqlite")
Document = JSON(none_as_null=True)
Id = String(64)
Time = String(32)

teams = Table(
    "teams",
    metadata,
    Column("team_id", Id, primary_key=True),
    Column("budget_mode", String(32), nullable=False),
    Column("credits_per_dollar", BigInteger, nullable=False),
    Column("tokens_per_credit", BigInteger, nullable=False),
    Column("rate_limit", String(32)),
    Column("model_groups", Document),
    Column("created_at", Time, nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("free", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    CheckConstraint("free >= 0", name="teams_free"),
    CheckConstraint("held >= 0", name="teams_held"),
    CheckConstraint("spent >= 0", name="teams_spent"),
    CheckConstraint("granted = free + held + spent", name="teams_balanced"),
    CheckConstraint("credits_per_dollar > 0 AND tokens_per_credit > 0", name="teams_rates"),
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", Id, primary_key=True),
    Column("team_id", Id, ForeignKey("teams.team_id"), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("revoked_at", Time),
    Index("keys_by_team", "team_id", "created_at"),
)

groups = Table(
    "model_groups",
    metadata,
    Column("name", Id, primary_key=True),
    Column("members", Document, nullable=False),
    Column("updated_at", Time, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Id, primary_key=True),
    Column("team_id", Id, ForeignKey("teams.team_id"), nullable=False),
    Column("user_id", String(255)),
    Column("job_type", String(255), nullable=False),
    Column("metadata", Document, nullable=False),
    Column("budget_mode", String(32), nullable=False),
    Column("credits_per_dollar", BigInteger, nullable=False),
    Column("tokens_per_credit", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error_message", Text),
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("completed_at", Time),
    Column("expires_at", Time, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("charged", BigInteger),
    Column("bill", Document),
    CheckConstraint("held >= 0", name="jobs_held"),
    CheckConstraint("charged >= 0 AND charged <= due", name="jobs_charged"),
    Index("jobs_by_team", "team_id", "created_at", "job_id", "status", "job_type"),
    Index("jobs_by_time", "status", "expires_at"),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("jobs.job_id"), nullable=False),
    Column("team_id", Id, ForeignKey("teams.team_id"), nullable=False),
    Column("stream_id", Id, nullable=False, unique=True),
    Column("purpose", String(255)),
    Column("model_group", String(255)),
    Column("model", String(255), nullable=False),
    Column("metadata", Document, nullable=False),
    Column("state", String(16), nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("micro_usd", BigInteger, nullable=False),
    Column("basis", String(16)),
    Column("latency_ms", BigInteger),
    Column("ttft_ms", BigInteger),
    Column("error", Text),
    Column("created_at", Time, nullable=False),
    Column("leased_until", Time, nullable=False),
    Column("settled_at", Time),
    CheckConstraint(
        "held >= 0 AND prompt_tokens >= 0 AND completion_tokens >= 0 AND micro_usd >= 0", name="calls_counts"
    ),
    CheckConstraint("(state = 'running') = (settled_at IS NULL)", name="calls_settled"),
    Index("calls_by_job", "job_id", "created_at", "micro_usd"),
    Index(
        "calls_by_team",
        "team_id",
        "created_at",
        "state",
        "model",
        "prompt_tokens",
        "completion_tokens",
        "micro_usd",
        "ttft_ms",
    ),
    Index("calls_by_lease", "settled_at", "leased_until"),
)

entries = Table(
    "entries",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("team_id", Id, ForeignKey("teams.team_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("job_id", Id, ForeignKey("jobs.job_id")),
    Column("reason", Text, nullable=False),
    Column("who", String(255), nullable=False),
    Column("at", Time, nullable=False),
    Column("once", String(255), nullable=False, unique=True),
    CheckConstraint("kind = 'grant' OR amount > 0", name="entries_amount"),
    Index("entries_by_team", "team_id", "number"),
    Index("entries_by_time", "team_id", "at", "kind", "amount"),
    Index("entries_by_job", "job_id"),
)

repeats = Table(
    "repeats",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("body", String(64), nullable=False),
    Column("job_id", Id, ForeignKey("jobs.job_id"), nullable=False),
)
