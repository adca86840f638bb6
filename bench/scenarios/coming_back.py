"""Coming back to an answer, and stopping one."""

from __future__ import annotations

import time
from statistics import median

from bench.asking import Client, stream_id_of
from bench.bench import Bench
from bench.servers import PARLEY_STREAM, Server

KNOWN, WHOLE = 20, 30


def measure_resume(bench: Bench, server: Server, runtime: str) -> dict[str, float]:
    """From the request of somebody who has the first tokens to the next one."""
    client = Client(server.port)
    stream_id = client.ask(f"tokens={WHOLE} tps=0")
    client.close()
    report = bench.load.run(
        port=server.port, method="GET", path=f"/api/chat/streams/{stream_id}?after={KNOWN}&partial=false",
        mark=PARLEY_STREAM[runtime].mark, tokens=WHOLE - KNOWN, streams=1, total=bench.scale.repeats,
    )  # fmt: skip
    return {"resume_ms": report.first_ms.p50}


def measure_stop(bench: Bench, server: Server, _runtime: str) -> dict[str, float]:
    """From the stop's request to the upstream's seeing that its client has gone: with tokens on their way,
    and while it is silent."""
    return {
        "stop_ms": median(_stop_ms(bench, server, "tokens=10000 tps=100") for _ in range(bench.scale.stops)),
        "stop_silent_ms": median(
            _stop_ms(bench, server, "tokens=10000 tps=0 hang=10") for _ in range(bench.scale.stops)
        ),
    }


def _stop_ms(bench: Bench, server: Server, script: str) -> float:
    reader, stopper = Client(server.port), Client(server.port)
    answer = reader.begin(script, model="bench")
    while b'"token"' not in answer.readline():
        pass
    asked_s = time.monotonic()
    stopper.post(f"/api/chat/streams/{stream_id_of(answer)}/stop", {})
    took_ms = (bench.upstream.closed_s(asked_s) - asked_s) * 1000
    reader.close()
    stopper.close()
    return took_ms
