from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.world import World
from tests.postgres import Postgres


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables in it, which saves making them again and again."""
    path = tmp_path_factory.mktemp("ledger") / "made.db"
    World(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, made: Path) -> str:
    """Where a ledger is: each kind in turn, without rows."""
    if request.param == "sqlite":
        shutil.copy(made, tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Postgres = request.getfixturevalue("postgres")
    world = World(server.url)
    world.empty()
    world.close()
    return server.url


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger; whatever became of it is balanced in the end."""
    world = World(database_url)
    yield world
    assert world.accounts.audit() == []
    world.close()
