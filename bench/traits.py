"""The traits: what each is called, and the scenarios that find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bench.bench import Bench
from bench.scale import Scale
from bench.scenarios import billed, coming_back, cost, crowd, followers, memory
from bench.servers import Server


@dataclass(frozen=True, slots=True)
class Trait:
    key: str
    label: str
    unit: str
    digits: int = 1


OnServer: TypeAlias = Callable[[Bench, Server, str], dict[str, float]]
OnItsOwn: TypeAlias = Callable[[Bench, str], dict[str, float]]

ON_ONE_SERVER: tuple[OnServer, ...] = (
    coming_back.measure_resume,
    coming_back.measure_stop,
    cost.measure_making,
    cost.measure_lengths,
    followers.measure_gap,
    crowd.measure_ramp,
)
"""These share a server, one after another."""

ON_THEIR_OWN: tuple[OnItsOwn, ...] = (
    billed.measure_calls,
    memory.measure_sockets,
    memory.measure_live,
    memory.measure_sessions,
    followers.measure_memory,
)
"""These each start servers, since they weigh them, or need a team. It takes long, and runtimes weigh much the
same."""


def traits(scale: Scale) -> tuple[Trait, ...]:
    """In the order in which they are told."""
    crowd_size, many = scale.streams[2], scale.followers
    return (
        Trait("sessions_per_s", "sessions made", "/s", 0),
        Trait("resume_ms", "resume: from the request to the next token", "ms", 2),
        Trait("stop_ms", "stop: from the request to the upstream's closing, tokens on their way", "ms"),
        Trait("stop_silent_ms", "the same, while the upstream is silent", "ms"),
        Trait("v1_first_ms", "first token of a relayed answer by `/v1`, nobody pays", "ms", 2),
        Trait(
            "v1_key_first_ms", "the same with a team's key: a job of one call, the ledger on SQLite", "ms", 2
        ),
        Trait("call_first_ms", "the same by `llm-call-stream`", "ms", 2),
        Trait(
            "follower_gap_p99_ms",
            f"added to the time between tokens (99th percentile) by {many} followers of one answer",
            "ms",
            2,
        ),
        Trait("socket_kib", f"memory of an idle socket, out of {scale.sockets:,}", "KiB"),
        Trait("session_kib", f"memory of a session of {memory.MESSAGES} short messages (`memory://`)", "KiB"),
        Trait("live_kib", "memory of an answer under way and its reader", "KiB"),
        Trait(
            "followed_kib",
            f"memory of the second {scale.followed_tokens // 2:,} tokens of an answer that one follows",
            "KiB",
            0,
        ),
        Trait(
            "followed_by_many_kib",
            f"memory of the second {scale.followed_tokens // 2:,} tokens of an answer that {many} follow",
            "KiB",
            0,
        ),
        Trait("answer_us", "time on the core of an answer of one token", "µs", 0),
        *(
            Trait(f"token_us_{n}", f"time on the core of each further token, {n:,} an answer", "µs", 2)
            for n in scale.lengths
        ),
        Trait(
            "ramp_share",
            f"{crowd_size:,} streams of {scale.ramp_tokens} tokens at pace, begun over {scale.ramp_s:g} s: "
            "share of the ideal rate",
            "%",
        ),
    )
