"""Prints the tables of docs/scaling.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bench.capacity.costs import MEASURED, TWO_WORKERS
from bench.capacity.plan import Plan
from bench.capacity.simulation import Outcome, simulate
from bench.tables import number, table

STEADY = Plan(streams=0, workers=1, ramp_s=10, for_s=13)
"""Answers of ten seconds, one after another: looked at for three seconds when all are there."""
ONE_WORKER = (100, 300, 400, 500, 600, 800, 1200)
TEN_THOUSAND = ((16, 1), (20, 1), (28, 1), (28, 2))
SHARDS = (1, 2, 4, 8)
ELSEWHERE = (0.0, 0.1, 0.5, 1.0)
HEAD = (
    "streams", "workers", "shards", "read elsewhere", "rate", "p50 ms", "p99 ms", "tokens a row", "rows/s",
    "worker µs a token", "busiest worker", "busiest Redis",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only beside what was measured")
    asked = parser.parse_args()
    for heading, lines in (check(),) if asked.check else (check(), *sections()):
        print(f"### {heading}\n\n{lines}\n", flush=True)


def check() -> tuple[str, str]:
    """The measured crowd beside the same simulated."""
    seen = simulate(TWO_WORKERS.plan, MEASURED)
    rows = [
        ("rate, of the ideal", f"{TWO_WORKERS.share:.1%}", f"{seen.share:.1%}"),
        ("between tokens, 99th percentile, ms", number(TWO_WORKERS.p99_ms), number(seen.p99_ms)),
        ("time of both workers for a token, µs", number(TWO_WORKERS.worker_us), number(seen.worker_us)),
    ]
    plan = TWO_WORKERS.plan
    heading = f"{plan.streams:,} streams of {plan.tokens} tokens over two workers, all on two cores"
    return heading, table(("", "measured", "simulated"), rows)


def sections() -> Iterator[tuple[str, str]]:
    yield "One worker", told(replace(STEADY, streams=streams) for streams in ONE_WORKER)
    yield (
        "Ten thousand streams",
        told(
            replace(STEADY, streams=10_000, workers=workers, shards=shards)
            for workers, shards in TEN_THOUSAND
        ),
    )
    yield (
        "Read in another process",
        told(replace(STEADY, streams=2000, workers=6, elsewhere=share) for share in ELSEWHERE),
    )
    yield "Shards of a Cluster", told(replace(STEADY, streams=2000, workers=5, shards=n) for n in SHARDS)


def told(plans: Iterable[Plan]) -> str:
    return table(HEAD, [row(plan, simulate(plan, MEASURED)) for plan in plans])


def row(plan: Plan, seen: Outcome) -> list[str]:
    return [
        number(plan.streams),
        number(plan.workers),
        number(plan.shards),
        f"{plan.elsewhere:.0%}",
        f"{seen.share:.0%}",
        number(seen.p50_ms),
        number(seen.p99_ms),
        number(seen.row_tokens, 2),
        number(seen.rows_per_s),
        number(seen.worker_us, 1),
        f"{seen.worker:.0%}",
        f"{seen.redis:.0%}",
    ]


if __name__ == "__main__":
    main()
