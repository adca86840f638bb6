"""Redis is killed, emptied, frozen, cut off and failed over under running answers of two processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.access import signing
from tests.clients import Event, Following, ask, call, get, resume, text_of
from tests.line import line_to
from tests.programs import until
from tests.redises import Redis, sentinels
from tests.server.processes import (
    HANGS,
    Upstream,
    at_once,
    exact,
    is_prefix,
    next_of,
    processes,
    said,
    state,
)
from tests.servers import Server

pytestmark = pytest.mark.server

LEASE_S = 2.0
LIVE = 20
_numbers = count(1)


def question(what: str) -> str:
    return f"fault {next(_numbers)}. give me {what}"


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, one_runtime: str, scripted: Upstream) -> Start:
    """`with start(url) as (a, b)`: two servers on that store."""

    def start(url: str | list[str], **env: str) -> Any:
        folder = tmp_path / "servers"
        return processes(folder, 2, url, scripted, one_runtime, **{"LEASE_S": str(LEASE_S), **env})

    return start


class Crowd:
    """Answers that run on all servers, and for each a reader on another server. `read` is what they got."""

    def __init__(self, servers: list[Server], size: int, gap_s: float) -> None:
        self.size = size
        self.servers = servers
        self.asked = [
            ask(servers[n % 2], question(f"{size} tokens every {gap_s} s"), session_id=f"s{n}", key=f"k{n}")
            for n in range(LIVE)
        ]
        self.elsewhere = [
            resume(servers[1 - n % 2], following.stream_id) for n, following in enumerate(self.asked)
        ]
        for following in [*self.asked, *self.elsewhere]:
            next_of(following)
        self.running = [*self.asked, *self.elsewhere]

    def read(self) -> list[list[Event]]:
        """All of them to their ends; the first token was read before."""
        return at_once(Following.all, self.running)


def seen_by(servers: Sequence[Server]) -> None:
    """Wait until they have noticed that Redis is away, for tokens and for the rest."""
    for server in servers:
        until(lambda log=server.log_path: log.read_text().count("cannot be reached") >= 2, "it is noticed")  # type: ignore[misc]


def is_ready(server: Server, within_s: float) -> None:
    until(lambda: server.pool.request("GET", f"{server.url}/ready").status == 200, "it is ready", within_s)


def answers_again(server: Server, within_s: float) -> None:
    body = {"message": question("2 tokens")}

    def answers() -> bool:
        response = server.pool.request("POST", f"{server.url}/api/chat/stream", json=body)
        return response.status == 200 and b'"done": true' in response.data.replace(
            b'"done":true', b'"done": true'
        )

    until(answers, "a question is answered", within_s)


def test_a_redis_that_is_killed_and_comes_back_with_its_file_costs_no_answer_a_token(
    tmp_path: Path, start: Start, scripted: Upstream
) -> None:
    with Redis(tmp_path / "redis", appendonly=True) as redis, start(redis.url) as (a, b):
        crowd = Crowd([a, b], 150, 0.02)
        redis.kill()
        seen_by((a, b))
        redis.start()
        for server in (a, b):
            answers_again(server, 5)
        for events in crowd.read():
            exact(events, crowd.size, 1)
        for n, following in enumerate(crowd.asked):
            for server in (a, b):
                exact(resume(server, following.stream_id).all(), crowd.size)
            session = get(b, f"/api/chat/sessions/s{n}")
            assert session["live_stream"] is None
            assert [each["content"] for each in session["messages"][1:]] == [said(crowd.size)]
        assert "Traceback" not in a.log + b.log


def test_a_redis_that_comes_back_with_nothing_is_given_the_running_answers_again(
    tmp_path: Path, start: Start, scripted: Upstream
) -> None:
    with Redis(tmp_path / "redis") as redis, start(redis.url) as (a, b):
        finished = ask(a, question("3 tokens"), session_id="before")
        finished.all()
        crowd = Crowd([a, b], 150, 0.02)
        redis.kill()
        redis.start()
        for server in (a, b):
            answers_again(server, 5)
        for events in crowd.read():
            exact(events, crowd.size, 1)
        for events in at_once(lambda following: resume(a, following.stream_id).all(), crowd.asked):
            exact(events, crowd.size)
        assert call(b, "GET", f"/api/chat/streams/{finished.stream_id}")[0] == 404, "what had ended is lost"
        assert "Traceback" not in a.log + b.log


def test_an_emptied_redis_shows_nobody_anothers_and_the_running_answers_go_on(
    tmp_path: Path, start: Start, scripted: Upstream
) -> None:
    with Redis(tmp_path / "redis") as redis, start(redis.url) as (a, b):
        alice, bob = ({"Authorization": f"Bearer {signing.token(sub=name)}"} for name in ("alice", "bob"))
        body = {"message": question("100 tokens every 0.02 s"), "session_id": "own", "partial": False}
        url = f"{a.url}/api/chat/stream"
        own = Following(a, a.pool.request("POST", url, json=body, headers=alice, preload_content=False))
        silent = ask(a, question(f"one token {HANGS}"), session_id="silent")
        elsewhere = resume(b, silent.stream_id)
        next_of(elsewhere)
        crowd = Crowd([a, b], 150, 0.02)
        redis.flush()
        for events in crowd.read():
            exact(events, crowd.size, 1)
        exact(own.all(), 100)
        for server in (a, b):
            path = f"/api/chat/streams/{own.stream_id}"
            assert call(server, "GET", path, **bob)[0] == 404
            assert call(server, "GET", path)[0] == 404
            assert state(server, own.stream_id, **alice)["text"] == said(100)
            assert call(server, "GET", "/api/chat/sessions/own", **bob)[0] == 404
        until(lambda: state(b, silent.stream_id)["state"] == "running", "it is written again")
        assert call(b, "POST", f"/api/chat/streams/{silent.stream_id}/stop")[1]["state"] == "stopped"
        [done] = elsewhere.all()
        assert done.data["finish_reason"] == "stopped"
        for following in crowd.asked:
            exact(resume(b, following.stream_id).all(), crowd.size)
        assert "Traceback" not in a.log + b.log


def took(work: Callable[[], Any]) -> tuple[Any, float]:
    began_s = time.monotonic()
    return work(), time.monotonic() - began_s


def test_a_frozen_redis_holds_up_only_what_needs_it(tmp_path: Path, start: Start, scripted: Upstream) -> None:
    paths = ("/health", "/api/status", "/v1/models", "/")

    def look() -> float:
        """The longest that one of them takes."""

        def look_at(path: str) -> int:
            return int(a.pool.request("GET", f"{a.url}{path}").status)

        looked = [took(lambda path=path: look_at(path)) for path in paths for _ in range(10)]  # type: ignore[misc]
        assert {status for status, _ in looked} == {200}
        return max(seconds for _, seconds in looked)

    with Redis(tmp_path / "redis") as redis, start(redis.url) as (a, b):
        crowd = Crowd([a, b], 150, 0.05)
        before_s = look()
        redis.freeze()
        frozen_s = time.monotonic()

        def refuse() -> float:
            """How long it takes to be refused."""
            url = f"{a.url}/api/chat/stream"
            response, seconds = took(lambda: a.pool.request("POST", url, json={"message": "go"}))
            assert (response.status, response.json()["type"]) == (503, "unavailable")
            assert int(response.headers["Retry-After"]) >= 1
            return seconds

        assert refuse() < 2.0, "about a second, with room for a slow machine"
        assert min(refuse() for _ in range(10)) < 0.1, "the next ones at once"
        while time.monotonic() - frozen_s < 5:
            assert look() < max(2 * before_s, 0.5)
            for server in (a, b):
                assert server.pool.request("GET", f"{server.url}/ready").status == 503
        redis.thaw()
        for server in (a, b):
            answers_again(server, 5)
        for events in crowd.read():
            exact(events, crowd.size, 1)
        assert "Traceback" not in a.log + b.log


def test_a_process_ends_in_time_while_redis_is_away(tmp_path: Path, start: Start) -> None:
    """However many answers it gives. Those are ended by the others."""
    with Redis(tmp_path / "redis") as redis, start(redis.url, DRAIN_S="0.5") as (a, b):
        running = [ask(a, question("3000 tokens every 0.02 s"), session_id=f"r{n}") for n in range(10)]
        silent = [ask(a, question(f"one token {HANGS}"), session_id=f"q{n}") for n in range(10)]
        for following in [*running, *silent]:
            next_of(following)
        elsewhere = [resume(b, following.stream_id) for following in [*running, *silent]]
        redis.freeze()
        a.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert a.process.wait(20) == 0
        assert time.monotonic() - began_s < 12
        redis.thaw()
        for events in at_once(Following.all, elsewhere):
            assert events[-1].data["type"] == "interrupted"
        assert get(b, "/api/chat/sessions/q0")["messages"][-1]["content"] == "half"


def test_a_redis_that_cannot_be_reached_for_a_while_costs_readers_elsewhere_nothing(
    tmp_path: Path, start: Start, redis_server: Redis, scripted: Upstream
) -> None:
    """Every packet is lost, to both processes: there is no end of a connection to see."""
    redis_server.flush()
    with line_to(redis_server.port) as line, start(f"redis://127.0.0.1:{line.port}/0") as (a, b):
        crowd = Crowd([a, b], 200, 0.02)
        line.black_hole()
        status, refused = call(b, "POST", "/api/chat/stream", {"message": "go"})
        assert (status, refused["type"]) == (503, "unavailable")
        seen_by((a, b))
        line.heal()
        healed_s = time.monotonic()
        for events in crowd.read():
            exact(events, crowd.size, 1)
        assert time.monotonic() - healed_s < 10
        for server in (a, b):
            answers_again(server, 5)
        assert "Traceback" not in a.log + b.log


def test_one_process_that_cannot_reach_redis_loses_its_answers_to_the_others_once(
    tmp_path: Path, start: Start, redis_server: Redis, scripted: Upstream
) -> None:
    redis_server.flush()
    with line_to(redis_server.port) as line:
        urls = [f"redis://127.0.0.1:{line.port}/0", redis_server.url]
        with start(urls) as (a, b):
            following = ask(a, question("3000 tokens every 0.02 s"), session_id="apart")
            elsewhere = resume(b, following.stream_id)
            has = next_of(elsewhere, 20)
            line.black_hole()
            *tokens, failed = elsewhere.all()
            assert failed.data["type"] == "interrupted"
            is_prefix([*has, *tokens], 3000)
            exact(ask(b, question("3 tokens"), session_id="apart").all(), 3)
            line.heal()
            *own, last = following.all()
            assert last.id == failed.id
            assert text_of(own) == text_of([*has, *tokens])
            is_ready(a, 10)
            for server in (a, b):
                assert state(server, following.stream_id)["text"] == text_of(own)
            answers_again(a, 5)


def test_a_failover_loses_nothing_silently_and_does_not_double_a_budget(
    tmp_path: Path, start: Start, scripted: Upstream
) -> None:
    with sentinels(tmp_path / "redises") as watched:
        with start(watched.url, RATE_LIMIT="40/minute", JWT_SECRET=signing.SECRET) as (a, b):
            crowd = Crowd([a, b], 200, 0.02)
            spent = {"Authorization": f"Bearer {signing.token(sub='spender')}"}

            def asked(n: int) -> int:
                server = (a, b)[n % 2]
                body = {"message": question("1 tokens")}
                url = f"{server.url}/api/chat/stream"
                return int(server.pool.request("POST", url, json=body, headers=spent).status)

            before = at_once(asked, range(30))
            assert before == [200] * 30
            watched.kill_master()
            watched.failed_over()
            for server in (a, b):
                is_ready(server, 10)
            after = at_once(asked, range(40))
            assert set(after) <= {200, 429}
            assert before.count(200) + after.count(200) <= 41
            for events in crowd.read():
                if "done" in events[-1].data:
                    exact(events, crowd.size, 1)
                else:
                    assert events[-1].data["type"] == "interrupted"
                    is_prefix(events[:-1], crowd.size, 1)
            for following in crowd.asked:
                whole = resume(b, following.stream_id).all()
                if "done" in whole[-1].data:
                    exact(whole, crowd.size)
            assert "Traceback" not in a.log + b.log
