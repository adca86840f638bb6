"""Jobs on PostgreSQL, through every door, and what waits for it when it is slow."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Thread

import psycopg2
import pytest

from backend.ledger.records import Terms
from parley_client import Conflict, InsufficientCredits, Parley
from tests.access import signing
from tests.books import Books, books_at
from tests.clients import ask
from tests.postgres import Postgres
from tests.programs import until
from tests.server import paying
from tests.server.test_jobs import send
from tests.servers import ROOT, Server, servers, several

pytestmark = pytest.mark.server

HELLO = [{"role": "user", "content": "[[demo tokens=7]] Hello"}]
SLEEP_S = 2
MOST_GAP_S = 1.0


@dataclass
class Shop:
    server: Server
    books: Books
    url: str
    """Of its ledger."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str, postgres: Postgres) -> Iterator[Shop]:
    folder, url = tmp_path_factory.mktemp("shop"), postgres.database()
    (folder / "models.toml").write_text(paying.PRICES)
    with servers(folder) as started:
        env = {"DATABASE_URL": url, "DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": signing.SECRET}
        started.append(Server(folder, {**env, **several(runtime_name)}))
        with books_at(url) as books:
            yield Shop(started[0], books, url)


def test_a_team_works_from_its_first_credit_to_its_last(shop: Shop) -> None:
    body = {"team_id": "acme", "credits": 2, "budget_mode": "consumption_usd", "credits_per_dollar": 1}
    team = send(shop.server, "POST /api/admin/teams", body, signing.token(scope="admin")).json()
    with Parley(shop.server.url, team["virtual_key"], "acme") as client:
        client.create_job("chat", "user-1", {"a": 1})
        called = client.chat("chat-fast", HELLO, purpose="greeting")
        assert called.metadata.tokens_used > 7
        stream = client.chat_stream("demo", HELLO)
        assert "".join(chunk.text for chunk in stream) == called.response.content
        assert shop.books.credits().held == 2
        with pytest.raises(InsufficientCredits):
            client.completion(HELLO, "demo")
        assert client.job_costs().costs.total_calls == 2
        assert client.update_metadata({"b": 2}).metadata == {"a": 1, "b": 2}
        result = client.complete_job()
        assert (result.total_calls, result.credits_remaining) == (2, 1)
        assert client.complete_job() == result
        with pytest.raises(Conflict):
            client.chat("chat-fast", HELLO)
        assert client.create_and_call("extract", "demo", HELLO).credits_remaining == 0
        usage = client.usage(str(result.completed_at)[:10])
        assert (usage.summary.total_jobs, usage.summary.total_calls, usage.summary.credits_spent) == (2, 3, 2)
        assert {job.status for job in client.list_jobs().jobs} == {"completed"}
    audit = subprocess.run(
        [sys.executable, "-m", "backend", "credits", "audit"], cwd=ROOT, env={"DATABASE_URL": shop.url},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (audit.returncode, audit.stdout.strip()) == (0, "balanced")


def test_while_the_ledger_sleeps_tokens_come_and_what_waits_is_done_afterwards(shop: Shop) -> None:
    """The sleep holds what every question of a team needs, its key as well."""
    key = shop.books.team("slow", 10_000, Terms())
    paced = f"[[demo tokens={SLEEP_S * 75} tps=50]] Hello"
    path, body = paying.by_v1(paced, model="demo")
    running = paying.Raw(shop.server, key, (path, body))
    running.read(lambda: b"delta" in running.seen)
    following = ask(shop.server, paced)
    next(iter(following))
    statuses: list[int] = []

    def question() -> None:
        statuses.append(send(shop.server, f"POST {path}", {**body, "messages": HELLO}, key).status)

    def sleep() -> None:
        with closing(psycopg2.connect(shop.url)) as connection:
            with connection, connection.cursor() as cursor:
                cursor.execute("LOCK TABLE teams IN ACCESS EXCLUSIVE MODE")
                cursor.execute(f"SELECT pg_sleep({SLEEP_S})")
                asleep.append(SLEEP_S)

    asleep: list[int] = []
    waiting = [Thread(target=sleep), *(Thread(target=question) for _ in range(20))]
    for thread in waiting:
        thread.start()
    at_s, gaps = time.monotonic(), []
    for _ in following:
        gaps.append(time.monotonic() - at_s)
        at_s = time.monotonic()
    for thread in waiting:
        thread.join(30)
    running.rest()
    running.leave()
    assert asleep
    assert len(gaps) == SLEEP_S * 75
    assert max(gaps) < MOST_GAP_S
    assert len(statuses) == 20
    assert set(statuses) <= {200, 503}, "503 on a machine that is too slow to serve all within their patience"
    assert 200 in statuses
    assert shop.books.settled(running.stream_id).state == "done"
    until(lambda: shop.books.credits("slow").held == 0, "all is settled")
    assert shop.books.credits("slow").spent == 1 + statuses.count(200)
