"""That everything `make bench` does can be done; how fast it was is for nobody to assert."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.redis_traits import crowd_traits, pair_traits, redis_traits
from bench.scale import SCALES
from bench.servers import ON_STORE, SUBJECTS
from bench.traits import traits
from tests.servers import PYTHONPATH, ROOT

PATIENCE_S = 600.0
TINY = SCALES["tiny"]

pytestmark = pytest.mark.server


def command(build: Path, *words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "bench", "--scale", "tiny", "--build", str(build), *words]


def bench(build: Path, *words: str) -> subprocess.CompletedProcess[str]:
    asked = command(build, *words)
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(
        asked, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_every_scenario_runs_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    ended = bench(tmp_path, "--write", str(path))
    assert ended.returncode == 0, ended.stderr
    text = path.read_text("utf-8")
    for subject in SUBJECTS:
        assert subject.name in text
    for trait in (*traits(TINY), *redis_traits(TINY), *pair_traits(TINY), *crowd_traits()):
        assert f"| {trait.label} " in text
    for subject in ON_STORE.values():
        assert f"| {subject.name} " in text
    assert "unanswered" not in text
    assert str(ROOT) not in text


def test_sockets_are_held_open(tmp_path: Path, runtime_name: str) -> None:
    ended = bench(
        tmp_path, "--runtime", runtime_name, "--idle", "--sockets", "5", "--seconds", "0.1", "--strict"
    )
    assert ended.returncode == 0, ended.stderr
    assert "none lost" in ended.stdout


def test_ended_in_the_middle_it_leaves_nothing_running(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    with process.stderr as told:
        told.readline()
        process.terminate()
        assert process.wait(PATIENCE_S) == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = bench(tmp_path)
    assert ended.returncode == 1
    assert "There is no C compiler" in ended.stderr
    assert "Traceback" not in ended.stderr
