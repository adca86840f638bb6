"""LiteLLM's proxy beside Parley, relaying the same upstream: `make bench-litellm`."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path

from bench.bench import Bench, tell
from bench.figures import Case, Compared, Figures, typical
from bench.scenarios.streams import measure_case, started, warm
from bench.servers import LITELLM, LITELLM_BIN, PARLEY_OPENAI, PARLEY_RELAY, RUNTIMES, UPSTREAM, Subject

LIMIT_S = 60.0
"""It may take ten times as long as what else is measured."""


def compared_subjects(runtime: str) -> tuple[Subject, ...]:
    return UPSTREAM, PARLEY_OPENAI[runtime], PARLEY_RELAY[runtime], LITELLM


def compare(bench: Bench, runtime: str) -> Compared:
    """One after another in each run, so that what else the machine does strikes all alike."""
    one, some, _ = bench.scale.streams
    runs = defaultdict[Case, list[Figures]](list)
    for number in range(bench.scale.runs):
        for name in (None, runtime, "litellm"):
            subjects = [subject for subject in compared_subjects(runtime) if subject.server == name]
            tell(f"run {number + 1}: {' and '.join(subject.name for subject in subjects)}")
            with started(bench, name) as server:
                for subject in subjects:
                    warm(bench, subject, server)
                for case in (Case(subject, streams, 0) for streams in (one, some) for subject in subjects):
                    runs[case].append(measure_case(bench, case, server, LIMIT_S))
    cases = {case: typical(seen) for case, seen in runs.items()}
    return Compared(version(), runtime, bench.scale.runs, (one, some), date.today().isoformat(), cases)


def version() -> str:
    asked = "from importlib.metadata import version; print(version('litellm'))"
    found = subprocess.run([LITELLM_BIN / "python", "-c", asked], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def save(compared: Compared, path: Path) -> None:
    rows = [[case.subject.name, case.streams, asdict(seen)] for case, seen in compared.cases.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {row.name: getattr(compared, row.name) for row in fields(compared)}
    path.write_text(json.dumps(kept | {"cases": rows}) + "\n", "utf-8")


def saved(path: Path) -> Compared | None:
    """The last one that was saved here."""
    if not path.is_file():
        return None
    kept = json.loads(path.read_text("utf-8"))
    known = {subject.name: subject for name in RUNTIMES for subject in compared_subjects(name)}
    cases = {Case(known[name], streams, 0): Figures(**seen) for name, streams, seen in kept["cases"]}
    return Compared(**{**kept, "streams": tuple(kept["streams"]), "cases": cases})
