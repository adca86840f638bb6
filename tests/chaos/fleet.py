"""Three servers on one Redis, behind nginx."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.chaos.upstream import KEY, Upstream
from tests.programs import program
from tests.proxies import NGINX_CONF, Proxy, nginx, replaced
from tests.redises import Redis
from tests.servers import Server

SERVERS = 3
LEASE_S = 2.0
DRAIN_S = 5.0
READY_S = 30.0

RELOADABLE = f"""\
master_process on;
{"user root;" if os.getuid() == 0 else ""}
worker_processes 1;
worker_shutdown_timeout 1s;
"""
"""With a master it can be reloaded: its old worker lets go of the connections there are after a second."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a server takes up."""

    pid: int
    memory_mib: float
    descriptors: int
    threads: int


MODELS = """
[[upstream]]
name = "chaos"
base_url = "{url}"
api_key_env = "CHAOS_KEY"
models = ["chaos"]
continues = "prefix"
"""


class Fleet:
    """With `workers` one parent has the servers as its processes. `goes_on`: answers that one leaves behind
    are gone on with by another, as far as they can be."""

    def __init__(
        self, folder: Path, runtime: str, upstream: Upstream, redis: Redis, workers: bool, goes_on: bool
    ) -> None:
        self.redis = redis
        self.workers = workers
        self.goes_on = goes_on
        self._folder = folder
        models = folder / "models.toml"
        models.write_text(MODELS.format(url=upstream.base_url))
        self._env = {
            "RUNTIME": runtime,
            "STORE_URL": redis.url,
            "LEASE_S": str(LEASE_S),
            "DRAIN_S": str(DRAIN_S),
            "MAX_STREAMS_PER_CALLER": "100000",
            "MAX_HANDSHAKES_PER_ADDRESS": "100000",
            "MODELS_FILE": str(models),
            "DEFAULT_MODEL": "chaos",
            "CONTINUE_INTERRUPTED": str(int(goes_on)),
            "STREAM_TTL": "120",
            "SESSION_TTL": "240",
            "LOG_LEVEL": "info",
        }
        self._read = [0] * SERVERS
        self.servers = [self._start(number) for number in range(1 if workers else SERVERS)]
        self.proxy = self._proxy()

    def _start(self, number: int) -> Server:
        folder = self._folder / f"server{number}"
        folder.mkdir()
        env = {**self._env, "CHAOS_KEY": f"{KEY}{number}"}
        if self.workers:
            env["WORKERS"] = str(SERVERS)
        return Server(folder, env)

    def _proxy(self) -> Proxy:
        folder = self._folder / "nginx"
        folder.mkdir()
        proxy = nginx(folder, [server.port for server in self.servers])
        conf = replaced(NGINX_CONF, "master_process off;\n", RELOADABLE)
        conf = replaced(conf, "worker_connections 1024", "worker_connections 8192")
        (folder / "nginx.conf").write_text(conf)
        proxy.start()
        return proxy

    def pids(self) -> list[int]:
        """The processes that serve."""
        if not self.workers:
            return [server.process.pid for server in self.servers]
        parent = self.servers[0].process.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    def signal(self, number: int, what: signal.Signals) -> int | None:
        """To the server of that number, whose process id it gives; None if there is none just now. Under a
        parent another may have the number a moment later."""
        with suppress(ZeroDivisionError, ProcessLookupError):
            pids = self.pids()
            os.kill(pid := pids[number % len(pids)], what)
            return pid
        return None

    async def kill(self, number: int) -> None:
        if self.workers:
            self.signal(number, signal.SIGKILL)
        else:
            await asyncio.to_thread(self.servers[number].kill)

    async def end(self, number: int) -> int:
        """SIGTERM, and the exit code."""
        if not self.workers:
            return await asyncio.to_thread(self.servers[number].stop)
        pids = self.pids()
        self.signal(number, signal.SIGTERM)
        await until(lambda: pids[number % len(pids)] not in self.pids(), DRAIN_S + READY_S)
        return 0

    async def revive(self, number: int) -> None:
        """After a kill or an end; a parent does it by itself."""
        if not self.workers:
            await asyncio.to_thread(self.servers[number].restart)

    async def roll(self) -> None:
        """SIGHUP to the parent; returns when nobody is left of those there were."""
        old = set(self.pids())
        self.servers[0].process.send_signal(signal.SIGHUP)
        patience_s = SERVERS * (DRAIN_S + READY_S)
        await until(lambda: old.isdisjoint(self.pids()) and len(self.pids()) == SERVERS, patience_s)

    def reload_proxy(self) -> None:
        os.kill(self.proxy.pid, signal.SIGHUP)

    async def ready(self) -> None:
        """Until all can serve. Raises TimeoutError."""
        for server in self.servers:
            await until(lambda server=server: is_ready(server), READY_S)  # type: ignore[misc]
        if self.workers:
            await until(lambda: len(self.pids()) == SERVERS, READY_S)

    def sizes(self) -> list[Size]:
        """Of those that are there."""
        found = []
        for pid in self.pids():
            with suppress(FileNotFoundError):
                found.append(size_of(pid))
        return found

    def new_log(self, number: int) -> str:
        """What a server has said since it was asked last."""
        with self.servers[number].log_path.open("rb") as log:
            log.seek(self._read[number])
            said = log.read()
            self._read[number] += len(said)
        return said.decode("utf-8", "replace")

    def close(self) -> None:
        with suppress(Exception):
            self.proxy.stop()
        self.proxy.close()
        for server in self.servers:
            with suppress(ProcessLookupError):
                server.process.send_signal(signal.SIGCONT)
            if self.workers:
                with suppress(Exception):
                    server.process.send_signal(signal.SIGINT)
                    server.process.wait(5)
            server.kill()
            server.hang_up()


@asynccontextmanager
async def fleet(
    folder: Path, runtime: str, upstream: Upstream, workers: bool, goes_on: bool
) -> AsyncIterator[Fleet]:
    """Running."""
    async with AsyncExitStack() as stack:
        redis = Redis(folder / "redis", appendonly=True, auto_aof_rewrite_min_size="32mb")
        stack.callback(redis.close)
        await asyncio.to_thread(redis.start)
        started = await asyncio.to_thread(Fleet, folder, runtime, upstream, redis, workers, goes_on)
        stack.callback(started.close)
        await started.ready()
        yield started


async def until(condition: object, patience_s: float) -> None:
    """Poll for it. Raises TimeoutError."""
    assert callable(condition)
    deadline_s = time.monotonic() + patience_s
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline_s:
            raise TimeoutError
        await asyncio.sleep(0.02)


def is_ready(server: Server) -> bool:
    try:
        return bool(server.pool.request("GET", f"{server.url}/ready", timeout=2).status == 200)
    except urllib3.exceptions.HTTPError:
        return False


def size_of(pid: int) -> Size:
    folder = Path(f"/proc/{pid}")
    memory = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Size(pid, round(memory, 1), len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))


def needed() -> Sequence[str]:
    """The programs that a fleet is made of."""
    return [program("nginx", "nginx")]
