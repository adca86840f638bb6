"""Sockets on which nothing happens, for a long time: `make bench-idle`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from bench.bench import Bench, tell

SOCKETS = 10_000
KEPT_S = 600
TOLD_EVERY_S = 60.0
OPENED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Held:
    """`socket_kib` is the larger of what each took when all were open and at the end; `core` the share of the
    server's core that keeping them took."""

    runtime: str
    sockets: int
    seconds: float
    lost: int
    socket_kib: float
    core: float
    day: str

    @property
    def enough(self) -> bool:
        return self.sockets >= SOCKETS and self.seconds >= KEPT_S


def hold(bench: Bench, runtime: str, sockets: int, seconds: float) -> Held:
    with bench.start(runtime) as server:
        before = server.gauge.settled_kib()
        limit_s = OPENED_WITHIN_S + 2 * seconds
        with bench.load.clients(
            hold=1, port=server.port, door="sockets", streams=sockets, limit_s=limit_s
        ) as clients:
            opened, spent_s, began_s = server.gauge.settled_kib(), server.gauge.cpu_s, time.monotonic()
            tell(f"{sockets:,} sockets are open; each takes {(opened - before) / sockets:.1f} KiB")
            while (left_s := began_s + seconds - time.monotonic()) > 0:
                time.sleep(min(TOLD_EVERY_S, left_s))
                each_kib = (server.gauge.rss_kib - before) / sockets
                tell(f"after {time.monotonic() - began_s:.0f} s each takes {each_kib:.1f} KiB")
            most = max(opened, server.gauge.rss_kib) - before
            core = (server.gauge.cpu_s - spent_s) / (time.monotonic() - began_s)
            stayed = clients.leave().open
    return Held(runtime, sockets, seconds, sockets - stayed, most / sockets, core, date.today().isoformat())


def save(held: Held, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(held)) + "\n", "utf-8")


def saved(path: Path) -> Held | None:
    """The last one that was saved here."""
    return Held(**json.loads(path.read_text("utf-8"))) if path.is_file() else None
