"""Programs that tests start: real services as processes of their own, each in its folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.servers import PATIENCE_S


def program(name: str, package: str) -> str:
    """Where it is; without it the test fails with what to do. /usr/sbin is not in everyone's PATH."""
    found = shutil.which(name, path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: install it with apt-get install {package}", pytrace=False)
    return found


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll for it, up to a deadline; `what` it would be is what a failure says."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {patience_s:g} s: {what}"
        time.sleep(0.01)


class Program:
    """A command as a process: started, stopped, killed, frozen, and gone at the end of a `with`."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder = folder
        self.log_path = folder / "log"
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def is_ready(self) -> bool:
        """Whether it serves; asked again and again after its start."""
        raise NotImplementedError

    def launch(self) -> None:
        """Start it, and do not wait until it serves."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> None:
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Until it serves."""

        def is_ready() -> bool:
            assert self.is_running, f"{self._command[0]} did not start:\n{self.log}"
            return self.is_ready()

        until(is_ready, f"{self._command[0]} serves")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; nothing if it is not running."""
        if self.is_running:
            self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again, after a stop if it is running: the same port, the same folder."""
        if self.is_running:
            self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, and nothing answers on them."""
        self._signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "it was never started"
        self._signal(number)
        return self._process.wait(PATIENCE_S)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it was never started"
        self._process.send_signal(number)
