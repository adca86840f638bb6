"""What a long answer costs the page."""

from __future__ import annotations

import time
from dataclasses import dataclass

from playwright.sync_api import Browser

from bench.page.chromium import Gauge, Visit
from bench.page.shapes import question

SAMPLE_S = 0.1
WARM_TOKENS = 400


@dataclass(frozen=True, slots=True)
class Seen:
    """While an answer came; `own_ms` is the most that the page's thread itself did in one task,
    `us_per_token` what it did for a token of the first and of the last quarter."""

    long_tasks: int
    longest_ms: float
    own_ms: float
    gap_ms: float
    us_per_token: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is more of in the page after an answer than before it."""

    tokens: int
    chars: int
    heap_bytes: float
    nodes: float
    listeners: float


def unpaced(browser: Browser, url: str, shape: str, tokens: int) -> tuple[Seen, Kept]:
    """On a page that has been used: it has fetched and kept by then what any answer needs."""
    with Visit(browser, url) as visit:
        visit.ask(question("one code block", WARM_TOKENS, 0))
        visit.wait_for_end()
        visit.told()
        before = visit.swept()
        visit.ask(question(shape, tokens, 0))
        visit.wait_for_end()
        seen = seen_by(visit)
        return seen, kept(visit, before, tokens)


def paced(browser: Browser, url: str, shape: str, tokens: int, rate: int) -> Seen:
    with Visit(browser, url) as visit:
        visit.ask(question(shape, tokens, rate))
        samples = [(0, visit.gauge().busy_s)]
        while visit.is_answering:
            time.sleep(SAMPLE_S)
            samples.append((visit.tokens, visit.gauge().busy_s))
        return seen_by(visit, quarters(samples, tokens))


def seen_by(visit: Visit, us_per_token: tuple[float, float] | None = None) -> Seen:
    told = visit.told()
    return Seen(len(told.long_ms), max(told.long_ms, default=0.0), told.own_ms, told.gap_ms, us_per_token)


def kept(visit: Visit, before: Gauge, tokens: int) -> Kept:
    after = visit.swept()
    chars = visit.page.evaluate("[...document.querySelectorAll('.answer .prose')].at(-1).textContent.length")
    return Kept(
        tokens=tokens,
        chars=chars,
        heap_bytes=after.heap_bytes - before.heap_bytes,
        nodes=after.nodes - before.nodes,
        listeners=after.listeners - before.listeners,
    )


def quarters(samples: list[tuple[int, float]], tokens: int) -> tuple[float, float] | None:
    """Microseconds a token in the first and the last quarter, none if too little was seen of them."""
    first = [sample for sample in samples if 0 < sample[0] <= tokens / 4]
    last = [sample for sample in samples if tokens * 3 / 4 <= sample[0] < tokens]
    if len(first) < 2 or len(last) < 2:
        return None
    return us_a_token(first), us_a_token(last)


def us_a_token(samples: list[tuple[int, float]]) -> float:
    (since, busy_s), (until, busier_s) = samples[0], samples[-1]
    return (busier_s - busy_s) * 1e6 / max(1, until - since)
