"""Processes that are killed, frozen and ended while others go on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.clients import ask, call, get, resume, text_of
from tests.line import line_to
from tests.programs import until
from tests.redises import Redis
from tests.server.processes import (
    HANGS,
    Upstream,
    chunks_of,
    completion,
    completion_again,
    ends_as,
    exact,
    is_prefix,
    next_of,
    processes,
    said,
    state,
)
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

LEASE_S = 2.0
ROOM_S = 4.0
"""For a slow machine."""

_numbers = count(1)


def question(what: str) -> str:
    return f"crash {next(_numbers)}. give me {what}"


@pytest.fixture
def pair(tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream) -> Iterator[list[Server]]:
    """Two servers of the test's own, on the shared Redis."""
    with processes(tmp_path, 2, redis_url, scripted, one_runtime, LEASE_S=str(LEASE_S)) as started:
        yield started


def test_a_killed_processes_answers_end_as_interrupted_on_the_others(
    pair: list[Server], scripted: Upstream
) -> None:
    a, b = pair
    size = 2000
    message = question(f"{size} tokens every 0.01 s")
    following = ask(a, message, key="k", session_id="s")
    elsewhere = resume(b, following.stream_id)
    asked = completion(a, question("9 tokens every 1 s"), **{"X-Stream-Resume": "1"})
    seen = next_of(following, 50)
    silent = ask(a, question(f"one token {HANGS}"), session_id="silent")
    next_of(silent)
    a.kill()
    killed_s = time.monotonic()
    *tokens, failed = elsewhere.all()
    assert time.monotonic() - killed_s < LEASE_S + ROOM_S
    assert (failed.data["type"], failed.data["code"]) == ("interrupted", 503)
    is_prefix(tokens, size)
    assert len(tokens) >= len(seen), "what its reader had is there"
    *rest, again = resume(b, following.stream_id, len(seen)).all()
    assert (rest, again.id) == (tokens[len(seen) :], failed.id), "exact, and told once"
    session = get(b, "/api/chat/sessions/s")
    assert session["live_stream"] is None
    message_of = session["messages"][-1]
    assert (message_of["content"], message_of["status"]) == (text_of(tokens), "interrupted")
    *joined, again = ask(b, message, key="k", session_id="s").all()
    assert (joined, again.data["type"]) == (tokens, "interrupted"), "the key gives the broken answer"
    assert scripted.calls_of(message) == 1
    exact(ask(b, question("5 tokens"), session_id="s").all(), 5)
    ends_as(b, silent.stream_id, "interrupted")
    assert get(b, "/api/chat/sessions/silent")["messages"][-1]["content"] == "half"
    ends_as(b, asked.headers["X-Stream-Id"], "interrupted")
    a.restart()
    *tokens, again = resume(a, following.stream_id).all()
    assert again.data["type"] == "interrupted", "it is told by the process that comes back, too"


def test_one_that_is_killed_before_its_first_token_is_ended_too(
    pair: list[Server], scripted: Upstream
) -> None:
    a, b = pair
    silent = "crash: 3 tokens every 60 s"
    following = ask(a, silent, key="early", session_id="early")
    scripted.until(lambda: scripted.calls_of(silent) == 1)
    elsewhere = resume(b, following.stream_id)
    a.kill()
    events = elsewhere.all()
    assert events[-1].data["type"] == "interrupted"
    session = get(b, "/api/chat/sessions/early")
    assert session["live_stream"] is None
    assert [message["status"] for message in session["messages"]] == ["done", "interrupted"]
    assert ask(b, silent, key="early", session_id="early").all()[-1].data["type"] == "interrupted"
    exact(ask(b, question("5 tokens"), session_id="early").all(), 5)


def test_a_process_that_was_frozen_past_its_lease_finds_its_answers_ended_and_serves_on(
    tmp_path: Path, one_runtime: str, redis_server: Redis, scripted: Upstream
) -> None:
    """What it had sent to Redis, and had not heard of when it froze, counts on both."""
    redis_server.flush()
    size = 3000
    with line_to(redis_server.port) as line:
        urls = [f"redis://127.0.0.1:{line.port}/0", redis_server.url]
        with processes(tmp_path, 2, urls, scripted, one_runtime, LEASE_S=str(LEASE_S)) as (a, b):
            line.slow(latency_s=0.05)
            message = question(f"{size} tokens every 0.005 s")
            following = ask(a, message, session_id="frozen", key="k")
            elsewhere, here = resume(b, following.stream_id), resume(a, following.stream_id)
            next_of(following, 40)
            a.process.send_signal(signal.SIGSTOP)
            frozen_s = time.monotonic()
            *tokens, failed = elsewhere.all()
            assert time.monotonic() - frozen_s < LEASE_S + ROOM_S
            assert failed.data["type"] == "interrupted"
            is_prefix(tokens, size)
            exact(ask(b, question("5 tokens"), session_id="frozen").all(), 5)
            a.process.send_signal(signal.SIGCONT)
            *own, last = here.all()
            assert last.data["type"] == "interrupted"
            assert own == tokens, "its own readers get the same"
            assert last.id == failed.id
            scripted.lets_go_of(message, 10)
            for server in (a, b):
                assert state(server, following.stream_id)["text"] == text_of(tokens)
                *again, last = resume(server, following.stream_id).all()
                assert (again, last.id) == (tokens, failed.id)
                statuses = [each["status"] for each in get(server, "/api/chat/sessions/frozen")["messages"]]
                assert statuses == ["done", "interrupted", "done", "done"]
            exact(ask(a, question("5 tokens"), session_id="frozen").all(), 5)
            assert "Traceback" not in a.log + b.log


