"""A crowd that comes within seconds, at the pace of a model; and crowds of growing size that come at once."""

from __future__ import annotations

from bench.bench import Bench
from bench.figures import Figures
from bench.scale import RATE
from bench.scenarios.streams import loaded
from bench.servers import PARLEY_STREAM, Server


def measure_ramp(bench: Bench, server: Server, runtime: str) -> dict[str, float]:
    scale = bench.scale
    crowd = scale.streams[2]
    seen = loaded(
        bench, PARLEY_STREAM[runtime], server, f"tokens={scale.ramp_tokens} tps={RATE}",
        tokens=scale.ramp_tokens, streams=crowd, ramp_s=scale.ramp_s,
    )  # fmt: skip
    ideal_s = scale.ramp_s * (crowd - 1) / crowd + (scale.ramp_tokens - 1) / RATE
    return {"ramp_share": 100 * ideal_s / seen.wall_s, "ramp_failed": seen.failed}


def measure_growth(bench: Bench, server: Server, runtime: str, streams: int) -> Figures:
    tokens = bench.scale.growth_tokens
    script = f"tokens={tokens} tps={RATE}"
    return loaded(bench, PARLEY_STREAM[runtime], server, script, tokens=tokens, streams=streams)
