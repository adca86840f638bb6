"""Asking, coming back and stopping, over the real server's sockets."""

from __future__ import annotations

import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients import Event, ask, call, get, resume, text_of
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer, chunk, finish, head, stall
from tests.servers import Server

pytestmark = pytest.mark.server


def with_upstream(start_server: StartServer, upstream: FakeUpstream, **env: str) -> Server:
    return start_server(
        OPENAI_BASE_URL=upstream.base_url,
        OPENAI_API_KEY="sk-test-0123456789",
        OPENAI_MODELS="fake",
        MAX_STREAMS_PER_CALLER="500",
        STORE_URL="memory://",
        **env,
    )


def test_an_answer_streams_with_the_events_the_contract_gives(server: Server) -> None:
    following = ask(server, "Say hello", session_id="contract", partial=True)
    headers = following.response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Session-Id"] == "contract"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["X-Request-Id"])

    *tokens, done = following.all()
    said = ""
    for number, event in enumerate(tokens, 1):
        said += event.data["token"]
        assert event.id == f"{following.stream_id}:{number}"
        assert event.data == {"token": event.data["token"], "count": number, "partial": said}
    assert done.number == len(tokens) + 1
    assert set(done.data) == {
        "done", "tokens", "duration", "tokens_per_second", "ttft_ms", "full_response", "session_id",
        "stream_id", "message_id", "model", "finish_reason", "usage", "timestamp",
    }  # fmt: skip
    assert done.data["full_response"] == said
    assert (done.data["tokens"], done.data["finish_reason"]) == (len(tokens), "stop")
    assert done.data["usage"]["total_tokens"] == sum(
        done.data["usage"][kind] for kind in ("prompt_tokens", "completion_tokens")
    )


@pytest.mark.any_runtime
def test_the_text_so_far_is_left_out_when_not_wanted_or_too_long(start_server: StartServer) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0", PARTIAL_MAX_CHARS="100")
    events = ask(server, "Say hello", partial=True).all()
    with_partial = [event for event in events if "partial" in event.data]
    assert 0 < len(with_partial) < len(events) - 1
    assert all(len(event.data["partial"]) <= 100 for event in with_partial)
    assert not any("partial" in event.data for event in ask(server, "Say hello").all())


def test_a_conversation_is_kept_and_shown(server: Server) -> None:
    first = ask(server, "What is a log?", session_id="talk").all()
    second = ask(server, "And an offset?", session_id="talk").all()
    assert "You asked 1 question before this one" in text_of(second)
    session = get(server, "/api/chat/sessions/talk")
    assert session["title"] == "What is a log?"
    assert session["live_stream"] is None
    assert [message["role"] for message in session["messages"]] == ["user", "assistant"] * 2
    assert session["messages"][1]["content"] == text_of(first)
    assert session["messages"][1]["id"] == first[-1].data["message_id"]
    assert session["messages"][1]["tokens"] == first[-1].data["tokens"]


def test_the_demo_model_says_the_same_to_the_same_and_something_else_to_another(server: Server) -> None:
    texts = [text_of(ask(server, message).all()) for message in ("Say hello", "Say hello", "Why is it so?")]
    assert texts[0] == texts[1] != texts[2]
    assert "Say hello" in texts[0]
    for shape in (r"^## ", r"^### ", r"^- \*\*", r"^\| ", r"^1\. ", r"^```python$"):
        assert re.search(shape, texts[0], re.MULTILINE)


def test_resuming_after_every_n_gives_exactly_the_rest(server: Server) -> None:
    whole = ask(server, "[[demo tokens=60]] Say hello").all()
    stream_id = whole[0].id.partition(":")[0]
    for n in range(len(whole)):
        if n < len(whole) - 1:
            assert resume(server, stream_id, n).all() == whole[n:]
        header = {"Last-Event-ID": f"{stream_id}:{n}"}
        assert resume(server, stream_id, 0, **header).all() == whole[n:], "the header wins over after"
    url = f"{server.url}/api/chat/streams/{stream_id}?after={len(whole)}"
    assert server.pool.request("GET", url).status == 204, "the closing event was had: nothing is left"


