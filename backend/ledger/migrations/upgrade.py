"""Run Alembic on a connection; nobody needs an `alembic.ini`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from backend.chat.errors import Misconfigured


def run(tx: Connection) -> None:
    """To the newest revision, in the transaction that there is. Raises Misconfigured."""
    try:
        command.upgrade(config(tx), "head")
    except CommandError as exc:
        raise Misconfigured(
            "The ledger was written by a newer Parley; run that one, or set DATABASE_URL to another database"
        ) from exc


def config(tx: Connection) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = tx
    return settings
