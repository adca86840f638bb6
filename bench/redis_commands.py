"""What Redis' core takes for each command, one at a time and many in a pipeline:
`python -m bench.redis_commands` prints it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, TypeAlias

import redis

from bench.redis_server import RedisServer, redis_program
from bench.tables import table
from bench.tools import CannotMeasure

Command: TypeAlias = Sequence[str | bytes | int]
Make: TypeAlias = Callable[[int], Command]

PIPELINE = 100
TIMES = 20_000
RUNS = 5
ENTRY = b'[" token"]'
PROCESSES = 300
LAST = (2 * RUNS * TIMES - 1) // 500 + 2
"""The offset that every log ends with."""


def name(number: int) -> str:
    """As long as a stream's or a process's."""
    return f"{number:022d}"


def log(number: int) -> str:
    return f"parley:{{{name(number)}}}:log"


KINDS: dict[str, Make] = {
    "XADD of one token": lambda n: ("XADD", log(n % 500), f"{n // 500 + 2}-0", "f", n, "e", ENTRY),
    "XRANGE of one token": lambda n: ("XRANGE", log(n % 500), f"({LAST - 1}-0", "+"),
    "EXISTS": lambda n: ("EXISTS", log(n % 500)),
    "PUBLISH to nobody": lambda n: ("PUBLISH", f"parley:{name(n % 500)}", ENTRY * 8),
    f"ZRANGE of {PROCESSES} processes": lambda _n: ("ZRANGE", "parley:processes", 0, -1),
}


def main() -> None:
    program = redis_program()
    if program is None:
        raise CannotMeasure("redis-server is not installed")
    rows = []
    with RedisServer(program) as server:
        client = redis.Redis("127.0.0.1", server.port, protocol=2)
        client.zadd("parley:processes", {name(n): n for n in range(PROCESSES)})
        connection: Any = client.connection_pool.get_connection()
        for kind, make in KINDS.items():
            found = [
                [_us(server, connection, make, size, run) for run in range(RUNS)] for size in (1, PIPELINE)
            ]
            rows.append([kind, *(f"{median(each):.2f}" for each in found)])
        connection.disconnect()
    print(table(("µs of Redis' core, a command", "alone", f"{PIPELINE} in a pipeline"), rows))


def _us(server: RedisServer, connection: Any, make: Make, size: int, run: int) -> float:
    """Each time with new offsets, which XADD must have."""
    times = TIMES if size > 1 else TIMES // 10
    first = run * times + (0 if size == 1 else RUNS * TIMES)
    before = server.gauge.cpu_s
    for start in range(first, first + times, size):
        connection.send_packed_command(
            connection.pack_commands([make(n) for n in range(start, start + size)])
        )
        for _ in range(size):
            connection.read_response()
    return (server.gauge.cpu_s - before) * 1e6 / times


if __name__ == "__main__":
    main()
