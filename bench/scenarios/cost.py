"""What a token costs in answers of growing length; what a session costs to make."""

from __future__ import annotations

from bench.bench import Bench
from bench.scenarios.streams import loaded
from bench.servers import PARLEY_STREAM, Server


def measure_lengths(bench: Bench, server: Server, runtime: str) -> dict[str, float]:
    """Microseconds of the server's core for each token past an answer's first, by the answer's length."""
    alone_us = _answer_us(bench, server, runtime, 1)
    costs = {n: (_answer_us(bench, server, runtime, n) - alone_us) / (n - 1) for n in bench.scale.lengths}
    shortest = costs[bench.scale.lengths[0]]
    return {
        "answer_us": alone_us,
        **{f"token_us_{n}": cost for n, cost in costs.items()},
        "length_growth": max(costs.values()) / shortest,
    }


def _answer_us(bench: Bench, server: Server, runtime: str, tokens: int) -> float:
    answers = max(2, min(bench.scale.length_tokens // tokens, 10 * bench.scale.repeats))
    script = f"tokens={tokens} tps=0"
    seen = loaded(bench, PARLEY_STREAM[runtime], server, script, tokens=tokens, streams=1, total=answers)
    if seen.failed:
        raise RuntimeError(f"{seen.failed:.0f} answers of {tokens} tokens were not whole")
    return seen.core * seen.wall_s * 1e6 / answers


def measure_making(bench: Bench, server: Server, _runtime: str) -> dict[str, float]:
    """Ten clients, each on a new connection every time."""
    report = bench.load.run(
        port=server.port, path="/api/chat/sessions", body="{}", streams=bench.scale.streams[1] // 5 or 1,
        for_s=bench.scale.for_s,
    )  # fmt: skip
    return {"sessions_per_s": report.finished / report.wall_s}
