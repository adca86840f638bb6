"""What a call of a job costs beside the same question without a bill."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from statistics import median

from bench.asking import Client
from bench.bench import Bench
from bench.servers import COMPLETIONS, MODEL, ROOT, Server

TEAM = "bench"
CREDITS = 1_000_000


def measure_calls(bench: Bench, runtime: str) -> dict[str, float]:
    """Time to the first token of a relayed answer: by `/v1`, by `/v1` with a team's key, which makes it a job
    of one call, and as a call of a job; one after the other, in turns. The ledger is on SQLite."""
    with bench.start(runtime) as server:
        stranger, team = Client(server.port), Client(server.port, key=make_team(server))
        job_id = team.post("/api/jobs", {"job_type": "bench"})["job_id"]
        ways = (
            ("v1_first_ms", stranger, COMPLETIONS),
            ("v1_key_first_ms", team, COMPLETIONS),
            ("call_first_ms", team, f"/api/jobs/{job_id}/llm-call-stream"),
        )
        seen: dict[str, list[float]] = {name: [] for name, *_ in ways}
        for _ in range(bench.scale.repeats):
            for name, client, path in ways:
                seen[name].append(_first_ms(client, path))
        stranger.close()
        team.close()
    return {name: median(values) for name, values in seen.items()}


def make_team(server: Server) -> str:
    """Its key."""
    made = subprocess.run(
        [sys.executable, "-m", "backend", "team", "create", TEAM, "--credits", str(CREDITS)],
        cwd=server.folder, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    key = re.search(r"sk-\S+", made.stdout)
    assert key is not None
    return key[0]


def _first_ms(client: Client, path: str) -> float:
    message = {"role": "user", "content": "[[demo tokens=5 tps=0]] Say something"}
    asked = {"model": MODEL, "messages": [message]}
    began_s, first_ms = time.perf_counter(), None
    for data in client.events(path, asked | ({"stream": True} if path == COMPLETIONS else {})):
        if first_ms is None and '"content":"' in data:
            first_ms = (time.perf_counter() - began_s) * 1000
    assert first_ms is not None
    return first_ms
