"""What the numbers have to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from bench.figures import Compared, Figures, Results
from bench.idle import KEPT_S, SOCKETS, Held
from bench.scale import RATE, Scale
from bench.servers import (
    DEFAULT_RUNTIME,
    FASTAPI_RELAY,
    LITELLM,
    ON_STORE,
    PARLEY_OPENAI,
    PARLEY_RELAY,
    PARLEY_SOCKETS,
    PARLEY_STREAM,
    STORES,
    UPSTREAM,
    Subject,
)

Measure: TypeAlias = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """`measure` gives None for what was not measured. Exactly one bound is set."""

    name: str
    unit: str
    measure: Measure
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        word, value = ("at least", self.at_least) if self.at_least is not None else ("at most", self.at_most)
        return f"{word} {value:,g} {self.unit}".rstrip()

    def passes(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


@dataclass(frozen=True, slots=True)
class Outcome:
    goal: Goal
    value: float | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "pass" if self.goal.passes(self.value) else "short"


def trait(key: str) -> Measure:
    return lambda results: results.traits.get((key, DEFAULT_RUNTIME))


def unpaced(results: Results) -> float | None:
    seen = results.case(PARLEY_STREAM[DEFAULT_RUNTIME], results.scale.streams[1], 0)
    return seen.tokens_per_s if seen else None


def times_fastapi(results: Results) -> float | None:
    ours = results.case(PARLEY_RELAY[DEFAULT_RUNTIME], results.scale.streams[1], 0)
    theirs = results.case(FASTAPI_RELAY, results.scale.streams[1], 0)
    return ours.tokens_per_s / theirs.tokens_per_s if ours and theirs else None


def openai_share(results: Results) -> float | None:
    ours, other = (
        results.case(door[DEFAULT_RUNTIME], results.scale.streams[1], 0)
        for door in (PARLEY_OPENAI, PARLEY_RELAY)
    )
    return share_of(ours, other) if ours and other else None


def share_of(ours: Figures, theirs: Figures) -> float:
    """Tokens a second beside theirs, without what somebody else took of either's core; whoever leaves
    questions unanswered has earned nothing."""
    return 0.0 if ours.failed else ours.undisturbed_per_s / theirs.undisturbed_per_s


def added_ms(results: Results) -> float | None:
    ours = results.case(PARLEY_RELAY[DEFAULT_RUNTIME], results.scale.streams[0], 0)
    alone = results.case(UPSTREAM, results.scale.streams[0], 0)
    return ours.first_ms - alone.first_ms if ours and alone else None


def slowest_first_s(subject: Subject) -> Measure:
    def measure(results: Results) -> float | None:
        seen = results.case(subject, results.scale.streams[2], RATE)
        return unless(seen.failed, seen.first_max_ms / 1000) if seen else None

    return measure


def times_ideal(results: Results) -> float | None:
    seen = results.case(PARLEY_SOCKETS[DEFAULT_RUNTIME], results.scale.streams[2], RATE)
    ideal_s = (results.scale.paced_tokens[2] - 1) / RATE
    return unless(seen.failed, seen.wall_s / ideal_s) if seen else None


def ramp_share(results: Results) -> float | None:
    failed = results.traits.get(("ramp_failed", DEFAULT_RUNTIME))
    return 0.0 if failed else results.traits.get(("ramp_share", DEFAULT_RUNTIME))


def followers_share(results: Results) -> float | None:
    """Bytes that a token takes for each follower after the first: even a reference to it would be eight."""
    keys = ("followed_kib", "followed_by_many_kib")
    one, many = (results.traits.get((key, DEFAULT_RUNTIME)) for key in keys)
    if one is None or many is None:
        return None
    scale = results.scale
    return max(0.0, many - one) * 1024 / (scale.followers - 1) / (scale.followed_tokens // 2)


def idle_kib(results: Results) -> float | None:
    held = results.held
    return unless(held.lost, held.socket_kib) if held and held.enough else None


def times_litellm(results: Results) -> float | None:
    found = results.compared
    return share_of(found.some(PARLEY_OPENAI[found.runtime]), found.some(LITELLM)) if found else None


def litellm_added_times(results: Results) -> float | None:
    if not (found := results.compared):
        return None
    ours, theirs = (
        found.alone(subject).first_ms - found.alone(UPSTREAM).first_ms
        for subject in (PARLEY_OPENAI[found.runtime], LITELLM)
    )
    return theirs / ours


def compared_openai_share(results: Results) -> float | None:
    found = results.compared
    if not found:
        return None
    return share_of(*(found.some(door[found.runtime]) for door in (PARLEY_OPENAI, PARLEY_RELAY)))


def unless(failed: float, value: float) -> float:
    """Past every bound if anything failed."""
    return inf if failed else value


def redis_share(*, relayed: bool) -> Measure:
    def measure(results: Results) -> float | None:
        memory, redis = (
            results.case(ON_STORE[store, relayed], results.scale.streams[1], 0) for store in STORES
        )
        return share_of(redis, memory) if memory and redis else None

    return measure


def redis_added_ms(*, relayed: bool) -> Measure:
    def measure(results: Results) -> float | None:
        memory, redis = (
            results.case(ON_STORE[store, relayed], results.scale.streams[0], 0) for store in STORES
        )
        return unless(redis.failed, redis.first_ms - memory.first_ms) if memory and redis else None

    return measure


def redis_goals(scale: Scale) -> Iterator[Goal]:
    one, some, crowd = scale.streams
    shortest, longest = scale.redis_lengths
    for relayed, kind, what in ((False, "built", "built-in"), (True, "relayed", "relayed")):
        yield Goal(
            f"on Redis, {what}, unpaced, {some} streams",
            "times memory://", redis_share(relayed=relayed), at_least=0.5,
        )  # fmt: skip
        yield Goal(
            f"on Redis, {what}, one stream at a time: first token, beside memory://",
            "ms more", redis_added_ms(relayed=relayed), at_most=2,
        )  # fmt: skip
        yield Goal(
            f"two workers on Redis, {what}, unpaced, {some} streams, all on two cores",
            "% of what they can reach", trait(f"{kind}_two_same_share"), at_least=85,
        )  # fmt: skip
        yield Goal(
            f"two workers on Redis, {what}, {crowd:,} streams of {scale.ramp_tokens} tokens at {RATE}/s: "
            "tokens that did not arrive",
            "", trait(f"{kind}_crowd_lacking"), at_most=0,
        )  # fmt: skip
        yield Goal("… rate", "% of the ideal", trait(f"{kind}_crowd_share"), at_least=85)
    yield Goal(
        f"connections to Redis of a process with {crowd:,} streams", "", trait("connections_crowd"), at_most=9
    )
    yield Goal(f"… more than with {one}", "", difference("connections_crowd", "connections_one"), at_most=0)
    yield Goal(
        f"bytes to Redis, a token, at {longest:,} tokens an answer beside {shortest:,}",
        "times", trait("bytes_growth"), at_most=1.1,
    )  # fmt: skip


def difference(key: str, other: str) -> Measure:
    def measure(results: Results) -> float | None:
        most, least = trait(key)(results), trait(other)(results)
        return None if most is None or least is None else most - least

    return measure


def litellm_goals(compared: Compared | None) -> tuple[Goal, ...]:
    """`compared` is what the last `make bench-litellm` found, whenever that was."""
    some = compared.streams[1] if compared else Scale().streams[1]
    where = f"(`make bench-litellm`{f' on {compared.day}' if compared else ''})"
    return (
        Goal(
            f"relay in OpenAI's format, unpaced, {some} streams {where}",
            "times LiteLLM's proxy", times_litellm, at_least=25,
        ),
        Goal(
            f"first token, one stream at a time: what LiteLLM's proxy adds {where}",
            "times what Parley adds", litellm_added_times, at_least=3,
        ),
        Goal(
            f"`/v1/chat/completions`, unpaced, {some} streams {where}",
            "times `/api/chat/stream`", compared_openai_share, at_least=0.9,
        ),
    )  # fmt: skip


def goals(scale: Scale, held: Held | None, compared: Compared | None) -> tuple[Goal, ...]:
    """`held` is what the last `make bench-idle` found, whenever that was, and so on."""
    _, some, crowd = scale.streams
    shortest, longest = scale.lengths[0], scale.lengths[-1]
    held_on = f" on {held.day}" if held else ""
    at_once = f"{crowd:,} questions in one moment"
    parley, relay = PARLEY_STREAM[DEFAULT_RUNTIME], PARLEY_RELAY[DEFAULT_RUNTIME]
    return (
        Goal(f"built-in model, unpaced, {some} streams", "tokens/s", unpaced, at_least=150_000),
        Goal(f"relay, unpaced, {some} streams", "times FastAPI + httpx", times_fastapi, at_least=4),
        Goal(
            f"relay by `/v1/chat/completions`, unpaced, {some} streams",
            "times `/api/chat/stream`", openai_share, at_least=0.9,
        ),
        Goal("relay, one stream at a time: added to the upstream's first token", "ms", added_ms, at_most=2.5),
        Goal(
            "`llm-call-stream`, one at a time: first token, beside `/v1`",
            "ms more", difference("call_first_ms", "v1_first_ms"), at_most=2,
        ),
        Goal(
            f"{crowd:,} SSE streams of {scale.ramp_tokens} tokens at {RATE}/s, begun over {scale.ramp_s:g} s",
            "% of the ideal rate", ramp_share, at_least=93,
        ),
        Goal(f"{at_once}: slowest first token", "s", slowest_first_s(parley), at_most=2.5),
        Goal(f"{at_once}, relayed", "s", slowest_first_s(relay), at_most=2.5),
        Goal(
            f"{crowd:,} Socket.IO clients × {scale.paced_tokens[2]} tokens at {RATE}/s",
            "times the ideal time", times_ideal, at_most=1.4,
        ),
        Goal("memory of an idle socket", "KiB", trait("socket_kib"), at_most=70),
        Goal("memory of a session of ten short messages", "KiB", trait("session_kib"), at_most=8),
        Goal(
            f"{SOCKETS:,} idle sockets for {KEPT_S // 60} minutes (`make bench-idle`{held_on}): each takes",
            "KiB", idle_kib, at_most=70,
        ),
        Goal(
            f"cost per token from {shortest:,} to {longest:,} tokens an answer: highest beside the first",
            "times", trait("length_growth"), at_most=1.25,
        ),
        Goal(
            f"memory of a token for each of {scale.followers} followers after the first",
            "bytes", followers_share, at_most=1,
        ),
        *redis_goals(scale),
        *litellm_goals(compared),
    )  # fmt: skip


def judge(results: Results, wanted: Iterable[Goal] = ()) -> list[Outcome]:
    """Those wanted, or all."""
    wanted = wanted or goals(results.scale, results.held, results.compared)
    return [Outcome(goal, goal.measure(results)) for goal in wanted]
