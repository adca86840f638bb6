"""`CONTINUE_INTERRUPTED=1`: answers whose process is killed, frozen or ended, and another goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.clients import ask, call, get, resume
from tests.programs import until
from tests.redises import Redis
from tests.server.processes import (
    Upstream,
    completion,
    ends_as,
    exact,
    next_of,
    partial_in,
    processes,
    said,
    state,
)
from tests.servers import Server

pytestmark = pytest.mark.server

LEASE_S = 2.0
SIZE = 280
MODELS = """
[[upstream]]
name = "fake"
base_url = "{url}"
models = ["fake"]
continues = "continue_final_message"

[[upstream]]
name = "other"
base_url = "{url}"
models = ["once"]
"""

_numbers = count(1)


def question(what: str = f"{SIZE} tokens every 0.015 s") -> str:
    return f"going on {next(_numbers)}. give me {what}"


@pytest.fixture
def three(
    tmp_path: Path, one_runtime: str, older_redis_url: str, scripted: Upstream
) -> Iterator[list[Server]]:
    """Three servers of the test's own, on the shared Redis."""
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=scripted.base_url))
    env = {
        "CONTINUE_INTERRUPTED": "1",
        "MODELS_FILE": str(models),
        "OPENAI_BASE_URL": "",
        "OPENAI_API_KEY": "",
        "LEASE_S": str(LEASE_S),
        "DRAIN_S": "1",
    }
    with processes(tmp_path, 3, older_redis_url, scripted, one_runtime, **env) as started:
        yield started


def partials_of(scripted: Upstream, message: str) -> list[str]:
    """The beginnings that the upstream was given, each time it was asked."""
    return [partial_in(request.body) for request in scripted.requests_of(message)]


def heirs(servers: list[Server]) -> list[Server]:
    return [server for server in servers if "is gone on with here" in server.log]


def test_the_answers_of_killed_processes_are_given_to_their_end_by_others(
    three: list[Server], scripted: Upstream
) -> None:
    a, b, c = three
    message = question()
    fields = {"session_id": "s", "system": "Be brief.", "temperature": 0.5}
    first_answer = ask(a, question("5 tokens"), session_id="s").all()[-1].data["message_id"]
    ask(a, question("7 tokens"), session_id="s").all()
    fields["parent_id"] = first_answer  # another version of the second question
    following = ask(a, message, key="k", **fields)
    elsewhere = {server.port: resume(server, following.stream_id) for server in (b, c)}
    seen = next_of(following, 40)
    a.kill()
    until(lambda: bool(heirs([b, c])), "another goes on with it")
    [heir] = heirs([b, c])
    [last] = [server for server in (b, c) if server is not heir]
    half = next_of(elsewhere[last.port], 150)
    heir.kill()
    exact([*half, *elsewhere[last.port].all()], SIZE)
    exact([*seen, *resume(last, following.stream_id, len(seen)).all()], SIZE)
    exact(ask(last, message, key="k", **fields).all(), SIZE)
    session = get(last, "/api/chat/sessions/s")
    assert session["live_stream"] is None
    assert [each["content"] for each in session["messages"]][1::2] == [said(5), said(SIZE)]
    assert session["messages"][-1]["status"] == "done"
    assert [each["parent_id"] for each in session["messages"]][1:] == [
        each["id"] for each in session["messages"]
    ][:-1]
    first, *others = scripted.requests_of(message)
    assert len(others) == 2
    for request in others:
        *before, begun = request.body["messages"]
        assert before == first.body["messages"]
        assert said(SIZE).startswith(begun["content"])
        assert len(begun["content"]) >= len(said(40)), "all that was shown is the beginning"
        assert request.body["continue_final_message"] is True
        assert request.body["add_generation_prompt"] is False
        assert request.body["temperature"] == 0.5
    end = state(last, following.stream_id)
    assert end["state"] == "done"


