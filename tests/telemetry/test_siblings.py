from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.telemetry.siblings import Siblings, merged


def exposition(amount: int) -> bytes:
    registry = CollectorRegistry()
    Counter("asked", "How often", ["door"], registry=registry).labels('s"s,e} ').inc(amount)
    Gauge("open", "How many", registry=registry).set(amount)
    Histogram("took", "How long", ["door"], buckets=(1.0,), registry=registry).labels("sse").observe(amount)
    return generate_latest(registry)


def samples(text: bytes) -> dict[tuple[str, str, str], float]:
    """By name, worker and door."""
    return {
        (sample.name, sample.labels["worker"], sample.labels.get("door", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_of_several_processes_each_sample_is_there_with_its_worker_and_each_family_once() -> None:
    text = merged({"11": exposition(2), "7": exposition(3)})
    found = samples(text)
    for worker, amount in (("11", 2.0), ("7", 3.0)):
        assert found["asked_total", worker, 's"s,e} '] == amount
        assert found["open", worker, ""] == amount
        assert found["took_sum", worker, "sse"] == amount
    assert text.count(b"# TYPE took histogram") == text.count(b"# HELP asked_total") == 1
    assert text.decode().index("# HELP open") > text.decode().rindex("asked_total")


def test_the_files_of_processes_that_are_gone_are_dropped(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    mine = Siblings(tmp_path, os.getpid(), lambda: exposition(2))
    Siblings(tmp_path, int(gone.stdout), lambda: exposition(1)).leave()
    Siblings(tmp_path, os.getppid(), lambda: exposition(5)).leave()
    found = samples(mine.together())
    assert {worker for _, worker, _ in found} == {str(os.getpid()), str(os.getppid())}
    assert found["open", str(os.getppid()), ""] == 5
    assert [file.name for file in tmp_path.iterdir()] == [f"{os.getppid()}.prom"]


def test_a_file_of_a_worker_whose_number_is_somebody_elses_by_now_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_process: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / "7.prom").write_bytes(exposition(2))
    assert (
        samples(Siblings(tmp_path, 11, lambda: exposition(3)).together())["asked_total", "11", 's"s,e} '] == 3
    )
    assert list(tmp_path.iterdir()) == []
