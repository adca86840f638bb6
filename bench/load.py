"""The load as a process: `native/load.c`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 90.0


class LoadFailed(Exception):
    """The load gave up; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    p50: float
    p99: float
    max: float


NOTHING = Quantiles(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Report:
    """What the clients saw. `gap_ms` is the time between one token and the next, 0 where they came together;
    `open` the sockets still open at the end."""

    finished: int
    failed: int
    tokens: int
    first_ms: Quantiles
    gap_ms: Quantiles
    answer_ms: Quantiles
    wall_s: float
    cpu_s: float
    open: int


class Clients:
    """A load that runs. Raises LoadFailed where it gives up."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LoadFailed(self._said()[1])

    def report(self) -> Report:
        """When everything is answered."""
        return self._report(*self._said())

    def leave(self) -> Report:
        """Let them go."""
        return self._report(*self._process.communicate())

    def _said(self) -> tuple[str, str]:
        """What it says to its end; its stdin, whose end would end it, stays open so long."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout.read(), self._process.stderr.read()

    @staticmethod
    def _report(said: str, complaint: str) -> Report:
        if not said:
            raise LoadFailed(complaint)
        fields: dict[str, Any] = json.loads(said)
        for name in ("first_ms", "gap_ms", "answer_ms"):
            fields[name] = Quantiles(*fields[name]) if fields[name] else NOTHING
        return Report(**fields)


class Load:
    """Starts loads; the options are those of `native/load.c`."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, **options: object) -> Report:
        """Ask until everything is answered. Raises LoadFailed."""
        with self.clients(**options) as clients:
            return clients.report()

    @contextmanager
    def clients(self, **options: object) -> Iterator[Clients]:
        """Clients who are about to ask, or, with `hold=1`, who are there and stay. Raises LoadFailed."""
        words = [f"{name}={value}" for name, value in {"limit_s": LIMIT_S, **options}.items()]
        process = subprocess.Popen(
            [str(self._program), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield Clients(process)
        finally:
            process.kill()
            process.communicate()
