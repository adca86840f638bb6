"""The typed client, for programs that stand in this folder, and whose key they use.

Elsewhere: `pip install ./client`, and `from parley_client import SaaSLLMClient`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# In a checkout it need not be installed; one that is goes first.
sys.path.append(str(Path(__file__).resolve().parent.parent / "client"))

from parley_client import JobResult, Parley, ParleyError, SaaSLLMClient

__all__ = ["JobResult", "Parley", "ParleyError", "SaaSLLMClient", "settings"]

NO_KEY = """\
PARLEY_KEY is not set: jobs take a team's virtual key. Make a team, in the folder that Parley runs in:

    .venv/bin/python -m backend team create examples --credits 100

It prints the key, this once. Then:

    export PARLEY_TEAM=examples PARLEY_KEY=sk-…"""


def settings() -> tuple[str, str, str]:
    """The server's address, a team's key and its id, from the environment. Without a key the program ends,
    and says how to get one."""
    key = os.environ.get("PARLEY_KEY")
    if not key:
        sys.exit(NO_KEY)
    url = os.environ.get("PARLEY_URL", "http://127.0.0.1:5000")
    return url, key, os.environ.get("PARLEY_TEAM", "examples")
