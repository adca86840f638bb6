"""The fake upstream as a process: `native/upstream.c`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from bench.processes import Gauge


class Upstream:
    """Up when made, gone at the end of its `with`."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.gauge = Gauge(self._process.pid)
        self.port = int(self._said("listening"))
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def closed_s(self, since_s: float) -> float:
        """Waits for a client to go away in mid-answer, since then: the monotonic time at which it did."""
        while (at_s := float(self._said("closed"))) < since_s:
            pass
        return at_s

    def _said(self, word: str) -> str:
        assert self._process.stdout is not None
        said, _, value = self._process.stdout.readline().partition(" ")
        if said != word:
            raise RuntimeError(f"the upstream ended, or said {said!r} instead of {word!r}")
        return value

    def __enter__(self) -> Upstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
