"""A browser, and what it says of itself."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench.tools import CannotMeasure
from tests.chromium import ARGS, CHROMIUM

PATIENCE_MS = 120_000
PROBE = """
const probe = (window.probe = { tasks: [], gapMs: 0 });
new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) probe.tasks.push(duration);
}).observe({ type: "longtask" });
let last = null;
const frame = (now) => {
    if (last !== null) probe.gapMs = Math.max(probe.gapMs, now - last);
    last = now;
    requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""
"""`tasks` of more than 50 ms, as the browser calls them long; the longest time between two frames."""


TASKS = ["disabled-by-default-devtools.timeline"]
"""What a trace has to be of to tell of tasks with the microtasks that follow them."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises CannotMeasure."""
    if not CHROMIUM.exists():
        raise CannotMeasure("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Gauge:
    """`busy_s` is how long the page's thread has worked since it began; the rest is what there is."""

    busy_s: float
    heap_bytes: float
    nodes: float
    listeners: float


@dataclass(frozen=True, slots=True)
class Told:
    """`long_ms` are the tasks that the browser calls long; `own_ms` is what the page's thread itself did in
    the busiest, without waiting for a processor that others have."""

    long_ms: list[float]
    gap_ms: float
    own_ms: float


def tasks_ms(events: Iterable[dict[str, Any]]) -> list[float]:
    """The processor's time for each task of the page's thread, which is the busiest of its kind."""
    known = list(events)
    names = {
        (each["pid"], each["tid"]): each["args"]["name"] for each in known if each["name"] == "thread_name"
    }
    tasks = defaultdict[tuple[int, int], list[float]](list)
    for each in known:
        thread = each["pid"], each["tid"]
        if each["name"] == "RunTask" and "tdur" in each and names.get(thread) == "CrRendererMain":
            tasks[thread].append(each["tdur"] / 1000)
    return max(tasks.values(), key=sum, default=[])


class Visit:
    """The page, opened by somebody new; gone at the end of its `with`."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._context = browser.new_context()
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(PROBE)
        self.devtools: CDPSession = self._context.new_cdp_session(self.page)
        self.devtools.send("Performance.enable")
        self.page.goto(url)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def ask(self, text: str) -> None:
        count = self.page.locator(".answer").count()
        self.page.get_by_role("textbox", name="Your message").fill(text)
        self.page.evaluate("Object.assign(probe, { tasks: [], gapMs: 0 })")
        self._browser.start_tracing(page=self.page, categories=TASKS)
        self.page.keyboard.press("Enter")
        self.page.locator(".answer").nth(count).wait_for()

    def wait_for_end(self) -> None:
        self.page.locator(".answer.live").wait_for(state="detached")

    @property
    def is_answering(self) -> bool:
        return self.page.locator(".answer.live").count() > 0

    @property
    def tokens(self) -> int:
        """So many the page says that it has got."""
        told = self.page.locator(".answer .figures").last.text_content() or ""
        found = re.match(r"([\d,]+) token", told)
        return int(found[1].replace(",", "")) if found else 0

    def told(self) -> Told:
        """Since the last question."""
        probe: dict[str, Any] = self.page.evaluate("probe")
        own_ms = tasks_ms(json.loads(self._browser.stop_tracing())["traceEvents"])
        return Told(probe["tasks"], probe["gapMs"], max(own_ms, default=0.0))

    def gauge(self) -> Gauge:
        rows = self.devtools.send("Performance.getMetrics")["metrics"]
        named = {row["name"]: row["value"] for row in rows}
        return Gauge(
            busy_s=named["TaskDuration"],
            heap_bytes=named["JSHeapUsedSize"],
            nodes=named["Nodes"],
            listeners=named["JSEventListeners"],
        )

    def swept(self) -> Gauge:
        """Without what nobody holds any more."""
        for _ in range(2):
            time.sleep(0.2)
            self.devtools.send("HeapProfiler.collectGarbage")
        return self.gauge()
