"""A ledger whose disk is full, or that is locked for longer than all leases: nothing is lost, and no answer
waits."""

from __future__ import annotations

import json
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from tests.books import books_of
from tests.clients import ask
from tests.conftest import StartServer
from tests.server.paying import TOKENS, Raw, by_call, by_v1, by_whole_job, count_tokens, messages
from tests.server.processes import Upstream, exact
from tests.server.test_jobs import send
from tests.server.test_jobs_processes import SIZE, asked, question, sharing
from tests.servers import Server

pytestmark = pytest.mark.server
RUNTIMES = ("gevent",)

LOCKED_S = 4.0


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """No file of its process can grow past what the ledger has now."""
    largest = max(path.stat().st_size for path in (server.folder / "var").glob("ledger.db*"))
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest, unlimited))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


def test_while_the_ledgers_disk_is_full_it_is_read_and_what_must_write_is_refused(
    start_server: StartServer,
) -> None:
    server = start_server(STORE_URL="memory://", CALL_LEASE_S="2", DEMO_TOKENS_PER_SECOND="0")
    with books_of(server) as books:
        key = books.team("acme", 100_000, TOKENS)
        job_id = send(server, "POST /api/jobs", {"job_type": "a"}, key).json()["job_id"]
        running = Raw(server, key, by_call("[[demo tokens=100 tps=50]] Hello", job_id, "demo"))
        running.read(lambda: b'"content":"' in running.seen)
        with full_disk(server):
            refused = [
                ("/api/jobs", {"job_type": "a"}),
                by_call("[[demo tokens=5]] Hello", job_id, "demo"),
                by_v1("[[demo tokens=5]] Hello", model="demo"),
                by_whole_job("[[demo tokens=5]] Hello", model="demo"),
                (f"/api/jobs/{job_id}/complete", {}),
            ]
            for path, body in refused:
                answer = send(server, f"POST {path}", body, key)
                assert (answer.status, "Retry-After" in answer.headers) == (503, True), path
            for path in (f"jobs/{job_id}", f"jobs/{job_id}/costs", "teams/acme/jobs", "teams/acme/usage"):
                assert send(server, f"GET /api/{path}", None, key).status == 200
            assert running.rest().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            anonymous = {"model": "demo", "messages": messages("[[demo tokens=5]] Hello")}
            assert send(server, "POST /v1/chat/completions", anonymous).status == 200
            assert books.ledger.call(running.stream_id).settled_at is None
        call = books.settled(running.stream_id)
        assert (call.state, call.completion_tokens) == ("done", 100)
        bill = send(server, f"POST /api/jobs/{job_id}/complete", {}, key).json()
        assert (bill["total_calls"], bill["credits_charged"]) == (1, call.tokens)
        assert (books.charges(), books.credits().held) == ([call.tokens], 0)
        running.leave()


def test_what_a_server_interrupts_when_it_ends_is_settled_before_it_is_gone(
    start_server: StartServer,
) -> None:
    server = start_server(DRAIN_S="0.2")
    with books_of(server) as books:
        key = books.team("acme", 100_000, TOKENS)
        job_id = send(server, "POST /api/jobs", {"job_type": "a"}, key).json()["job_id"]
        running = Raw(server, key, by_call("[[demo tokens=500 tps=50]] Hello", job_id, "demo"))
        running.read(lambda: running.seen.count(b'"content":"') > 5)
        assert server.stop() == 0
        said = running.rest()
        running.leave()
        call = books.ledger.call(running.stream_id)
        assert (call.state, call.basis) == ("interrupted", "estimate")
        text = "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            for line in said.splitlines()
            if line.startswith(b"data: {") and b'"choices"' in line
        )
        assert text
        assert call.completion_tokens == count_tokens(text)
        bill = books.ledger.end_job("acme", job_id, "completed")
        assert bill.charged == call.tokens


def test_a_ledger_that_is_locked_for_longer_than_every_lease_ends_no_answer(
    tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream
) -> None:
    """Neither process can tell the ledger that it is alive, and both go on."""
    with sharing(tmp_path, one_runtime, redis_url, scripted) as ((a, b), books):
        key = books.team("acme", 100_000, TOKENS)
        chat = asked(a, key, question(f"{round(SIZE * 1.5)} tokens every 0.02 s"))
        next(iter(chat))
        others = ask(b, question("200 tokens every 0.02 s"))
        lock = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        unlocking = Timer(LOCKED_S, lock.execute, ["ROLLBACK"])
        unlocking.start()
        try:
            exact(others.all(), 200)
            *_, done = chat.all()
            assert done.data["done"]
        finally:
            unlocking.join()
            lock.close()
        call = books.settled(chat.stream_id)
        assert (call.state, call.basis, call.completion_tokens) == ("done", "usage", round(SIZE * 1.5))
        assert books.charges() == [call.tokens]
        assert send(b, f"GET /api/jobs/{call.job_id}", None, key).json()["status"] == "completed"


def test_where_no_ledger_can_be_nobody_is_told_that_their_key_is_bad(start_server: StartServer) -> None:
    server = start_server(STORE_URL="memory://", DATABASE_URL="sqlite:////proc/nowhere/ledger.db")
    for path, body in ("/api/jobs", {"job_type": "a"}), by_v1("Hello", model="demo"):
        refused = send(server, f"POST {path}", body, "sk-" + "x" * 43)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert send(server, "POST /v1/chat/completions", by_v1("Hello", model="demo")[1]).status == 200
    assert "the ledger cannot be opened" in server.log
