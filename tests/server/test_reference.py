"""`/openapi.json` is so: schemathesis asks the real server what it allows, and much that it forbids."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.runtime import LIBRARIES
from tests.access.signing import SECRET, token
from tests.conftest import StartServer

pytestmark = pytest.mark.server

SEED = int(os.environ.get("SCHEMATHESIS_SEED", "20261121"))
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "20"))
LIMIT_S = 300
NOT_SO = "ensure_resource_availability"
"""404 also says that there is no such model, in a session that is there, and a session that is deleted takes
its streams along."""
EXPECTED = Path(__file__).with_name("schemathesis.toml")


AUTH = dict(zip(LIBRARIES, ("optional", "required"), strict=True))
"""Both, and both runtimes, but not each on each: who may ask is settled before anything of a runtime's."""


def test_schemathesis_finds_nothing(start_server: StartServer, tmp_path: Path, runtime_name: str) -> None:
    auth = AUTH[runtime_name]
    server = start_server(
        STORE_URL="memory://",
        DEMO_TOKENS_PER_SECOND="0",
        MAX_ANSWER_TOKENS="20",
        MAX_MESSAGE_CHARS="300",
        MAX_MESSAGES="6",
        MAX_CHOICES="3",
        MAX_STREAMS_PER_CALLER="200",
        RATE_LIMIT="off",
        ADDRESS_LIMIT="off",
        AUTH=auth,
        JWT_SECRET=SECRET,
    )
    signed = (
        ["--header", f"Authorization: Bearer {token(exp=int(time.time()) + 3600)}"]
        if auth == "required"
        else []
    )
    print(f"seed {SEED}, {EXAMPLES} examples; SCHEMATHESIS_SEED and SCHEMATHESIS_EXAMPLES set others")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(EXPECTED), "run"),
            *(f"{server.url}/openapi.json", f"--seed={SEED}", f"--max-examples={EXAMPLES}"),
            *signed,
            *("--checks=all", f"--exclude-checks={NOT_SO}"),
            *("--continue-on-failure", "--generation-database=none", "--no-color"),
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log
