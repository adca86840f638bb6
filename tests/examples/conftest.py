"""A server, a team made as a stranger makes one, and the examples as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import PATIENCE_S, PYTHONPATH, ROOT, Server, servers

EXAMPLES = ROOT / "examples"
TEAM = "examples"


@dataclass(frozen=True, slots=True)
class Customer:
    """A server, and the key of its team."""

    server: Server
    key: str

    @property
    def env(self) -> dict[str, str]:
        settings = {"PARLEY_URL": self.server.url, "PARLEY_KEY": self.key, "PARLEY_TEAM": TEAM}
        return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **settings}


def command(path: Path) -> list[str]:
    return [sys.executable, "-W", "error", str(path)]


def run(path: Path, env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(path), cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture(scope="session")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    folder = tmp_path_factory.mktemp("parley")
    with servers(folder) as started:
        started.append(Server(folder, {"DEMO_TOKENS_PER_SECOND": "0", "MAX_STREAMS_PER_CALLER": "100"}))
        made = subprocess.run(
            [sys.executable, "-m", "backend", "team", "create", TEAM, "--credits", "1000"],
            cwd=folder, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        yield Customer(started[0], made.stdout.rpartition("virtual key")[2].strip())
