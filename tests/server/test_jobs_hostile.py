"""Jobs whose clients leave, whose servers die, and whose ledger is slow: all is recorded, once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest
import urllib3

from backend.ledger.records import Call, Terms
from parley_client import Parley
from tests.access import signing
from tests.books import Books, books_of
from tests.clients import ask
from tests.conftest import StartServer
from tests.server.test_jobs import MODELS_FILE, send
from tests.servers import PATIENCE_S, Server, servers

pytestmark = pytest.mark.server

SLOW = [{"role": "user", "content": "[[demo tokens=40 tps=100]] Hello"}]
LONG = [{"role": "user", "content": "[[demo tokens=400 tps=60]] Hello"}]
HELLO = [{"role": "user", "content": "[[demo tokens=5]] Hello"}]
TOKENS = Terms("consumption_tokens", tokens_per_credit=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "models.toml").write_text(MODELS_FILE)
    with servers(folder) as started:
        env = {"DEMO_TOKENS_PER_SECOND": "0", "MAX_STREAMS_PER_CALLER": "100", "RUNTIME": runtime_name}
        started.append(Server(folder, {**env, "JWT_SECRET": signing.SECRET}))
        yield started[0]


@pytest.fixture(scope="module")
def books(shop: Server) -> Iterator[Books]:
    with books_of(shop) as books:
        yield books


def until(found: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    ends_s = time.monotonic() + patience_s
    while not found():
        assert time.monotonic() < ends_s, "it did not come to be"
        time.sleep(0.02)


def settled(books: Books, stream_id: str) -> Call:
    until(lambda: books.ledger.call(stream_id).settled_at is not None)
    return books.ledger.call(stream_id)


def four_times(server: Server, route: str, key: str) -> list[urllib3.BaseHTTPResponse]:
    """At once."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: send(server, route, None, key), range(4)))


def stream_of(server: Server, stream_id: str, key: str) -> dict[str, Any]:
    """How an answer ended."""
    route = f"GET /api/chat/streams/{stream_id}"
    until(lambda: "ended_at" in send(server, route, None, key, Accept="application/json").json())
    fields: dict[str, Any] = send(server, route, None, key, Accept="application/json").json()
    return fields


def job_of(server: Server, key: str) -> str:
    job_id: str = send(server, "POST /api/jobs", {"job_type": "chat"}, key).json()["job_id"]
    return job_id


class Reading:
    """A streamed call that is being read."""

    def __init__(self, server: Server, job_id: str, key: str, messages: Any = SLOW) -> None:
        self.answer = server.pool.request(
            "POST", f"{server.url}/api/jobs/{job_id}/llm-call-stream",
            body=json.dumps({"model_group": "chat-fast", "messages": messages}),
            headers={"Authorization": f"Bearer {key}"}, preload_content=False,
        )  # fmt: skip
        assert self.answer.status == 200, self.answer.data
        self.call_id = self.answer.headers["X-Call-Id"]
        self.seen = b""
        self._pieces = self.answer.stream(65536)

    @property
    def tokens(self) -> int:
        return self.seen.count(b'"content":"')

    def take(self, count: int) -> int:
        """Read until so many tokens are there; how many there are."""
        while self.tokens < count:
            self.seen += next(self._pieces)
        return self.tokens

    def rest(self) -> bytes:
        self.seen += b"".join(self._pieces)
        return self.seen

    def leave(self) -> None:
        self.answer.close()


def test_a_stream_cut_at_any_token_is_recorded_and_paid_for(shop: Server, books: Books) -> None:
    key = books.team("cut", 100_000, TOKENS)
    jobs: list[tuple[str, Reading, int]] = []
    for count in (1, 2, 3, 5, 8, 13, 21, 34):
        job_id = job_of(shop, key)
        reading = Reading(shop, job_id, key)
        seen = reading.take(count)
        reading.leave()
        jobs.append((job_id, reading, seen))
    for job_id, reading, seen in jobs:
        call, stream = settled(books, reading.call_id), stream_of(shop, reading.call_id, key)
        assert call.state == ("cut" if stream["finish_reason"] == "detached" else "done")
        assert 0 < seen <= stream["count"] <= 40
        assert call.completion_tokens == stream["usage"]["completion_tokens"] > 0
        assert call.micro_usd == call.prompt_tokens + 2 * call.completion_tokens
        result = send(shop, f"POST /api/jobs/{job_id}/complete", {}, key).json()
        assert result["credits_charged"] == call.tokens == result["costs"]["total_tokens"]
    assert books.credits("cut").held == 0


def test_a_stop_that_races_the_end_settles_once(shop: Server, books: Books) -> None:
    key = books.team("race", 100)
    job_id = job_of(shop, key)
    for count in (1, 20, 37, 39, 40):
        reading = Reading(shop, job_id, key)
        reading.take(count)
        stop = f"POST /api/chat/streams/{reading.call_id}/stop"
        stopped = [answer.json() for answer in four_times(shop, stop, key)]
        assert len({json.dumps(said) for said in stopped}) == 1
        call = settled(books, reading.call_id)
        assert call.state == stopped[0]["state"]
        assert call.completion_tokens == stream_of(shop, reading.call_id, key)["usage"]["completion_tokens"]
        assert reading.rest().endswith(b"data: [DONE]\n\n")
    ended = four_times(shop, f"POST /api/jobs/{job_id}/complete", key)
    assert {answer.status for answer in ended} == {200}
    assert len({answer.data for answer in ended}) == 1
    assert books.credits("race").spent == 1


