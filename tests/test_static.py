"""The pages' files, as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers import ROOT

STATIC = ROOT / "static"
IMPORT = re.compile(r'^(?:import|export) (?:[^"]*? from )?"(\.[^"]+)";', re.M)
PRELOAD = re.compile(r'<link rel="modulepreload" href="/static/([^"]+)">')


def imported(path: Path, known: set[Path]) -> set[Path]:
    """All modules that one needs before it runs."""
    for name in IMPORT.findall(path.read_text("utf-8")):
        each = (path.parent / name).resolve()
        if each not in known:
            known.add(each)
            imported(each, known)
    return known


def test_the_page_names_all_modules_that_it_needs() -> None:
    needed = {str(path.relative_to(STATIC)) for path in imported(STATIC / "js" / "app.js", set())}
    named = PRELOAD.findall((STATIC / "index.html").read_text("utf-8"))
    assert named == sorted(needed)


def test_no_module_is_without_use() -> None:
    pages = ("js/app.js", "js/theme.js", "js/usage/page.js", "js/reference/page.js")
    used = {path for name in pages for path in imported(STATIC / name, {STATIC / name})}
    assert set(STATIC.glob("js/**/*.js")) - used == set()
