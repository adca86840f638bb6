"""What one more of something takes, in KiB of the server's memory."""

from __future__ import annotations

import time

from bench.asking import Client
from bench.bench import Bench
from bench.scenarios.streams import warm
from bench.servers import PARLEY_SOCKETS, PARLEY_STREAM, Server

MESSAGES = 10


def measure_sockets(bench: Bench, runtime: str) -> dict[str, float]:
    """An open Socket.IO connection on which nothing happens."""
    with bench.start(runtime) as server:
        _warm(bench, server, runtime)
        before = server.gauge.settled_kib()
        with bench.load.clients(hold=1, port=server.port, door="sockets", streams=bench.scale.sockets):
            return {"socket_kib": (server.gauge.settled_kib() - before) / bench.scale.sockets}


def measure_live(bench: Bench, runtime: str) -> dict[str, float]:
    """An answer under way with its reader, ten tokens long so far."""
    subject = PARLEY_STREAM[runtime]
    with bench.start(runtime) as server:
        _warm(bench, server, runtime)
        before = server.gauge.settled_kib()
        body = subject.body("tokens=20 tps=0 hang=10")
        with bench.load.clients(
            hold=1, port=server.port, path=subject.path, mark=subject.mark, body=body,
            tokens=10, streams=bench.scale.live,
        ):  # fmt: skip
            return {"live_kib": (server.gauge.settled_kib() - before) / bench.scale.live}


def measure_sessions(bench: Bench, runtime: str) -> dict[str, float]:
    """A session of ten short messages kept in memory, when nothing is left of its streams."""
    with bench.start(runtime, STORE_URL="memory://", STREAM_TTL="0.05") as server:
        _fill_sessions(bench, server, "warm")
        before = server.gauge.settled_kib()
        _fill_sessions(bench, server, "kept")
        return {"session_kib": (server.gauge.settled_kib() - before) / bench.scale.sessions}


def _warm(bench: Bench, server: Server, runtime: str) -> None:
    """What is made once is not to count."""
    for subject in (PARLEY_STREAM[runtime], PARLEY_SOCKETS[runtime]):
        warm(bench, subject, server)


def _fill_sessions(bench: Bench, server: Server, name: str) -> None:
    client = Client(server.port)
    for number in range(bench.scale.sessions):
        for _ in range(MESSAGES // 2):
            client.ask("tokens=8 tps=0", session_id=f"{name}-{number}")
    client.close()
    time.sleep(bench.scale.expired_s)
