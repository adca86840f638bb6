"""What each step takes."""

from __future__ import annotations

from dataclasses import dataclass

from bench.capacity.plan import Plan


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a core, as docs/scaling.md derives them.

    Of a worker: `open_s` and `close_s` are an answer's beginning and end; `turn_s` is taking what a model has
    ready, bringing it to Redis and handing it to its reader, `token_s` each token of that; `exchange_s` one
    pipeline, however much is in it. `nudge_s` and `fetch_s` come with every turn that is read in another
    process, in the writer's and in the reader's.

    Of a Redis: `redis_exchange_s` one pipeline, `redis_row_s` one row of an answer in it, `redis_open` and
    `redis_close` as many rows as an answer's beginning and end are worth, `redis_nudge_s` and `redis_fetch_s`
    what a turn read elsewhere adds.

    `client_s` is what the load takes for a batch it reads: it counts where it shares the cores. `way_s` is
    the network's, each way.
    """

    open_s: float
    close_s: float
    turn_s: float
    token_s: float
    exchange_s: float
    nudge_s: float
    fetch_s: float
    redis_exchange_s: float
    redis_row_s: float
    redis_open: int
    redis_close: int
    redis_nudge_s: float
    redis_fetch_s: float
    client_s: float
    way_s: float


MEASURED = Costs(
    open_s=0.8e-3,
    close_s=0.45e-3,
    turn_s=55e-6,
    token_s=2e-6,
    exchange_s=150e-6,
    nudge_s=30e-6,
    fetch_s=45e-6,
    redis_exchange_s=4.4e-6,
    redis_row_s=1.1e-6,
    redis_open=46,
    redis_close=42,
    redis_nudge_s=2e-6,
    redis_fetch_s=5e-6,
    client_s=10e-6,
    way_s=30e-6,
)
"""On a quiet machine: see docs/scaling.md."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """What `make bench` found of a crowd, and its plan; `worker_us` is the workers' time for each token."""

    plan: Plan
    share: float
    p99_ms: float
    worker_us: float


TWO_WORKERS = Crowd(Plan(1000, 2, cores=2), share=0.993, p99_ms=55, worker_us=74.4)
"""Built-in answers."""
