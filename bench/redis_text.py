"""What docs/performance.md says of Redis and of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.figures import Results
from bench.redis_traits import KINDS, crowd_traits, pair_traits, redis_traits
from bench.scale import RATE
from bench.servers import DEFAULT_RUNTIME
from bench.tables import number, table
from bench.traits import Trait

REDIS = """Redis is on the core of the load and the upstream; it saves nothing. What an answer makes it do is
taken from answers of two lengths: a token is what the longer ones take more, the rest of an answer what is
left. What a token takes comes down where several are written together."""

PAIR = """One worker has a core to itself; load, upstream and Redis are on the other. It does *A* tokens in a
second of its core, for which the others take *h* seconds of theirs. When two workers and all the others
share the two cores, each second of a worker still comes with *h* seconds of the others. Of two cores' seconds
the workers can have 2 / (1 + h), so that the most they can reach together is A × 2 / (1 + h) tokens a second.
*A* is counted by the worker's own time, not by the clock, so that no moment in which it waited makes the goal
easier. What others on the machine took of the cores meanwhile is left out of the share, and told. Of as many
streams in all each of two workers has half, and half as much in each exchange with Redis; of twice as many
each has what the one had. Load, upstream and Redis wait until a worker's slice of its core is over
(`SCHED_BATCH`): on machines of their own they would not interrupt it."""


def redis_text(results: Results) -> Iterator[str]:
    """Sections, each with its heading."""
    known = results.traits
    if ("connections_one", DEFAULT_RUNTIME) not in known:
        return
    scale = results.scale
    rows = [_row(results, trait, [trait.key]) for trait in redis_traits(scale)]
    yield f"## What Redis has to do\n\n{REDIS}\n\n{table(('', DEFAULT_RUNTIME, ''), rows)}"
    yield f"## Two workers\n\n{PAIR}\n\n{_both(results, pair_traits(scale))}"
    yield (
        f"{scale.streams[2]:,} streams of {scale.ramp_tokens} tokens at {RATE}/s, begun over "
        f"{scale.ramp_s:g} s, on two workers; all processes on the same two cores:\n\n"
        f"{_both(results, crowd_traits())}"
    )


def _both(results: Results, wanted: Iterable[Trait]) -> str:
    """Their keys have `{}` for the kind of answer."""
    rows = [_row(results, trait, [trait.key.format(kind) for kind in KINDS]) for trait in wanted]
    return table(("", *KINDS.values(), ""), rows)


def _row(results: Results, trait: Trait, keys: Iterable[str]) -> list[str]:
    found = [number(results.traits.get((key, DEFAULT_RUNTIME)), trait.digits) for key in keys]
    return [trait.label, *found, trait.unit]