def test_a_process_that_is_told_to_end_hands_its_readers_over_and_writes_on(
    pair: list[Server], scripted: Upstream
) -> None:
    a, b = pair
    size = 150
    messages = [question(f"{size} tokens every 0.02 s") for _ in range(3)]
    over_sse = ask(a, messages[0])
    socket = Socket(a)
    on_socket = socket.call("chat_stream", {"message": messages[1]})["stream_id"]
    plain, numbered = completion(a, messages[2]), completion(a, messages[2], **{"X-Stream-Resume": "1"})
    has = next_of(over_sse, 3)
    a.process.send_signal(signal.SIGTERM)
    has += over_sse.all()
    is_prefix(has, size)
    assert len(has) < size, "it ends with neither done nor error"
    exact([*has, *resume(b, over_sse.stream_id, len(has)).all()], size)
    events = socket.until("server_draining")
    assert 0 < events[-1][1]["reconnect_in_ms"] <= 10_000
    after = max((data["count"] for name, data in events if name == "chat_token"), default=0)
    assert socket.gone_within(5)
    other = Socket(b)
    assert other.call("chat_resume", {"stream_id": on_socket, "after": after})["ok"]
    rest = "".join(data["token"] for name, data in other.answer() if name == "chat_token")
    read = "".join(data["token"] for name, data in events if name == "chat_token")
    assert read + rest == said(size)
    ids, text, done = chunks_of(numbered)
    assert not done
    _, rest, done = chunks_of(completion_again(b, numbered.headers["X-Stream-Id"], ids[-1]))
    assert (text + rest, done) == (said(size), True)
    assert chunks_of(plain)[1:] == (said(size), True), "who cannot come back is served to the end"
    assert a.process.wait(20) == 0
    assert "Traceback" not in a.log


def test_who_finds_no_other_process_may_stay_with_the_one_that_ends(
    tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream
) -> None:
    """As where there is only one, or a proxy does not know yet."""
    size = 250
    with processes(tmp_path, 1, redis_url, scripted, one_runtime) as (a,):
        socket = Socket(a)
        asked = socket.call("chat_stream", {"message": question(f"{size} tokens every 0.02 s")})
        a.process.send_signal(signal.SIGTERM)
        socket.until("server_draining")
        again = Socket(a)
        assert again.call("chat_resume", {"stream_id": asked["stream_id"], "after": 0})["ok"]
        read = "".join(data["token"] for name, data in again.answer() if name == "chat_token")
        assert read == said(size)
        assert a.process.wait(20) == 0


def test_what_has_not_ended_when_the_patience_is_over_is_interrupted_for_readers_everywhere(
    tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream
) -> None:
    env = {"LEASE_S": str(LEASE_S), "DRAIN_S": "0.5"}
    with processes(tmp_path, 2, redis_url, scripted, one_runtime, **env) as (a, b):
        following = ask(a, question(f"one token {HANGS}"), session_id="drained")
        elsewhere = resume(b, following.stream_id)
        next_of(following)
        began_s = time.monotonic()
        assert a.stop() == 0
        assert time.monotonic() - began_s < 8
        half, failed = elsewhere.all()
        assert (half.data["token"], failed.data["type"]) == ("half", "interrupted")
        message = get(b, "/api/chat/sessions/drained")["messages"][-1]
        assert (message["content"], message["status"]) == ("half", "interrupted")


def test_a_second_signal_ends_at_once(pair: list[Server]) -> None:
    a, b = pair
    following = ask(a, question(f"one token {HANGS}"), session_id="hurried")
    elsewhere = resume(b, following.stream_id)
    next_of(following)
    a.process.send_signal(signal.SIGTERM)
    until(lambda: a.pool.request("GET", f"{a.url}/ready").status == 503, "it drains")
    assert call(a, "POST", "/api/chat/stream", {"message": "go"})[0] == 503
    a.process.send_signal(signal.SIGTERM)
    assert a.process.wait(10) == 0
    half, failed = elsewhere.all()
    assert (half.data["token"], failed.data["type"]) == ("half", "interrupted")
    assert get(b, "/api/chat/sessions/hurried")["messages"][-1]["status"] == "interrupted"
