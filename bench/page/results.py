"""What was measured of the page, and what it has to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.goals import Goal, Outcome
from bench.page.answers import Kept, Seen
from bench.page.opening import View

LONG_MS = 50
PAINT_MS = 300
SENT_KB = 250


@dataclass(frozen=True, slots=True)
class Scale:
    """`tokens` of a long answer, `rate` of them a second when paced; the page is opened `views` times."""

    name: str
    tokens: int
    rate: int
    views: int


SCALES = {
    scale.name: scale
    for scale in (
        Scale("full", tokens=20_000, rate=2_000, views=7),
        Scale("quick", tokens=6_000, rate=2_000, views=3),
        Scale("tiny", tokens=600, rate=1_000, views=1),
    )
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one shape: unpaced, of half and of all tokens, and paced."""

    burst: Seen
    half: Kept
    whole: Kept
    paced: Seen


@dataclass(slots=True)
class PageResults:
    scale: Scale
    answers: dict[str, Answer] = field(default_factory=dict)
    view: View | None = None


def outcomes(results: PageResults) -> Iterator[Outcome]:
    def worst(value: Callable[[Answer], float | None]) -> float | None:
        found = [each for answer in results.answers.values() if (each := value(answer)) is not None]
        return max(found, default=None)

    def most(name: str, unit: str, bound: float, value: float | None) -> Outcome:
        return Outcome(Goal(name, unit, lambda _: value, at_most=bound), value)

    tokens, rate, view = results.scale.tokens, results.scale.rate, results.view
    at_rate = f"{tokens:,} tokens at {rate:,}/s"
    yield most(f"tasks over {LONG_MS} ms, {at_rate}", "", 0, worst(lambda a: a.paced.long_tasks))
    yield most("… the page's own work in the longest", "ms", LONG_MS, worst(lambda a: a.paced.own_ms))
    yield most("… unpaced", "ms", LONG_MS, worst(lambda a: a.burst.own_ms))
    yield most("a token in the last quarter", "times the first's cost", 1.5, worst(lambda a: growth(a.paced)))
    yield most("heap for a character, second half", "times the first's", 1.5, worst(heap_growth))
    yield most("listeners for a longer answer", "", 0, worst(lambda a: a.whole.listeners - a.half.listeners))
    yield most("first contentful paint, nothing cached", "ms", PAINT_MS, view.cold_ms if view else None)
    yield most("… opened again", "ms", PAINT_MS, view.warm_ms if view else None)
    yield most("sent for the first view", "KB", SENT_KB, view.sent_bytes / 1000 if view else None)


def growth(seen: Seen) -> float | None:
    if seen.us_per_token is None:
        return None
    first, last = seen.us_per_token
    return last / first


def heap_growth(answer: Answer) -> float | None:
    first = answer.half.heap_bytes / answer.half.chars
    rest = (answer.whole.heap_bytes - answer.half.heap_bytes) / max(1, answer.whole.chars - answer.half.chars)
    return rest / first if first > 0 else None
