"""A runtime in a process of its own: patching is for a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.servers import ROOT

PRELUDE = """
import os
from pathlib import Path
from backend import runtime
green = runtime.start(os.environ, Path("/nowhere"))
import random, socket, threading, time
"""

Run = Callable[[str], str]


@pytest.fixture
def run(runtime_name: str) -> Run:
    """What a script prints, run on one of the runtimes."""

    def ran(script: str) -> str:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + script]
        env = {**os.environ, "RUNTIME": runtime_name}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return done.stdout.strip()

    return ran