def test_a_frozen_process_that_wakes_up_shows_its_readers_what_another_writes(
    three: list[Server], scripted: Upstream
) -> None:
    a, b, c = three
    message = question()
    following = ask(a, message, session_id="frozen")
    seen = next_of(following, 40)
    a.process.send_signal(signal.SIGSTOP)
    until(lambda: bool(heirs([b, c])), "another goes on with it")
    a.process.send_signal(signal.SIGCONT)
    exact([*seen, *following.all()], SIZE)
    assert get(a, "/api/chat/sessions/frozen")["messages"][-1]["content"] == said(SIZE)
    exact(ask(a, question("5 tokens"), session_id="frozen").all(), 5)
    assert "Traceback" not in a.log


def test_what_a_process_could_not_end_in_time_when_it_left_is_gone_on_with(
    three: list[Server], scripted: Upstream
) -> None:
    a, b, c = three
    message = question()
    following = ask(a, message, session_id="left")
    seen = next_of(following, 20)
    assert a.stop() == 0
    exact([*seen, *resume(b, following.stream_id, len(seen)).all()], SIZE)
    assert len(partials_of(scripted, message)) == 2
    assert len(heirs([b, c])) == 1


def test_a_stop_reaches_whoever_goes_on_with_it(three: list[Server], scripted: Upstream) -> None:
    a, b, c = three
    message = question("2000 tokens every 0.015 s")
    following = ask(a, message, session_id="stopped")
    next_of(following, 20)
    a.kill()
    until(lambda: bool(heirs([b, c])), "another goes on with it")
    [other] = [server for server in (b, c) if server not in heirs([b, c])]
    status, said_ = call(other, "POST", f"/api/chat/streams/{following.stream_id}/stop")
    assert (status, said_["state"]) == (200, "stopped")
    scripted.lets_go_of(message, 5)


def test_one_that_is_about_to_stop_leaves_the_others_answers_to_those_who_stay(
    three: list[Server], scripted: Upstream
) -> None:
    a, b, c = three
    kept = ask(b, question("1500 tokens every 0.01 s"), session_id="kept")
    next_of(kept, 3)
    following = ask(a, question(), session_id="left-to-c")
    seen = next_of(following, 5)
    a.kill()
    b.process.send_signal(signal.SIGTERM)
    exact([*seen, *resume(c, following.stream_id, len(seen)).all()], SIZE)
    assert heirs([b, c]) == [c]


def test_who_read_it_elsewhere_is_not_taken_for_gone_by_the_one_that_goes_on(
    tmp_path: Path, one_runtime: str, older_redis_url: str, scripted: Upstream
) -> None:
    env = {"CONTINUE_INTERRUPTED": "1", "LEASE_S": str(LEASE_S), "DETACH_GRACE": "2", "DEFAULT_MODEL": "demo"}
    with processes(tmp_path, 2, older_redis_url, scripted, one_runtime, **env) as (a, b):
        following = ask(a, "[[demo tokens=60 tps=10]] hello", session_id="read")
        elsewhere = resume(b, following.stream_id)
        next_of(following, 10)
        a.kill()
        assert elsewhere.all()[-1].data["finish_reason"] == "stop"


def test_what_nobody_can_go_on_with_is_interrupted(three: list[Server], scripted: Upstream) -> None:
    """A completion, whose conversation is not kept; and a model whose upstream is not said to be able to."""
    a, b, _ = three
    asked = completion(a, question(), **{"X-Stream-Resume": "1"})
    once = ask(a, question(), session_id="once", model="once")
    next_of(once, 5)
    a.kill()
    ends_as(b, once.stream_id, "interrupted")
    ends_as(b, asked.headers["X-Stream-Id"], "interrupted")


def test_a_redis_that_was_restarted_in_between_has_them_interrupted(
    tmp_path: Path, one_runtime: str, scripted: Upstream
) -> None:
    """It may have lost what readers have been shown."""
    env = {"CONTINUE_INTERRUPTED": "1", "LEASE_S": str(LEASE_S), "DEFAULT_MODEL": "demo"}
    with (
        Redis(tmp_path / "redis", appendonly=True) as redis,
        processes(tmp_path, 2, redis.url, scripted, one_runtime, **env) as (a, b),
    ):
        following = ask(a, "[[demo tokens=2000 tps=50]] hello", session_id="s")
        next_of(following, 20)
        redis.kill()
        redis.start()
        a.kill()
        ends_as(b, following.stream_id, "interrupted")