def test_a_reader_ahead_of_what_is_stored_is_reset(server: Server) -> None:
    whole = ask(server, "[[demo tokens=10]] Say hello").all()
    stream_id, text = whole[0].id.partition(":")[0], text_of(whole)
    reset, done = resume(server, stream_id, 999).all()
    assert reset == Event(f"{stream_id}:10", {"reset": True, "partial": text, "count": 10})
    assert done == whole[-1]


def test_a_running_answer_is_reset_for_a_reader_ahead_and_then_goes_on(start_server: StartServer) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="50")
    following = ask(server, "[[demo tokens=60]] Say hello")
    ahead = resume(server, following.stream_id, 5000).all()
    count = ahead[0].data["count"]
    assert ahead[0].data["reset"] is True
    assert [event.number for event in ahead[1:]] == list(range(count + 1, 62))
    assert ahead[0].data["partial"] + text_of(ahead) == ahead[-1].data["full_response"]


def test_the_state_of_a_stream_is_told_to_who_asks_for_json(server: Server) -> None:
    whole = ask(server, "[[demo tokens=10]] Say hello", session_id="state").all()
    stream_id = whole[0].id.partition(":")[0]
    state = get(server, f"/api/chat/streams/{stream_id}", Accept="application/json")
    assert (state["stream_id"], state["session_id"], state["state"]) == (stream_id, "state", "done")
    assert (state["count"], state["text"]) == (10, text_of(whole))


def test_hundreds_of_random_cuts_end_byte_identical_to_the_upstreams_script(
    start_server: StartServer,
) -> None:
    tokens = [f"{n} é😀\u2028\r\n" for n in range(120)]
    script = "".join(tokens)
    with FakeUpstream(answer(tokens, gap_s=0.005), piecewise=7) as upstream:
        server = with_upstream(start_server, upstream)

        def follow_with_cuts(seed: int) -> tuple[str, list[int], int]:
            dice = random.Random(seed)
            following = ask(server, "go")
            events = following.take(dice.randint(1, 25))
            cuts = 1
            while "done" not in events[-1].data:
                following = resume(server, following.stream_id, events[-1].number)
                events += following.take(dice.randint(1, 25))
                cuts += 1
            return text_of(events), [event.number for event in events], cuts

        with ThreadPoolExecutor(20) as pool:
            outcomes = list(pool.map(follow_with_cuts, range(40)))
    for seed, (text, numbers, _) in enumerate(outcomes):
        assert text == script, f"seed {seed}"
        assert numbers == list(range(1, 122)), f"seed {seed}"
    assert sum(cuts for *_, cuts in outcomes) > 300


def test_a_second_question_while_one_runs_is_refused_and_names_the_stream(start_server: StartServer) -> None:
    server = start_server()
    following = ask(server, "[[demo hang=3]] one", session_id="s")
    status, refusal = call(server, "POST", "/api/chat/stream", {"message": "two", "session_id": "s"})
    assert (status, refusal["type"], refusal["stream_id"]) == (409, "session_busy", following.stream_id)
    session = get(server, "/api/chat/sessions/s")
    assert session["live_stream"]["stream_id"] == following.stream_id
    assert session["message_count"] == 1


def test_the_same_key_makes_one_upstream_call_however_often_it_is_sent(start_server: StartServer) -> None:
    with FakeUpstream(answer(20, gap_s=0.01)) as upstream:
        server = with_upstream(start_server, upstream)
        with ThreadPoolExecutor(20) as pool:
            same = list(pool.map(lambda _: ask(server, "go", key="k", session_id="s").all(), range(20)))
        assert all(events == same[0] for events in same)
        assert ask(server, "go", key="k", session_id="s").all() == same[0]
        assert upstream.calls == 1
        status, refusal = call(
            server,
            "POST",
            "/api/chat/stream",
            {"message": "other", "session_id": "s"},
            **{"Idempotency-Key": "k"},
        )
        assert (status, refusal["type"]) == (422, "idempotency_mismatch")


