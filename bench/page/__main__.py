"""The command: measures the page, prints it, writes its section of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

from playwright.sync_api import Browser

from bench.bench import tell
from bench.cores import split
from bench.document import PAGE, with_section
from bench.page.answers import paced, unpaced
from bench.page.chromium import chromium
from bench.page.opening import opened
from bench.page.results import SCALES, Answer, PageResults, Scale, outcomes
from bench.page.shapes import SHAPES
from bench.page.text import page_text
from bench.servers import DEFAULT_RUNTIME, ROOT, Server
from bench.tools import CannotMeasure

DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    scale = SCALES[asked.scale]
    try:
        with split().together() as cores, cores.at_server(), chromium() as browser:
            # What is measured is the page; its server would have a machine of its own.
            aside = replace(cores, policy=os.SCHED_IDLE)
            with Server(DEFAULT_RUNTIME, aside, STORE_URL="memory://") as server:
                url = f"http://127.0.0.1:{server.port}"
                results = measure(browser, url, scale, asked.shape or list(SHAPES))
    except CannotMeasure as error:
        tell(str(error))
        return 1
    told = list(outcomes(results))
    text = page_text(results, told, date.today().isoformat())
    print(f"{PAGE}\n\n{text}\n", flush=True)
    path = asked.write or (DOCUMENT if scale.name == "full" and not asked.shape else None)
    if path:
        path.write_text(with_section(path.read_text("utf-8"), PAGE, text), "utf-8")
    return 1 if asked.strict and any(outcome.verdict == "short" for outcome in told) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--quick", dest="scale", action="store_const", const="quick", help="writes nothing")
    parser.add_argument("--strict", action="store_true", help="end with 1 if something falls short")
    parser.add_argument("--write", type=Path, help="into which document; unless the scale is full, into none")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this one, and write nothing")
    return parser.parse_args()


def measure(browser: Browser, url: str, scale: Scale, shapes: list[str]) -> PageResults:
    results = PageResults(scale)
    opened(browser, url, 1)  # so that the server is warm
    tell("opening the page")
    results.view = opened(browser, url, scale.views)
    for shape in shapes:
        tell(shape)
        _, half = unpaced(browser, url, shape, scale.tokens // 2)
        burst, whole = unpaced(browser, url, shape, scale.tokens)
        results.answers[shape] = Answer(
            burst, half, whole, paced(browser, url, shape, scale.tokens, scale.rate)
        )
    return results


if __name__ == "__main__":
    sys.exit(main())
