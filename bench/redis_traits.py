"""What is found of Redis and of workers: what each figure is called, and the scenarios that find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bench.bench import Bench
from bench.scale import RATE, Scale
from bench.scenarios import elsewhere, on_redis, workers
from bench.traits import Trait

OnRedis: TypeAlias = Callable[[Bench, str, str], dict[str, float]]

ONCE: tuple[OnRedis, ...] = (
    on_redis.measure_connections,
    on_redis.measure_traffic,
    on_redis.measure_loads,
    elsewhere.measure_elsewhere,
)
"""Each is given the Redis program, and starts what it needs. What these find is counted, or the mean of
thousands of tokens: one run is enough."""
AGAIN: tuple[OnRedis, ...] = (workers.measure_workers, workers.measure_crowd)
"""These are run as often as all else."""

KINDS = {"built": "built-in", "relayed": "relayed"}


def redis_traits(scale: Scale) -> tuple[Trait, ...]:
    one, some, crowd = scale.streams
    live = "memory of an answer of ten tokens under way"
    return (
        Trait("connections_one", f"connections to Redis, {one} stream", "", 0),
        Trait("connections_crowd", f"connections to Redis, {crowd:,} streams", "", 0),
        Trait("redis_live_kib", f"{live}, with its reader, in the worker", "KiB"),
        Trait("redis_live_bytes", f"{live}, in Redis", "bytes", 0),
        *(trait for pace in ("paced", "unpaced") for trait in traffic_traits(scale, pace)),
        *(
            Trait(f"bytes_{n}", f"bytes to Redis of an answer of {n:,} tokens that come alone", "bytes", 0)
            for n in scale.redis_lengths
        ),
        Trait(
            "redis_answer_us",
            f"relayed answers of one token, {some} at once: the worker's time, each",
            "µs",
            0,
        ),
        Trait("redis_answer_redis_us", "… Redis' time", "µs", 0),
        *(trait for streams in scale.redis_loads for trait in load_traits(streams)),
        *elsewhere_traits(scale),
    )


def traffic_traits(scale: Scale, pace: str) -> tuple[Trait, ...]:
    how = f"{scale.streams[1]} streams, {f'{RATE}/s' if pace == 'paced' else 'unpaced'}"
    return (
        Trait(f"{pace}_token_commands", f"{how}: commands to Redis, a token", "", 3),
        Trait(f"{pace}_token_received", f"{how}: bytes to Redis, a token", "bytes"),
        Trait(f"{pace}_token_sent", f"{how}: bytes from Redis, a token", "bytes"),
        Trait(f"{pace}_stream_commands", f"{how}: commands to Redis, the rest of an answer", ""),
        Trait(f"{pace}_stream_received", f"{how}: bytes to Redis, the rest of an answer", "bytes", 0),
        Trait(f"{pace}_stream_sent", f"{how}: bytes from Redis, the rest of an answer", "bytes", 0),
        Trait(f"{pace}_token_memory", f"{how}: memory of Redis, a token", "bytes"),
        Trait(f"{pace}_stream_memory", f"{how}: memory of Redis, the rest of an answer", "bytes", 0),
        Trait(f"{pace}_command_us", f"{how}: Redis' time on its core, a command", "µs"),
    )


def load_traits(streams: int) -> tuple[Trait, ...]:
    how = f"{streams:,} relayed streams at {RATE}/s on one worker"
    return (
        Trait(f"load_us_{streams}", f"{how}: its time, a token", "µs"),
        Trait(f"load_redis_us_{streams}", f"{how}: Redis' time, a token", "µs"),
        Trait(f"load_core_{streams}", f"{how}: how much of its core", "%", 0),
        Trait(f"load_p99_ms_{streams}", f"{how}: between tokens, 99th percentile", "ms"),
    )


def elsewhere_traits(scale: Scale) -> tuple[Trait, ...]:
    found = []
    for name, how in (("alone", "read by nobody else"), ("elsewhere", "also read in another process")):
        what = f"{scale.elsewhere} answers at {RATE}/s, {how}"
        found += [
            Trait(f"{name}_writer_us", f"{what}: the writer's time, a token", "µs"),
            Trait(f"{name}_reader_us", f"{what}: the other's time, a token", "µs"),
            Trait(f"{name}_commands", f"{what}: commands to Redis, a token", "", 2),
            Trait(f"{name}_received", f"{what}: bytes to Redis, a token", "bytes", 0),
            Trait(f"{name}_sent", f"{what}: bytes from Redis, a token", "bytes", 0),
            Trait(f"{name}_redis_us", f"{what}: Redis' time, a token", "µs"),
        ]
    return tuple(found)


def alone_traits() -> tuple[Trait, ...]:
    """One worker with a core to itself; `{}` is built or relayed."""
    return (
        Trait("{}_alone_per_s", "one worker alone on its core", "tokens/s", 0),
        Trait("{}_alone_per_core_s", "… for each second of its core", "tokens", 0),
        Trait("{}_h", "h: load, upstream and Redis, beside it", "of a core", 2),
        Trait("{}_ceiling", "the most that two can reach", "tokens/s", 0),
    )


def pair_traits(scale: Scale) -> tuple[Trait, ...]:
    """Two workers, unpaced."""
    found = list(alone_traits())
    for name, streams in (("same", scale.streams[1]), ("each", workers.WORKERS * scale.streams[1])):
        found += [
            Trait(f"{{}}_two_{name}", f"two workers, {streams} streams", "tokens/s", 0),
            Trait(f"{{}}_two_{name}_others", "… what others took of the cores", "%"),
            Trait(f"{{}}_two_{name}_share", "… of the most they can reach on what was left", "%"),
            Trait(f"{{}}_two_{name}_us", "… their time, a token", "µs", 2),
            Trait(f"{{}}_two_{name}_rest_us", "… everything else's time, a token", "µs", 2),
            Trait(f"{{}}_two_{name}_busy", "… cores in use", "", 2),
            Trait(f"{{}}_two_{name}_balance", "… the less busy worker's time beside the other's", "times", 2),
        ]
    return tuple(found)


def crowd_traits() -> tuple[Trait, ...]:
    """Two workers, at a model's pace."""
    return (
        Trait("{}_crowd_lacking", "tokens that did not arrive", "", 0),
        Trait("{}_crowd_share", "rate, of the ideal", "%"),
        Trait("{}_crowd_others", "what others took of the cores", "%"),
        Trait("{}_crowd_first_ms", "first token", "ms", 0),
        Trait("{}_crowd_p99_ms", "between tokens, 99th percentile", "ms", 0),
        Trait("{}_crowd_max_ms", "between tokens, the longest", "ms", 0),
        Trait("{}_crowd_us", "time of both workers, a token", "µs"),
        Trait("{}_crowd_rest_us", "time of everything else, a token", "µs"),
        Trait("{}_crowd_busy", "cores in use", "", 2),
        Trait("{}_crowd_balance", "the less busy worker's time beside the other's", "times", 2),
    )
