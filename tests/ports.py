"""Loopback ports for what tests and benchmarks start."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

PORTS = range(10_000, 20_000)
"""Below those that the system gives to whoever connects, so that a port is still free after a restart."""
SHARE = 1_000
BUS = 10_000
"""How far above its port a node of a Redis Cluster has another one: none of PORTS."""


def free_port(beside: int = 0) -> int:
    """A port that nobody uses, nor the one that is `beside` more. Each process of a test run goes round a
    share of its own, so that none is drawn twice before its server has taken it."""
    return next(port for port in _turns if all(_is_free(each) for each in {port, port + beside}))


def _round_own_share() -> Iterator[int]:
    dice = random.SystemRandom()
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    number = int(worker.removeprefix("gw")) if worker else dice.randrange(len(PORTS))
    first = number * SHARE % len(PORTS)
    turn = dice.randrange(SHARE)
    while True:
        yield PORTS[first + turn % SHARE]
        turn += 1


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_turns = _round_own_share()
