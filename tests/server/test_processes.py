"""One Redis, several processes: whatever is begun on one is seen, taken up and stopped on another."""

from __future__ import annotations

import time
from itertools import count, pairwise
from typing import Any

import pytest
import urllib3

from tests import clients
from tests.access import signing
from tests.clients import ask, call, get, resume
from tests.programs import until
from tests.redises import Redis
from tests.server.processes import (
    HANGS,
    Upstream,
    at_once,
    chunks_of,
    completion,
    completion_again,
    exact,
    look,
    next_of,
    said,
    state,
    tokens_of,
)
from tests.servers import Server
from tests.sockets import Socket
from tests.sockets import text_of as text_on_a_socket

pytestmark = pytest.mark.server

_numbers = count(1)


def question(what: str) -> str:
    """One that was not asked before."""
    return f"{next(_numbers)}. give me {what}"


def as_(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {signing.token(sub=subject)}"}


def test_an_answer_is_taken_up_on_another_process_after_every_number(trio: list[Server]) -> None:
    a, b, c = trio
    size = 40
    following = ask(a, question(f"{size} tokens every 0.01 s"))
    live = [resume(server, following.stream_id) for server in (b, c)]
    exact(following.all(), size)
    for each in live:
        exact(each.all(), size)
    stream_id = following.stream_id
    for after in range(size + 1):
        server = (b, c)[after % 2]
        exact(resume(server, stream_id, after).all(), size, after)
        last = {"Last-Event-ID": f"{stream_id}:{after}"}
        exact(resume(server, stream_id, 7, **last).all(), size, after)
    url = f"{b.url}/api/chat/streams/{stream_id}?after={size + 1}"
    assert b.pool.request("GET", url).status == 204


def test_a_running_answer_is_cut_and_taken_up_on_process_after_process(trio: list[Server]) -> None:
    size, has = 150, 0
    following = ask(trio[0], question(f"{size} tokens every 0.01 s"))
    events = []
    for turn in count():
        taken = following.take(3 + turn % 11)
        events += taken
        has += len(taken)
        if "done" in events[-1].data:
            break
        following = resume(trio[(turn + 1) % 3], following.stream_id, has)
    exact(events, size)
    assert turn > 5


def test_tokens_reach_the_readers_of_other_processes_as_they_are_made(trio: list[Server]) -> None:
    a, b, _ = trio
    size, gap_s = 40, 0.05
    following = ask(a, question(f"{size} tokens every {gap_s} s"))
    next(iter(following))
    seen_s = [time.monotonic() for _ in resume(b, following.stream_id)]
    gaps_s = sorted(late - early for early, late in pairwise(seen_s[1:]))
    assert gaps_s[len(gaps_s) // 2] > gap_s / 4, "one by one, not all together"
    assert gaps_s[-1] < 0.7, "no token waited for the next look"


def test_an_answer_is_stopped_from_another_process(trio: list[Server], scripted: Upstream) -> None:
    a, b, c = trio
    message = question(f"one token {HANGS}")
    following = ask(a, message, session_id="stopped")
    elsewhere = resume(b, following.stream_id)
    for each in (following, elsewhere):
        assert next_of(each)[0].data["token"] == "half"
    began_s = time.monotonic()
    status, stopped = call(c, "POST", f"/api/chat/streams/{following.stream_id}/stop")
    scripted.lets_go_of(message, 5.0)
    closed_s = scripted.requests_of(message)[-1].closed_s
    assert closed_s is not None
    assert closed_s - began_s < 1.0
    assert (status, stopped["state"], stopped["tokens"]) == (200, "stopped", 1)
    assert stopped["upstream_closed_ms"] < 250
    for each in (following, elsewhere):
        [done] = each.all()
        assert (done.data["finish_reason"], done.data["full_response"]) == ("stopped", "half")
    for server in trio:
        assert state(server, following.stream_id)["state"] == "stopped"
        assert call(server, "POST", f"/api/chat/streams/{following.stream_id}/stop") == (200, stopped)
    assert get(b, "/api/chat/sessions/stopped")["messages"][-1]["status"] == "stopped"


def test_the_state_of_an_answer_is_told_by_every_process(trio: list[Server]) -> None:
    a, b, _ = trio
    size = 30
    following = ask(a, question(f"{size} tokens every 0.02 s"), session_id="told")
    events = next_of(following, 5)
    seen = state(b, following.stream_id)
    assert (seen["state"], seen["session_id"]) == ("running", "told")
    assert seen["count"] >= len(events)
    assert seen["text"] == "".join(tokens_of(size)[: seen["count"]])
    following.all()
    for server in trio:
        seen = state(server, following.stream_id)
        assert (seen["state"], seen["count"], seen["text"]) == ("done", size, said(size))


def test_who_is_ahead_of_what_is_stored_is_reset_on_every_process(trio: list[Server]) -> None:
    a, b, _ = trio
    size = 30
    following = ask(a, question(f"{size} tokens every 0.02 s"))
    next_of(following, 3)
    reset, *rest = resume(b, following.stream_id, 900).all()
    assert reset.data["reset"] is True
    has = reset.data["count"]
    assert reset.data["partial"] == "".join(tokens_of(size)[:has])
    exact(rest, size, has)


def test_anothers_answer_is_one_that_never_existed_on_every_process(trio: list[Server]) -> None:
    a, b, _ = trio
    headers = as_("alice")
    body = {"message": question(f"one token {HANGS}"), "session_id": "own"}
    status = a.pool.request(
        "POST", f"{a.url}/api/chat/stream", json=body, headers=headers, preload_content=False
    )
    stream_id = status.headers["X-Stream-Id"]

    def refusals(server: Server, named: str) -> list[Any]:
        path = f"/api/chat/streams/{named}"
        answers = [
            call(server, method, where, **as_("bob"))
            for method, where in (("GET", path), ("POST", f"{path}/stop"))
        ]
        return [(code, {**body, "request_id": None}) for code, body in answers]

    for server in (a, b):
        assert refusals(server, stream_id) == refusals(server, "f" * 32)
        assert refusals(server, stream_id)[0][0] == 404
    assert look(b, stream_id).status == 404, "nor to those without a name"
    assert state(b, stream_id, **headers)["state"] == "running"
    assert call(b, "GET", "/api/chat/sessions/own", **as_("bob"))[0] == 404
    assert call(b, "POST", f"/api/chat/streams/{stream_id}/stop", **headers)[0] == 200
    status.close()


@pytest.mark.parametrize("turn", range(5))
def test_of_two_processes_asked_at_once_in_one_session_one_answers(trio: list[Server], turn: int) -> None:
    a, b, c = trio
    body = {"message": question("30 tokens every 0.01 s"), "session_id": f"once{turn}"}

    def asked(server: Server) -> urllib3.BaseHTTPResponse:
        url = f"{server.url}/api/chat/stream"
        return server.pool.request("POST", url, json=body, preload_content=False)

    answers = at_once(asked, (a, b, a, b))
    assert sorted(each.status for each in answers) == [200, 409, 409, 409]
    [stream_id] = {each.headers["X-Stream-Id"] for each in answers if each.status == 200}
    for refused in (each.json() for each in answers if each.status == 409):
        assert (refused["type"], refused["stream_id"]) == ("session_busy", stream_id)
    live = get(c, f"/api/chat/sessions/once{turn}")["live_stream"]
    assert live["stream_id"] == stream_id
    exact(resume(c, stream_id).all(), 30)
    for each in answers:
        each.close()


def test_a_running_answer_is_seen_in_its_session_and_its_end_frees_the_session_everywhere(
    trio: list[Server],
) -> None:
    a, b, _ = trio
    for _ in range(5):
        following = ask(a, question("25 tokens every 0.01 s"), session_id="freed")
        next_of(following, 3)
        live = get(b, "/api/chat/sessions/freed")["live_stream"]
        assert (live["stream_id"], live["count"] >= 3) == (following.stream_id, True)
        exact(resume(b, following.stream_id).all(), 25)
        session = get(b, "/api/chat/sessions/freed")
        assert session["live_stream"] is None
        assert session["messages"][-1]["content"] == said(25)
        a, b = b, a


def test_deleting_a_session_on_another_process_stops_its_answer(
    trio: list[Server], scripted: Upstream
) -> None:
    a, b, c = trio
    message = question(f"one token {HANGS}")
    following = ask(a, message, session_id="gone")
    next_of(following)
    assert call(b, "DELETE", "/api/chat/sessions/gone") == (200, {"deleted": True, "session_id": "gone"})
    scripted.lets_go_of(message, 5.0)
    [done] = following.all()
    assert done.data["finish_reason"] == "stopped"
    for server in trio:
        assert call(server, "GET", "/api/chat/sessions/gone")[0] == 404
        assert look(server, following.stream_id).status in (404, 410)
    assert call(c, "DELETE", "/api/chat/sessions/gone")[0] == 404


@pytest.mark.parametrize("session_id", ["keyed", None])
def test_a_key_sent_to_all_processes_at_once_and_again_begins_one_answer(
    trio: list[Server], scripted: Upstream, session_id: str | None
) -> None:
    """Before, during and after."""

    def sent(server: Server) -> clients.Following:
        return ask(server, message, key, **fields)

    size, message, key = 40, question("40 tokens every 0.01 s"), f"key of {session_id}"
    fields = {} if session_id is None else {"session_id": session_id}
    first = at_once(sent, trio * 8)
    [stream_id] = {each.stream_id for each in first}
    during = [sent(server) for server in trio]
    for each in [*first, *during]:
        exact(each.all(), size)
    after = at_once(sent, trio * 2)
    for each in after:
        exact(each.all(), size)
    assert {each.stream_id for each in [*during, *after]} == {stream_id}
    assert scripted.calls_of(message) == 1
    for server in trio:
        body = {"message": f"not {message}", **fields}
        status, refused = call(server, "POST", "/api/chat/stream", body, **{"Idempotency-Key": key})
        assert (status, refused["type"]) == (422, "idempotency_mismatch")


def test_a_completion_with_a_key_is_made_once_and_taken_up_by_its_id_anywhere(
    trio: list[Server], scripted: Upstream
) -> None:
    _, b, c = trio
    message = question("30 tokens every 0.01 s")
    headers = {"X-Stream-Resume": "1", "Idempotency-Key": "completion"}
    answers = at_once(lambda server: completion(server, message, **headers), trio * 4)
    [stream_id] = {each.headers["X-Stream-Id"] for each in answers}
    read = [chunks_of(each) for each in answers]
    assert {(text, done) for _, text, done in read} == {(said(30), True)}
    ids = read[0][0]
    assert scripted.calls_of(message) == 1
    for at in range(0, len(ids), 7):
        rest, text, done = chunks_of(completion_again(b, stream_id, ids[at]))
        assert (rest, done) == (ids[at + 1 :], True)
        assert said(30).endswith(text)
    other = {"Idempotency-Key": "completion"}
    assert completion(c, "another: 3 tokens", **other).status == 422


def test_a_key_in_sockets_of_all_processes_and_over_http_begins_one_answer(
    trio: list[Server], scripted: Upstream
) -> None:
    a, b, c = trio
    message = question("40 tokens every 0.01 s")
    asked = {"message": message, "session_id": "sockets", "idempotency_key": "s"}
    sockets = [Socket(server) for server in (a, b, c, b)]
    joined = at_once(lambda socket: socket.call("chat_stream", asked), sockets)
    [stream_id] = {each["stream_id"] for each in joined}
    over_http = ask(c, message, "s", session_id="sockets", partial=False)
    assert over_http.stream_id == stream_id
    for socket in sockets:
        assert text_on_a_socket(socket.answer()) == said(40)
    exact(over_http.all(), 40)
    refused = Socket(a).call("chat_stream", {**asked, "message": "another"})
    assert (refused["ok"], refused["code"]) == (False, 422)
    assert scripted.calls_of(message) == 1


def test_the_connections_to_redis_are_three_a_process_however_many_answers(
    trio: list[Server], redis_server: Redis
) -> None:
    a, b, c = trio

    def connections() -> int:
        return int(redis_server.info("clients")["connected_clients"]) - 1  # ours

    for server in trio:  # each is made when it is first used
        ask(server, question("1 tokens")).all()
    until(lambda: connections() == 3 * len(trio), "three each")
    message = question("40 tokens every 0.03 s")
    followings = [ask(server, message) for server in (a, b) for _ in range(45)]
    elsewhere = [resume(c, each.stream_id) for each in followings[::2]]
    assert connections() == 3 * len(trio)
    for each in [*followings, *elsewhere]:
        exact(each.all(), 40)
    assert connections() == 3 * len(trio)