def test_a_team_has_a_budget_of_its_own(shop: Server, books: Books) -> None:
    key = books.team("limited", 10, rate_limit="2/minute")
    job_id = job_of(shop, key)
    route, body = f"POST /api/jobs/{job_id}/llm-call", {"model": "demo", "messages": HELLO}
    assert send(shop, f"POST /api/jobs/{job_id}/llm-call", {"messages": HELLO}, key).status == 400
    answers = [send(shop, route, body, key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[1].headers["X-RateLimit-Limit"] == "2"
    assert answers[1].headers["X-RateLimit-Remaining"] == "0"
    assert answers[2].json()["type"] == "rate_limited"
    assert len(books.calls("limited")) == 2, "the ledger was not troubled"


def test_a_team_may_use_only_its_groups(shop: Server, books: Books) -> None:
    key = books.team("held", 10, model_groups=["chat-fast"])
    job_id = job_of(shop, key)
    statuses = {
        group: send(
            shop, f"POST /api/jobs/{job_id}/llm-call", {"model_group": group, "messages": HELLO}, key
        ).status
        for group in ("chat-fast", "chat-smart", "demo", "nothing")
    }
    assert statuses == {"chat-fast": 200, "chat-smart": 403, "demo": 403, "nothing": 404}
    assert send(shop, "POST /v1/chat/completions", {"model": "demo", "messages": HELLO}, key).status == 403
    models = send(shop, "GET /v1/models", None, key).json()["data"]
    assert [model["id"] for model in models] == ["chat-fast"]


def test_a_slow_ledger_delays_no_tokens_of_others(shop: Server, books: Books) -> None:
    key = books.team("slow", 10)
    job_id = job_of(shop, key)
    lock = sqlite3.connect(shop.folder / "var" / "ledger.db", isolation_level=None, check_same_thread=False)
    asked = Thread(
        target=lambda: send(
            shop, f"POST /api/jobs/{job_id}/llm-call", {"model": "demo", "messages": HELLO}, key
        )
    )
    following = ask(shop, "[[demo tokens=150 tps=100]] Hello")
    next(iter(following))
    lock.execute("BEGIN IMMEDIATE")
    try:
        asked.start()
        at_s, longest_s, seen = time.monotonic(), 0.0, 0
        for _ in following:
            now_s = time.monotonic()
            longest_s, at_s, seen = max(longest_s, now_s - at_s), now_s, seen + 1
        time.sleep(0.5)
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    asked.join(PATIENCE_S)
    assert seen == 150
    assert longest_s < 0.5
    assert [call.state for call in books.calls("slow")] == ["done"], "and the call was made when it could be"


def test_an_answer_does_not_wait_for_a_ledger_that_cannot_take_its_end(shop: Server, books: Books) -> None:
    key = books.team("late", 10)
    reading = Reading(shop, job_of(shop, key), key)
    reading.take(3)
    lock = sqlite3.connect(shop.folder / "var" / "ledger.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        assert reading.rest().endswith(b"data: [DONE]\n\n")
        assert books.ledger.call(reading.call_id).settled_at is None
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    call = settled(books, reading.call_id)
    assert (call.state, call.completion_tokens) == ("done", 40)


@pytest.mark.parametrize("store", ["kept", "lost"])
def test_a_call_of_a_killed_server_is_settled_after_its_restart(
    start_server: StartServer, store: str
) -> None:
    url = {"kept": "sqlite:///var/chat.db", "lost": "memory://"}[store]
    server = start_server(CALL_LEASE_S="1.5", STORE_URL=url)
    with books_of(server) as books:
        key = books.team("acme", 10)
        job_id = job_of(server, key)
        reading = Reading(server, job_id, key, LONG)
        seen = reading.take(60)
        server.kill()
        assert books.ledger.jobs("acme", 10)[0].held == 1
        server.restart()
        call = settled(books, reading.call_id)
        assert call.state == "interrupted"
        assert call.basis == "estimate"
        assert call.prompt_tokens > 0
        # What the store had of it by then is what there is: it writes twice a second.
        assert (0 < call.completion_tokens <= seen + 60) is (store == "kept")
        with Parley(server.url, key, "acme") as client:
            assert client.complete_job(job_id=job_id).costs.failed_calls == 1
        assert books.credits("acme").held == 0


@pytest.mark.any_runtime
def test_a_long_call_keeps_its_lease(start_server: StartServer) -> None:
    server = start_server(CALL_LEASE_S="1")
    with books_of(server) as books:
        key = books.team("acme", 10)
        question = [{"role": "user", "content": "[[demo tokens=30 tps=10]] Hello"}]
        with Parley(server.url, key, "acme") as client:
            assert client.create_and_call("chat", "demo", question).status == "completed"
        (call,) = books.calls()
        assert (call.state, call.completion_tokens) == ("done", 30)
        assert call.latency_ms is not None
        assert call.latency_ms > 2500
