"""The client's README: its programs run as they stand, its names are there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import parley_client
from tests.client.test_package import CLIENT
from tests.fakes.jobs import KEY, JobsServer, serving
from tests.servers import Server

README = (CLIENT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)
ADDRESS = "http://127.0.0.1:5000"
SHOWS = {"Person": "name='Ada' age=36", "create_job": "Hello", "Token": "stop", "Patience": "Say hello"}


@contextmanager
def place_of(program: str, server: Server) -> Iterator[str]:
    """Where it runs: jobs with their own server."""
    if "sk-…" not in program:
        yield server.url
        return
    texts = ['{"name": "Ada", "age": 36}'] if "Person" in program else ["Hello there"]
    with serving(JobsServer(texts)) as url:
        yield url


@pytest.mark.server
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split()[1])
def test_a_program_runs(program: str, server: Server, tmp_path: Path) -> None:
    with place_of(program, server) as url:
        (tmp_path / "program.py").write_text(program.replace(ADDRESS, url).replace("sk-…", KEY))
        done = subprocess.run(
            [sys.executable, "-W", "error", "program.py"], cwd=tmp_path, env={"PYTHONPATH": str(CLIENT)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = next(text for name, text in SHOWS.items() if name in program)
    assert shown in done.stdout


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (CLIENT / link).is_file(), link


def test_the_names_in_its_tables_are_there() -> None:
    client = parley_client.Parley()
    called = set(re.findall(r"`(\w+)\(", README))
    assert called
    for name in called - {"sessions", "stream", "delta"}:
        assert hasattr(client, name), name
    client.close()
    for name in re.findall(r"`([A-Z]\w+)`", README):
        assert hasattr(parley_client, name) or name in parley_client.Patience.__slots__, name
