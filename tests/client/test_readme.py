"""The client's README: its programs run as they stand, its names are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import parley_client
from tests.books import Books
from tests.client.test_package import CLIENT
from tests.servers import Server

README = (CLIENT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)
ADDRESS = "http://127.0.0.1:5000"
TEAM = "team-alpha"
SHOWS = {
    "Person": r"name=None age=None\n(.*\n)+name='.+' age=\d+ [\d.e-]+ \[None\]",
    "create_job": r"Hello(.*\n)+0\.\d+ 99",
    "parent_id": r"Spanish\?.*\n6$",
    "Token": r"stop .*\n\['user', 'assistant'\]",
    "Patience": "Say hello",
}


@pytest.mark.server
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split()[1])
def test_a_program_runs(program: str, server: Server, books: Books, tmp_path: Path, team: str) -> None:
    program = program.replace(ADDRESS, server.url)
    if "sk-…" in program:
        program = program.replace("sk-…", books.team(team)).replace(f'"{TEAM}"', f'"{team}"')
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"], cwd=tmp_path, env={"PYTHONPATH": str(CLIENT)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = next(pattern for name, pattern in SHOWS.items() if name in program)
    assert re.search(shown, done.stdout), done.stdout


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
