"""That `make bench-page` measures the page; how fast it was is for nobody to assert."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.document import PAGE, section_of, with_section
from bench.page.answers import quarters
from bench.page.chromium import tasks_ms
from tests.servers import ROOT

PATIENCE_S = 300.0


@pytest.mark.browser
def test_the_page_is_measured_and_told(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("# Performance\n\n## The page\n\nold\n\n## How it is measured\n\nlike this\n")
    asked = [
        sys.executable,
        "-m",
        "bench.page",
        "--scale",
        "tiny",
        "--shape",
        "one list",
        "--write",
        str(path),
    ]
    ended = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    text = path.read_text("utf-8")
    section = section_of(text, PAGE)
    assert section is not None
    assert section in ended.stdout
    assert text.endswith("\n\n## How it is measured\n\nlike this\n")
    assert "not measured" not in re.sub(r"\| a token in the last quarter .*", "", section)
    row = re.search(r"^\| one list +\| ([\d,]+) ", section, flags=re.M)
    assert row is not None
    assert int(row[1].replace(",", "")) > 2000
    sent = re.search(r"takes (\d+) requests and (\d+) KB", section)
    assert sent is not None
    assert int(sent[1]) > 10
    assert int(sent[2]) > 50


def test_a_section_takes_the_place_of_the_one_that_was_there() -> None:
    text = "# Performance\n\n## Goals\n\nmet\n\n## How it is measured\n\nlike this\n"
    once = with_section(text, PAGE, "first")
    assert once == text.replace("## How", "## The page\n\nfirst\n\n## How")
    assert with_section(once, PAGE, "second") == once.replace("first", "second")
    assert section_of(once, PAGE) == "first"
    assert section_of(text, PAGE) is None


def test_the_cost_of_a_token_is_that_of_its_quarter() -> None:
    samples = [(0, 0.0), (10, 1.0), (20, 2.0), (50, 9.0), (80, 10.0), (90, 13.0), (100, 20.0)]
    assert quarters(samples, 100) == (100_000, 300_000)
    assert quarters(samples[:3], 100) is None


def test_tasks_are_those_of_the_page() -> None:
    names = [(1, "CrRendererMain"), (2, "CrRendererMain"), (3, "CrBrowserMain")]
    events = [
        *({"name": "thread_name", "pid": pid, "tid": 1, "args": {"name": name}} for pid, name in names),
        *(
            {"name": "RunTask", "pid": pid, "tid": 1, "tdur": us}
            for pid, us in [(1, 500), (2, 2000), (3, 9000)]
        ),
        {"name": "RunTask", "pid": 2, "tid": 1, "tdur": 1000},
        {"name": "Layout", "pid": 2, "tid": 1, "tdur": 7000},
    ]
    assert tasks_ms(events) == [2.0, 1.0]
