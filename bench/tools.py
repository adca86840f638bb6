"""The load and the upstream, compiled from `native/`: Python is not fast enough for either."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parent / "native"
SOURCES = {"load": ("load.c", "sse.c", "sockets.c", "tally.c"), "upstream": ("upstream.c",)}


class CannotMeasure(Exception):
    """Something that the bench cannot do without is not there; the message says what."""


@dataclass(frozen=True, slots=True)
class Tools:
    load: Path
    upstream: Path


def compile_tools(folder: Path) -> Tools:
    """Raises CannotMeasure."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise CannotMeasure("There is no C compiler; install one (apt-get install gcc libc6-dev)")
    folder.mkdir(parents=True, exist_ok=True)
    for name, sources in SOURCES.items():
        paths = [str(NATIVE / source) for source in sources]
        command = [compiler, "-O2", "-Wall", "-o", str(folder / name), *paths, "-lm"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise CannotMeasure(f"{name} could not be compiled:\n{made.stderr}")
    return Tools(folder / "load", folder / "upstream")
