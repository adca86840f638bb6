"""Answers in Redis: beside those in memory, and what they make Redis do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.bench import Bench
from bench.figures import Case, Figures, typical
from bench.redis_server import RedisServer, Usage
from bench.scale import RATE
from bench.scenarios.streams import loaded, measure_case, warm
from bench.servers import ON_STORE, PARLEY_STREAM, STORES, Server, Subject

LINEAR_TPS = 500
"""Of an answer whose bytes are counted by its length: tokens come alone, and it does not take long."""


@contextmanager
def on_redis(bench: Bench, runtime: str, program: str, **env: str) -> Iterator[tuple[Server, RedisServer]]:
    """A server and its Redis, which is where the load is."""
    with RedisServer(program) as redis, bench.start(runtime, STORE_URL=redis.url, **env) as server:
        warm(bench, PARLEY_STREAM[runtime], server)
        yield server, redis


def compare_stores(bench: Bench, runtime: str, program: str) -> dict[Case, Figures]:
    """Some cases on memory:// and right after it on redis://; both servers are there all the time."""
    runs = defaultdict[Case, list[Figures]](list)
    with ExitStack() as started:
        redis = started.enter_context(RedisServer(program))
        urls = dict(zip(STORES, (STORES[0], redis.url), strict=True))
        servers = {
            store: started.enter_context(bench.start(runtime, STORE_URL=urls[store])) for store in STORES
        }
        for (store, _), subject in ON_STORE.items():
            warm(bench, subject, servers[store])
        for _ in range(bench.scale.runs):
            for relayed in (False, True):
                pairs = zip(*(_cases(bench, ON_STORE[store, relayed]) for store in STORES), strict=True)
                for pair in pairs:
                    for store, case in zip(STORES, pair, strict=True):
                        runs[case].append(measure_case(bench, case, servers[store]))
    return {case: typical(found) for case, found in runs.items()}


def _cases(bench: Bench, subject: Subject) -> Iterator[Case]:
    one, some, crowd = bench.scale.streams
    yield Case(subject, one, 0)
    yield Case(subject, some, 0)
    yield Case(subject, crowd, RATE)


def measure_connections(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """With one answer under way, and with a crowd; what one takes of the server's memory and of Redis'."""
    one, _, crowd = bench.scale.streams
    found: dict[str, float] = {}
    with on_redis(bench, runtime, program) as (server, redis):
        subject = PARLEY_STREAM[runtime]
        body = subject.body("tokens=20 tps=0 hang=10")
        for name, streams in (("one", one), ("crowd", crowd)):
            before_kib, before = server.gauge.settled_kib(), redis.usage()
            with bench.load.clients(
                hold=1, port=server.port, path=subject.path, mark=subject.mark, body=body, tokens=10,
                streams=streams,
            ):  # fmt: skip
                found[f"connections_{name}"] = redis.connections
                found["redis_live_kib"] = (server.gauge.settled_kib() - before_kib) / streams
                found["redis_live_bytes"] = redis.usage().since(before).memory / streams
    return found


def measure_traffic(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """Commands, bytes and Redis' time for a token, and for the rest of an answer: answers of two lengths."""
    some = bench.scale.streams[1]
    found: dict[str, float] = {}
    with on_redis(bench, runtime, program) as (server, redis):
        for pace, rate in (("paced", RATE), ("unpaced", 0)):
            short = bench.scale.paced_tokens[1] if rate else bench.scale.tokens
            long = 3 * short
            spent = {n: _spent(bench, server, redis, runtime, n, rate, some) for n in (short, long)}
            token = spent[long].since(spent[short]).each(long - short)
            found |= {
                f"{pace}_token_commands": token.commands,
                f"{pace}_token_received": token.received,
                f"{pace}_token_sent": token.sent,
                f"{pace}_stream_commands": spent[short].commands - short * token.commands,
                f"{pace}_stream_received": spent[short].received - short * token.received,
                f"{pace}_stream_sent": spent[short].sent - short * token.sent,
                f"{pace}_command_us": spent[long].cpu_s * 1e6 / spent[long].commands,
                f"{pace}_token_memory": token.memory,
                f"{pace}_stream_memory": spent[short].memory - short * token.memory,
            }
        for n in bench.scale.redis_lengths:
            found[f"bytes_{n}"] = _spent(bench, server, redis, runtime, n, LINEAR_TPS, 1).received
    shortest, longest = bench.scale.redis_lengths
    found["bytes_growth"] = found[f"bytes_{longest}"] / found[f"bytes_{shortest}"] / (longest / shortest)
    return found


def _spent(
    bench: Bench, server: Server, redis: RedisServer, runtime: str, tokens: int, rate: int, streams: int
) -> Usage:  # fmt: skip
    """For each answer."""
    before = redis.usage()
    seen = loaded(
        bench, PARLEY_STREAM[runtime], server, f"tokens={tokens} tps={rate}", tokens=tokens, streams=streams
    )
    if seen.failed:
        raise RuntimeError(f"{seen.failed:.0f} answers of {tokens} tokens were not whole")
    return redis.usage().since(before).each(streams)


def measure_loads(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """What an answer of one token and, at the pace of a model, each token of longer ones take of a worker
    that relays, and of Redis; by how many there are at once."""
    scale, subject = bench.scale, ON_STORE[STORES[1], True]
    found: dict[str, float] = {}
    with on_redis(bench, runtime, program) as (server, redis):
        before = redis.gauge.cpu_s
        seen = loaded(
            bench, subject, server, "tokens=1 tps=0", tokens=1, streams=scale.streams[1], for_s=scale.for_s
        )
        found["redis_answer_us"] = seen.core / seen.tokens_per_s * 1e6
        found["redis_answer_redis_us"] = (
            (redis.gauge.cpu_s - before) / (seen.tokens_per_s * seen.wall_s) * 1e6
        )
        for streams in scale.redis_loads:
            tokens = scale.redis_load_tokens
            before = redis.gauge.cpu_s
            seen = loaded(
                bench, subject, server, f"tokens={tokens} tps={RATE}", tokens=tokens, streams=streams,
                ramp_s=scale.redis_ramp_s,
            )  # fmt: skip
            found |= {
                f"load_us_{streams}": seen.core / seen.tokens_per_s * 1e6,
                f"load_redis_us_{streams}": (redis.gauge.cpu_s - before) * 1e6 / (streams * tokens),
                f"load_core_{streams}": 100 * seen.core,
                f"load_p99_ms_{streams}": seen.gap_p99_ms,
            }
    return found