def test_a_body_that_says_the_same_in_another_spelling_joins(server: Server) -> None:
    headers = {"Idempotency-Key": "spelling"}
    bodies = [b'{"message":"hello","max_tokens":5}', b'{ "max_tokens" : 5, "message" : "\\u0068ello" }']
    ids = [
        server.pool.request("POST", f"{server.url}/api/chat/stream", body=body, headers=headers).headers[
            "X-Stream-Id"
        ]
        for body in bodies
    ]
    assert ids[0] == ids[1]


def test_the_caller_may_have_so_many_answers_at_once_and_no_more(start_server: StartServer) -> None:
    server = start_server(MAX_STREAMS_PER_CALLER="3")
    running = [ask(server, "[[demo hang=1]] wait") for _ in range(3)]
    response = server.pool.request("POST", f"{server.url}/api/chat/stream", json={"message": "one more"})
    assert response.status == 503
    assert response.json()["type"] == "unavailable"
    assert int(response.headers["Retry-After"]) > 0
    call(server, "POST", f"/api/chat/streams/{running[0].stream_id}/stop")
    assert ask(server, "[[demo tokens=3]] again").all()


@pytest.mark.parametrize("phase", ["flowing", "silent after headers", "before an answer"])
def test_a_stop_closes_the_upstream_and_keeps_the_partial(start_server: StartServer, phase: str) -> None:
    scripts = {
        "flowing": answer(10_000, gap_s=0.01),
        "silent after headers": [head(), stall()],
        "before an answer": [stall()],
    }
    with FakeUpstream(scripts[phase]) as upstream:
        server = with_upstream(start_server, upstream)
        following = ask(server, "go", session_id="s")
        upstream.asked()
        events = iter(following)
        seen = [next(events) for _ in range(5)] if phase == "flowing" else []
        status, stopped = call(server, "POST", f"/api/chat/streams/{following.stream_id}/stop")
        assert (status, stopped["state"]) == (200, "stopped")
        assert upstream.closed_within(5.0)
        assert stopped["upstream_closed_ms"] < 1000
        assert call(server, "POST", f"/api/chat/streams/{following.stream_id}/stop") == (200, stopped)

        rest = list(events)
        assert rest[-1].data["finish_reason"] == "stopped"
        text = text_of([*seen, *rest])
        message = get(server, "/api/chat/sessions/s")["messages"][-1]
        assert (message["content"], message["status"]) == (text, "stopped")
        assert bool(text) is (phase == "flowing")
        assert stopped["tokens"] == rest[-1].data["tokens"]


def test_an_upstream_that_fails_ends_the_stream_with_the_error_and_the_text_is_kept(
    start_server: StartServer,
) -> None:
    with FakeUpstream([head(), chunk("half"), lambda peer: peer.reset()]) as upstream:
        server = with_upstream(start_server, upstream)
        token, failed = ask(server, "go", session_id="s").all()
        assert token.data["token"] == "half"
        assert (failed.data["code"], failed.data["type"]) == (502, "upstream_error")
        assert "done" not in failed.data
        assert failed.data["request_id"]
        assert failed.number == 2
        message = get(server, "/api/chat/sessions/s")["messages"][-1]
        assert (message["content"], message["status"]) == ("half", "failed")
        url = f"{server.url}/api/chat/streams/{failed.id.partition(':')[0]}?after=2"
        assert server.pool.request("GET", url).status == 204


def test_the_answer_runs_to_its_end_without_anybody_and_is_found(start_server: StartServer) -> None:
    with FakeUpstream(answer(30, gap_s=0.01)) as upstream:
        server = with_upstream(start_server, upstream)
        following = ask(server, "go")
        following.take(2)
        events = resume(server, following.stream_id, 0).all()
        assert text_of(events) == "".join(f"t{n} " for n in range(30))
        assert upstream.calls == 1


