"""Makes `parley_client/_sync` from `parley_client/_async`: `python client/generate.py`, with ruff installed.

The asynchronous client is the one that is written and read. All that is not waiting stands outside both.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "parley_client"
ROWS = [
    (r"from asyncio import sleep", "from time import sleep"),
    (r"\bAsyncGenerator\[(.+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync def\b", "def"),
    (r"\basync (?=for\b|with\b)", ""),
    (r"\bawait ", ""),
    (r"\b__a(iter|next|enter|exit)__\b", r"__\1__"),
    (r"\ba(close|next|read|iter_bytes)\b", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b_async\b", "_sync"),
    (r"\basynchronous\b", "synchronous"),
]
HEAD = "# Made by generate.py from _async/{name}: change that.\n\n"


def twin(name: str, source: str) -> str:
    """The synchronous file."""
    for pattern, replacement in ROWS:
        source = re.sub(pattern, replacement, source)
    made = HEAD.format(name=name) + source
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        file = ["--stdin-filename", str(PACKAGE / "_sync" / name), "-"]
        ruff = [sys.executable, "-m", "ruff", *command, *file]
        made = subprocess.run(ruff, input=made, capture_output=True, text=True, check=True).stdout
    return made


def twins() -> Iterator[tuple[Path, str]]:
    for path in sorted((PACKAGE / "_async").glob("*.py")):
        yield PACKAGE / "_sync" / path.name, twin(path.name, path.read_text("utf-8"))


if __name__ == "__main__":
    for path, made in twins():
        path.parent.mkdir(exist_ok=True)
        path.write_text(made, "utf-8")
