"""The real server as a process on a free loopback port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

import urllib3

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 20.0
START_S = 60.0
"""A start is mostly the processor's work, of which there may be little."""
PYTHONPATH = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'absent'}"
"""Of the servers' processes."""


class Address(Protocol):
    """What a client has to know of a server, or of a proxy before it. `opened` is what to drop at its end."""

    port: int
    url: str
    pool: urllib3.PoolManager
    opened: list[Callable[[], None]]


def several(runtime_name: str) -> dict[str, str]:
    """For a server that many tests share: on gevent three workers, as one process on eventlet."""
    return {"RUNTIME": runtime_name, **({"WORKERS": "3"} if runtime_name == "gevent" else {})}


class Server:
    """A server with its own folder; `env` adds to a clean environment. It is up when made."""

    module = "backend"
    """What is run."""
    deployments: ClassVar[dict[str, Callable[[], Mapping[str, str]]]] = {}
    """By runtime: what its servers are told besides, unless they are told where to keep what they have."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pool = urllib3.PoolManager(timeout=PATIENCE_S, retries=False, maxsize=50)
        self.opened: list[Callable[[], None]] = []
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PYTHONPATH,
            "PYTHONUNBUFFERED": "1",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "RATE_LIMIT": "off",
            "ADDRESS_LIMIT": "off",
            **self._deployment(env),
            **env,
        }
        self.log_path = folder / "server.log"
        self.start()

    def _deployment(self, env: Mapping[str, str]) -> Mapping[str, str]:
        deploy = self.deployments.get(env.get("RUNTIME", ""))
        return deploy() if deploy and "STORE_URL" not in env else {}

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module], cwd=self.folder, env=self._env, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                if self.pool.request("GET", f"{self.url}/health").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(f"the server did not start:\n{self.log}") from None
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    @property
    def memory_bytes(self) -> int:
        """What it holds in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """SIGKILL, its workers as well: left alone they would give their answers time."""
        workers = self.workers
        self.kill()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    @property
    def workers(self) -> list[int]:
        """The processes it has started."""
        with suppress(FileNotFoundError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            return [int(pid) for pid in children.split()]
        return []

    def restart(self) -> None:
        """Start again after a stop or a kill: the same port, the same folder."""
        self.hang_up()
        self.start()

    def hang_up(self) -> None:
        """Close our connections that wait for a next request, those of responses still held as well."""
        for key in list(self.pool.pools.keys()):
            self.pool.pools[key].close()
        self.pool.clear()


class Service:
    """The application of `tests.fakes.service` on the real HTTP server."""

    MAX_MESSAGE_BYTES = 100_000
    PUSHES = 300

    def __init__(self, folder: Path, runtime_name: str, host: str = "127.0.0.1") -> None:
        self.host = host
        self._log_path = folder / "service.log"
        env = {"PATH": os.environ["PATH"], "RUNTIME": runtime_name, "HOST": host}
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.service"],
                cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        with self._process.stdout as said:
            self.port = int(said.readline() or 0)
        assert self.port, self.log

    @property
    def log(self) -> str:
        return self._log_path.read_text("utf-8", "replace")

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        url = f"http://{self.host}:{self.port}{path}"
        return urllib3.request("GET", url, headers={"Connection": "close"}, timeout=PATIENCE_S).json()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)


@contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """A list whose servers are all killed at the end."""
    started: list[Server] = []
    try:
        yield started
    finally:
        for server in started:
            for drop in server.opened:
                drop()
            server.end()
            server.hang_up()