def test_with_a_grace_an_answer_nobody_follows_is_stopped(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream, DETACH_GRACE="0.5")
        following = ask(server, "go", session_id="s")
        following.take(1)
        upstream.closed_within(15.0)
        *_, done = resume(server, following.stream_id, 0).all()
        assert done.data["finish_reason"] == "detached"
        assert get(server, "/api/chat/sessions/s")["messages"][-1]["status"] == "stopped"


def test_each_token_arrives_when_it_is_made(start_server: StartServer) -> None:
    """The upstream makes the next token only when the reader has had the one before."""
    had = threading.Semaphore(0)

    def wait_for_reader(_peer: object) -> None:
        assert had.acquire(timeout=10), "the token before did not reach the reader"

    steps = [head()]
    for n in range(20):
        steps += [chunk(f"t{n} "), wait_for_reader]
    with FakeUpstream([*steps, finish(), lambda peer: peer.end()]) as upstream:
        server = with_upstream(start_server, upstream)
        events = []
        for event in ask(server, "go"):
            events.append(event)
            had.release()
    assert text_of(events) == "".join(f"t{n} " for n in range(20))


def test_the_headers_come_before_the_upstream_has_said_anything(start_server: StartServer) -> None:
    with FakeUpstream([stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        following = ask(server, "go")
        assert following.response.read1(100).startswith(b":")  # type: ignore[attr-defined]
        assert following.stream_id


def test_sessions_are_made_listed_changed_exported_and_deleted(server: Server) -> None:
    status, made = call(server, "POST", "/api/chat/sessions", {"title": "Mine", "system": "be kind"})
    assert (status, made["title"], made["system"], made["messages"]) == (201, "Mine", "be kind", [])
    path = f"/api/chat/sessions/{made['session_id']}"
    assert get(server, "/api/chat/sessions") == {"sessions": [], "next_cursor": None}, (
        "anonymous: one's own ids"
    )
    ask(server, "Say hello", session_id=made["session_id"]).all()
    status, changed = call(server, "PATCH", path, {"title": "Yours"})
    assert (status, changed["title"], changed["system"]) == (200, "Yours", "be kind")
    assert changed["message_count"] == 2
    export = server.pool.request("GET", f"{server.url}{path}/export?format=markdown")
    assert "attachment" in export.headers["Content-Disposition"]
    assert "# Yours" in export.data.decode()
    assert "Say hello" in export.data.decode()
    assert get(server, f"{path}/export?format=json")["messages"] == changed["messages"]
    assert call(server, "DELETE", path) == (200, {"deleted": True, "session_id": made["session_id"]})
    for method in ("GET", "PATCH", "DELETE"):
        status, refusal = call(server, method, path, {"title": "x"} if method == "PATCH" else None)
        assert (status, refusal["type"]) == (404, "not_found")


def test_deleting_a_session_stops_what_runs_in_it(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        following = ask(server, "go", session_id="s")
        next(iter(following))
        assert call(server, "DELETE", "/api/chat/sessions/s")[0] == 200
        upstream.closed_within(5.0)
        assert call(server, "GET", f"/api/chat/streams/{following.stream_id}")[0] == 404


def test_probes_and_status_answer(server: Server, runtime_name: str) -> None:
    assert get(server, "/health") == {"status": "healthy"}
    assert get(server, "/ready") == {"status": "ready"}
    status = get(server, "/api/status")
    assert status["models"] == [
        {"name": "demo", "default": True},
        {"name": "chat-fast", "default": False},
        {"name": "chat-smart", "default": False},
    ]
    assert status["runtime"] == runtime_name
    kind = "redis" if runtime_name == "gevent" else "sqlite"
    assert status["stores"] == {"sessions": kind, "streams": kind}
