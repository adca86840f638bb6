"""`python -m tests.fakes.busy` is the server with one route more: `/busy` computes for 200 ms.

Not to be imported by a test: it patches.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from backend import __main__ as command_line  # before all that it patches
from backend import serving
from backend.app import Program, build


def busy() -> str:
    until_s = time.monotonic() + 0.2
    while time.monotonic() < until_s:
        pass
    return "computed"


def busy_build(*parts: Any) -> Program:
    program = build(*parts)
    program.app.get("/busy")(busy)
    return program


if __name__ == "__main__":
    serving.build = busy_build
    sys.exit(command_line.main())
