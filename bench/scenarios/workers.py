"""Two workers on one Redis, with everything else, on two cores; beside one that has a core for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.bench import Bench
from bench.load import Report
from bench.processes import busy_s
from bench.redis_server import RedisServer
from bench.scale import RATE
from bench.scenarios.streams import LIMIT_S, warm
from bench.servers import ON_STORE, STORES, Server, Subject
from bench.upstream import Upstream

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on cores: `workers` of each of them, `rest` of load, upstream and Redis together, `others` of
    everybody else on the machine."""

    workers: tuple[float, ...]
    rest: float
    others: float


def measure_workers(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """`h` is what load, upstream and Redis take of a core while one worker has another to itself. So much is
    to be done beside the workers when all share two cores: the most they can reach there is 2 / (1 + h) of
    what the one does in a second of its core."""
    found: dict[str, float] = {}
    for relayed, kind in ((False, "built"), (True, "relayed")):
        subject = ON_STORE[STORES[1], relayed]
        some = bench.scale.streams[1]
        with RedisServer(program) as redis, bench.start(runtime, STORE_URL=redis.url) as server:
            warm(bench, subject, server)
            report, spent = _unpaced(bench, subject, server, redis, some)
        alone = report.tokens / sum(spent.workers)
        h = spent.rest / sum(spent.workers)
        ceiling = min(WORKERS, 2 / (1 + h)) * alone
        found |= {
            f"{kind}_alone_per_s": report.tokens / report.wall_s,
            f"{kind}_alone_per_core_s": alone,
            f"{kind}_h": h,
            f"{kind}_ceiling": ceiling,
        }
        with _together(bench, runtime, program) as (both, server, redis):
            warm(both, subject, server)
            for streams, name in ((some, "same"), (WORKERS * some, "each")):
                report, spent = _unpaced(both, subject, server, redis, streams)
                others = spent.others / report.wall_s / len(both.cores.server)
                rate = report.tokens / report.wall_s
                left = rate / max(0.1, 1 - others)
                found |= {
                    f"{kind}_two_{name}": rate,
                    f"{kind}_two_{name}_others": 100 * others,
                    f"{kind}_two_{name}_share": 0.0 if report.failed else 100 * left / ceiling,
                    f"{kind}_two_{name}_balance": min(spent.workers) / max(spent.workers),
                    f"{kind}_two_{name}_busy": (sum(spent.workers) + spent.rest) / report.wall_s,
                    f"{kind}_two_{name}_us": sum(spent.workers) * 1e6 / report.tokens,
                    f"{kind}_two_{name}_rest_us": spent.rest * 1e6 / report.tokens,
                }
    return found


def measure_crowd(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """A crowd at a model's pace over two workers: whether all arrives, how near the ideal, how smoothly."""
    found: dict[str, float] = {}
    scale = bench.scale
    crowd, tokens = scale.streams[2], scale.ramp_tokens
    ideal_s = scale.ramp_s * (crowd - 1) / crowd + (tokens - 1) / RATE
    for relayed, kind in ((False, "built"), (True, "relayed")):
        subject = ON_STORE[STORES[1], relayed]
        with _together(bench, runtime, program) as (both, server, redis):
            warm(both, subject, server)
            script = f"tokens={tokens} tps={RATE}"
            report, spent = _run(
                both, subject, server, redis, script, tokens=tokens, streams=crowd, ramp_s=scale.ramp_s,
                limit_s=3 * ideal_s + LIMIT_S,
            )  # fmt: skip
        exact = report.finished == crowd and report.tokens == crowd * tokens
        found |= {
            f"{kind}_crowd_lacking": crowd * tokens - report.tokens if not report.failed else crowd * tokens,
            f"{kind}_crowd_share": 100 * ideal_s / report.wall_s if exact else 0.0,
            f"{kind}_crowd_others": 100 * spent.others / report.wall_s / len(both.cores.server),
            f"{kind}_crowd_p99_ms": report.gap_ms.p99,
            f"{kind}_crowd_max_ms": report.gap_ms.max,
            f"{kind}_crowd_first_ms": report.first_ms.p50,
            f"{kind}_crowd_us": sum(spent.workers) * 1e6 / max(1, report.tokens),
            f"{kind}_crowd_rest_us": spent.rest * 1e6 / max(1, report.tokens),
            f"{kind}_crowd_busy": (sum(spent.workers) + spent.rest) / report.wall_s,
            f"{kind}_crowd_balance": min(spent.workers) / max(spent.workers),
        }
    return found


@contextmanager
def _together(bench: Bench, runtime: str, program: str) -> Iterator[tuple[Bench, Server, RedisServer]]:
    """Two workers and all they need, wherever the kernel puts them."""
    with bench.cores.together() as cores, Upstream(bench.upstream.program) as upstream:
        both = replace(bench, cores=cores, upstream=upstream)
        with RedisServer(program) as redis:
            with both.start(runtime, STORE_URL=redis.url, WORKERS=str(WORKERS)) as server:
                yield both, server, redis


def _unpaced(
    bench: Bench, subject: Subject, server: Server, redis: RedisServer, streams: int
) -> tuple[Report, Spent]:
    tokens = bench.scale.tokens
    script = f"tokens={tokens} tps=0"
    return _run(
        bench, subject, server, redis, script, tokens=tokens, streams=streams, for_s=2 * bench.scale.for_s
    )


def _run(
    bench: Bench, subject: Subject, server: Server, redis: RedisServer, script: str, **options: float
) -> tuple[Report, Spent]:
    """What the load saw, and what it cost from the first question to the last answer."""
    with bench.load.clients(
        port=server.port, path=subject.path, mark=subject.mark, body=subject.body(script),
        **{"limit_s": LIMIT_S, **options},
    ) as clients:  # fmt: skip
        beside = (bench.upstream.gauge, redis.gauge)
        cores = bench.cores.server | bench.cores.load
        before, before_s, busy = server.gauge.each_cpu_s, sum(each.cpu_s for each in beside), busy_s(cores)
        report = clients.report()
        after, after_s, all_s = (
            server.gauge.each_cpu_s,
            sum(each.cpu_s for each in beside),
            busy_s(cores) - busy,
        )
    workers = tuple(now - then for now, then in zip(after, before, strict=True))
    rest = after_s - before_s + report.cpu_s
    return report, Spent(workers, rest, max(0.0, all_s - sum(workers) - rest))
