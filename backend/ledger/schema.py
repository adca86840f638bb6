"""Bring the tables up to date, at start-up."""

from __future__ import annotations

import importlib

from sqlalchemy import Connection, inspect, text

from backend.ledger.tables import HEAD

MIGRATING = 7_227_539
"""PostgreSQL's advisory lock for it: of processes that start together one migrates, the others wait."""


def upgrade(tx: Connection) -> None:
    """In the transaction, which must be one that writes. Raises Misconfigured."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:it)"), {"it": MIGRATING})
    if revision(tx) != HEAD:
        # Alembic takes a third of a second to load: only a start that migrates has to wait for it.
        importlib.import_module("backend.ledger.migrations.upgrade").run(tx)


def revision(tx: Connection) -> str | None:
    """Where the tables are, None if there are none."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
