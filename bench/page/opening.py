"""How soon the page is seen, and how much is sent for it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

from playwright.sync_api import Browser, Page, Response

FIRST_PAINT = """new Promise((resolve) => new PerformanceObserver((list) => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) resolve(found.startTime);
}).observe({ type: "paint", buffered: true }))"""


@dataclass(frozen=True, slots=True)
class View:
    """Medians of milliseconds to the first contentful paint; what is sent in a first view, headers included,
    and how many bytes its bodies have plain and in gzip."""

    cold_ms: float
    warm_ms: float
    requests: int
    sent_bytes: int
    plain_bytes: int
    gzip_bytes: int
    encodings: tuple[str, ...]


def opened(browser: Browser, url: str, times: int) -> View:
    cold, warm, views = [], [], []
    for _ in range(times):
        context = browser.new_context()
        page = context.new_page()
        with heard(page) as responses:
            page.goto(url, wait_until="networkidle")
        cold.append(painted_ms(page))
        views.append(view_of(responses))
        page.reload(wait_until="networkidle")
        warm.append(painted_ms(page))
        context.close()
    return replace(views[-1], cold_ms=median(cold), warm_ms=median(warm))


@contextmanager
def heard(page: Page) -> Iterator[list[Response]]:
    responses: list[Response] = []

    def hear(response: Response) -> None:
        responses.append(response)

    page.on("response", hear)
    yield responses
    page.remove_listener("response", hear)


def painted_ms(page: Page) -> float:
    found: float = page.evaluate(FIRST_PAINT)
    return found


def view_of(responses: list[Response]) -> View:
    sizes = [response.request.sizes() for response in responses]
    bodies = [response.body() for response in responses]
    return View(
        cold_ms=0.0,
        warm_ms=0.0,
        requests=len(responses),
        sent_bytes=sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes),
        plain_bytes=sum(map(len, bodies)),
        gzip_bytes=sum(len(gzip.compress(body, 6)) for body in bodies),
        encodings=tuple(sorted(set(encodings(responses)))),
    )


def encodings(responses: list[Response]) -> Iterator[str]:
    for response in responses:
        yield response.headers.get("content-encoding", "none")
