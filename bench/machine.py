"""What the numbers were measured on. Neither its name nor a path of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.cores import Cores

PACKAGES = (
    "eventlet",
    "gevent",
    "flask",
    "python-socketio",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httpx",
    "redis",
    "hiredis",
)


def describe(cores: Cores) -> Iterator[tuple[str, str]]:
    count = len(cores.server | cores.load)
    yield "processor", f"{processor()}, {count} core{'s' if count > 1 else ''} in use"
    yield "system", f"Linux {platform.release().split('-')[0]}"
    yield "Python", platform.python_version()
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
    if shutil.which("node"):
        found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
        yield "node", found.stdout.strip().lstrip("v")
    yield "load average before", f"{os.getloadavg()[0]:.2f}"


def processor() -> str:
    """The kernel's name for it, which virtual machines may not give."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.M)
    return found[1] if found else platform.machine()
