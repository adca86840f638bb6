"""A crowd of jobs on a small balance, over three processes of which one is killed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import urllib3

from tests.books import books_at
from tests.fakes.upstream import FakeUpstream
from tests.postgres import Postgres
from tests.programs import until
from tests.redises import Redis
from tests.server.paying import by_whole_job, by_whole_v1
from tests.server.processes import at_once, processes
from tests.server.test_jobs import send
from tests.servers import ROOT

pytestmark = pytest.mark.server

BALANCE = 100
JOBS = 500
QUESTION = "[[demo tokens=10 tps=20]] Hello"
HURRIED = "[[demo tokens=10 tps=0]] Hello"
DIES_AFTER = 10


@pytest.mark.parametrize(
    ("database", "runtime"), [("postgresql", "gevent"), ("sqlite", "eventlet")], ids=["postgresql", "sqlite"]
)
def test_a_crowd_spends_what_there_is_and_no_more_though_a_process_dies(
    tmp_path: Path, redis_server: Redis, request: pytest.FixtureRequest, database: str, runtime: str
) -> None:
    redis_server.flush()
    url = f"sqlite:///{tmp_path}/ledger.db"
    if database == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.database()
    env = {"DATABASE_URL": url, "LEASE_S": "2", "CALL_LEASE_S": "3", "DEFAULT_MODEL": "demo"}
    with (
        FakeUpstream() as upstream,
        processes(tmp_path, 3, redis_server.url, upstream, runtime, **env) as started,
        books_at(url) as books,
    ):
        key = books.team("acme", BALANCE)
        served: list[int] = []

        def ask(number: int) -> int:
            path, body = (by_whole_job if number % 2 else by_whole_v1)(QUESTION, model="demo")
            try:
                status = send(started[number % 3], f"POST {path}", body, key).status
            except urllib3.exceptions.HTTPError:
                return 0  # it asked the one that died
            if status == 200:
                served.append(number)
                if len(served) == DIES_AFTER:
                    started[0].kill()
            return status

        statuses = Counter(at_once(ask, range(JOBS)))
        assert set(statuses) <= {200, 402, 503, 0}, statuses
        assert DIES_AFTER <= statuses[200] <= BALANCE
        until(lambda: books.credits().held == 0, "nothing is held when the leases are over")
        credits, jobs = books.credits(), books.ledger.jobs("acme", 1000)
        assert credits.spent + credits.free == BALANCE
        assert statuses[200] <= credits.spent
        assert books.charges() == [1] * credits.spent
        completed = [job for job in jobs if job.status == "completed"]
        assert len(completed) == credits.spent
        assert {job.status for job in jobs} <= {"completed", "failed"}
        assert all(call.settled_at for call in books.calls())
        path, body = by_whole_job(HURRIED, model="demo")
        while books.credits().free:  # what the one that died gave back can still be spent
            assert send(started[1], f"POST {path}", body, key).status == 200
        assert send(started[2], f"POST {path}", body, key).status == 402
        assert books.credits().spent == BALANCE
        audit = subprocess.run(
            [sys.executable, "-m", "backend", "credits", "audit"], cwd=ROOT, env={"DATABASE_URL": url},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (audit.returncode, audit.stdout.strip()) == (0, "balanced")
