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
from tests.books import books_of
from tests.conftest import StartServer

pytestmark = pytest.mark.server

SEED = int(os.environ.get("SCHEMATHESIS_SEED", "20261121"))
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
LIMIT_S = 300
NOT_SO = "ensure_resource_availability,allow_header_conformance"
"""404 also says that there is no such model, in a session that is there, and a session that is deleted takes
its streams along. At `/api/jobs/create` a job could be read that has this id."""
THEIRS = {
    "a person": ("--exclude-path-regex=^/api/(admin|jobs|teams)",),
    "a team": (
        "--include-path-regex=^/api/(jobs|teams)",
        "--phases=coverage,fuzzing",
    ),
    "an admin": (
        "--include-path-regex=^/api/(admin|teams)",
        "--phases=coverage,fuzzing",
    ),
}
"""What they are asked about; to a person the other doors are as closed as to nobody, who is asked about
all."""
EXPECTED = Path(__file__).with_name("schemathesis.toml")


CALLERS = dict(
    zip(
        LIBRARIES,
        (
            {"first": ("optional", "nobody"), "second": ("required", "an admin")},
            {"first": ("required", "a person"), "second": ("optional", "a team")},
        ),
        strict=True,
    )
)
"""What AUTH says and who asks; not each on each runtime: that is settled before anything of a runtime's."""


@pytest.mark.parametrize("turn", ["first", "second"])
def test_schemathesis_finds_nothing(
    start_server: StartServer, tmp_path: Path, runtime_name: str, turn: str
) -> None:
    auth, who = CALLERS[runtime_name][turn]
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
    expires_at_s = int(time.time()) + 3600
    shown = {"a person": token(exp=expires_at_s), "an admin": token(exp=expires_at_s, scope="admin")}
    if who == "a team":
        with books_of(server) as books:
            shown[who] = books.team(credits=10**9)
    signed = ["--header", f"Authorization: Bearer {shown[who]}"] if who in shown else []
    print(f"seed {SEED}, {EXAMPLES} examples; SCHEMATHESIS_SEED and SCHEMATHESIS_EXAMPLES set others")
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(EXPECTED), "run"),
            *(f"{server.url}/openapi.json", f"--seed={SEED}", f"--max-examples={EXAMPLES}"),
            *signed,
            *THEIRS.get(who, ()),
            *("--checks=all", f"--exclude-checks={NOT_SO}"),
            *("--continue-on-failure", "--generation-database=none", "--no-color"),
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log
