"""What is told of the page, in docs/performance.md and in the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bench.document import goal_table
from bench.goals import Outcome
from bench.page.opening import View
from bench.page.results import LONG_MS, Answer, PageResults
from bench.tables import brief, number, table

TEXT = """{day}, `make bench-page`: the chat page in Chromium, with answers of the demo model over SSE. A
real server (`memory://`) is on the same cores, and takes what the browser leaves.

{goals}

Answers of {tokens:,} tokens. *Tasks* are what the browser calls long: more than {long_ms} ms, in which
nothing else can happen; *own* is the most that the page itself did in one, without waiting for a processor
that others had (load average {load:.1f} on {cores} cores). *Gap* is the longest time between two frames,
*worked* what the page's thread did for a token in the first and the last quarter, network, layout and paint
included. *Heap* and *nodes* are what there is more of after {half:,} and {tokens:,} tokens, without garbage.
Unpaced, the server sends all in one burst.

{answers}

{view}
"""
VIEW = """The first view takes {requests} requests and {sent:.0f} KB (bodies {plain:.0f} KB, content encoding
{encodings}); in gzip its bodies would be {gzip:.0f} KB. What colours code and what speaks Socket.IO is
fetched when it is needed."""


def page_text(results: PageResults, told: Iterable[Outcome], day: str) -> str:
    tokens = results.scale.tokens
    return TEXT.format(
        day=day,
        goals=goal_table(told),
        tokens=tokens,
        half=tokens // 2,
        long_ms=LONG_MS,
        load=os.getloadavg()[0],
        cores=os.cpu_count(),
        answers=answer_table(results),
        view=view_text(results.view) if results.view else "",
    ).strip()


def answer_table(results: PageResults) -> str:
    rate = f"{results.scale.rate:,}/s"
    head = (
        "shape", "chars", f"tasks, {rate}", "longest ms", "own ms", "gap ms", "worked µs", "last quarter",
        "tasks, unpaced", "longest ms", "own ms", "gap ms", "heap KB", "whole", "nodes", "whole", "listeners",
    )  # fmt: skip
    return table(head, [answer_row(shape, answer) for shape, answer in results.answers.items()])


def answer_row(shape: str, answer: Answer) -> list[str]:
    first, last = answer.paced.us_per_token or (None, None)
    return [
        shape,
        number(answer.whole.chars),
        number(answer.paced.long_tasks),
        brief(answer.paced.longest_ms),
        brief(answer.paced.own_ms),
        brief(answer.paced.gap_ms),
        number(first),
        number(last),
        number(answer.burst.long_tasks),
        brief(answer.burst.longest_ms),
        brief(answer.burst.own_ms),
        brief(answer.burst.gap_ms),
        number(answer.half.heap_bytes / 1000),
        number(answer.whole.heap_bytes / 1000),
        number(answer.half.nodes),
        number(answer.whole.nodes),
        number(answer.whole.listeners),
    ]


def view_text(view: View) -> str:
    return VIEW.format(
        requests=view.requests, sent=view.sent_bytes / 1000, plain=view.plain_bytes / 1000,
        gzip=view.gzip_bytes / 1000, encodings=", ".join(view.encodings),
    )  # fmt: skip
