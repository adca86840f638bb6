"""A team's own limits, whoever asks for it and through whatever door."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from tests.books import Books, books_of
from tests.programs import until
from tests.redises import Redis
from tests.server.paying import by_chat, by_v1, by_whole_call, by_whole_job
from tests.server.processes import Upstream, at_once, processes
from tests.server.test_jobs import send
from tests.servers import Server, servers, several
from tests.sockets import Refused, Socket

pytestmark = pytest.mark.server

HELLO = "[[demo tokens=3 tps=0]] Hello"
ASKED = 50


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    with servers(folder) as started:
        env = {"MAX_STREAMS_PER_CALLER": "100", "RATE_LIMIT": "1000/minute", **several(runtime_name)}
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(scope="module")
def books(shop: Server) -> Iterator[Books]:
    with books_of(shop) as books:
        yield books


def asked_at_every_door(server: Server, key: str) -> Counter[int]:
    """The statuses of fifty at once, each from another address as far as it can say so, and each for a job of
    its own: what a job has paid for is any number of calls."""
    made = [send(server, "POST /api/jobs", {"job_type": "a"}, key) for _ in range(ASKED // 5)]
    job_ids = [answer.json()["job_id"] for answer in made]
    doors = (by_chat, by_v1, by_whole_call, by_whole_job)
    sockets = [Socket(server, key, header=[f"X-Forwarded-For: 192.0.2.{number}"]) for number in range(10)]

    def ask(number: int) -> int:
        if number % 5 == 4:
            question = {"message": HELLO, "session_id": token_hex(8)}
            return int(sockets[number // 5].call("chat_stream", question).get("code", 200))
        path, body = doors[number % 5](HELLO, job_ids[number // 5], "demo")
        forwarded = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        return send(server, f"POST {path}", body, key, **forwarded).status

    statuses = Counter(at_once(ask, range(ASKED)))
    for job_id in job_ids:
        send(server, f"POST /api/jobs/{job_id}/complete", {"status": "failed"}, key)
    return statuses


def test_with_credit_for_one_one_of_fifty_over_every_door_is_let_through(shop: Server, books: Books) -> None:
    key = books.team("poor", 1)
    assert asked_at_every_door(shop, key) == {200: 1, 402: ASKED - 1}
    assert len(books.calls("poor")) == 1
    assert books.credits("poor").held == 0


def test_a_teams_own_rate_is_one_counter_over_every_door_and_address(shop: Server, books: Books) -> None:
    key = books.team("limited", 1000, rate_limit="7/minute")
    assert asked_at_every_door(shop, key) == {200: 7, 429: ASKED - 7}
    _, another = books.accounts.make_key("limited")
    path, body = by_v1(HELLO, model="demo")
    assert send(shop, f"POST {path}", body, another).status == 429, "a second key is the same team"
    assert len(books.calls("limited")) == 7


def test_a_team_without_a_rate_of_its_own_has_everybodys(shop: Server, books: Books) -> None:
    path, body = by_v1(HELLO, model="demo")
    plain = send(shop, f"POST {path}", body, books.team("plain", 10))
    assert plain.headers["X-RateLimit-Limit"] == "1000"
    free = send(shop, f"POST {path}", body, books.team("free", 10, rate_limit="off"))
    assert "X-RateLimit-Limit" not in free.headers


def test_only_the_key_itself_is_the_key(shop: Server, books: Books) -> None:
    key = books.team("exact", 10)
    path, body = by_v1(HELLO, model="demo")
    almost = [
        key.upper(), key.lower(), key.swapcase(), f" {key}", f"{key[:9]} {key[9:]}", f"{key},{key}",
        f"{key}x", key[:-1], key[3:], f'"{key}"', f"sk-{key}", "sk-",
    ]  # fmt: skip
    for text in almost:
        assert send(shop, f"POST {path}", body, text).status == 401, text
    for text in (*almost, f"{key} ", f"{key}\n", f"{key}\0"):
        with pytest.raises(Refused):
            Socket(shop, text)
    assert books.calls("exact") == []
    assert send(shop, f"POST {path}", body, key).status == 200
    assert key not in json.dumps(shop.log)


def test_whoever_kills_redis_gains_no_question(tmp_path: Path, one_runtime: str, scripted: Upstream) -> None:
    """Without it nothing is answered; what is left of the limit when it is back is no more than before."""
    with (
        Redis(tmp_path / "redis") as redis,
        processes(tmp_path, 1, redis.url, scripted, one_runtime) as (server,),
        books_of(server) as books,
    ):
        key = books.team("limited", 100, rate_limit="5/minute")
        path, body = by_v1(HELLO, model="demo")

        def statuses(count: int) -> Counter[int]:
            return Counter(send(server, f"POST {path}", body, key).status for _ in range(count))

        assert statuses(3) == {200: 3}
        redis.kill()
        away = statuses(5)
        assert set(away) <= {429, 503}
        redis.start()
        until(lambda: send(server, "GET /ready").status == 200, "it serves again")
        assert statuses(6)[200] <= 2
        until(lambda: books.credits("limited").held == 0, "what could not begin holds nothing")
