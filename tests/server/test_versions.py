"""Questions asked again at an earlier place, over both doors of the real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.access.signing import SECRET, token
from tests.clients import ask, call, get, resume, text_of
from tests.conftest import StartServer
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

Question = tuple[str, str]
"""The ids of a question and its answer."""
Asker = Callable[..., Question]
MALFORMED = [5, 1.5, True, [], ["a"], {}, "", "a" * 65, "a b", "a\n", "ä", "a/b", "a" * 100_000]


@pytest.fixture(params=["http", "socket"])
def put(request: pytest.FixtureRequest, server: Server) -> Asker:
    """Asks, and reads the answer to its end."""
    socket = Socket(server) if request.param == "socket" else None

    def over_http(message: str, **fields: Any) -> Question:
        following = ask(server, message, **fields)
        done = following.all()[-1].data
        return following.response.headers["X-Question-Id"], done["message_id"]

    def over_socket(message: str, **fields: Any) -> Question:
        assert socket
        said = socket.call("chat_stream", {"message": message, **fields})
        assert said["ok"], said
        return said["question_id"], socket.answer()[-1][1]["message_id"]

    return over_socket if socket else over_http


def refused(server: Server, **fields: Any) -> list[dict[str, Any]]:
    """What both doors say to it."""
    body = {"message": "hello", **fields}
    status, over_http = call(server, "POST", "/api/chat/stream", body)
    over_socket = Socket(server).call("chat_stream", body)
    assert status == over_http["code"]
    assert over_socket["ok"] is False
    return [over_http, over_socket]


def ids(session: dict[str, Any]) -> list[str]:
    return [message["id"] for message in session["messages"]]


def test_an_edited_question_is_another_version_and_the_first_one_stays(put: Asker, server: Server) -> None:
    name = f"edited-{id(put)}"
    path = f"/api/chat/sessions/{name}"
    q1, a1 = put("one", session_id=name)
    q2, a2 = put("two", session_id=name)
    q3, a3 = put("three", session_id=name, parent_id=a1)
    session = get(server, path)
    assert ids(session) == [q1, a1, q3, a3]
    assert [message["parent_id"] for message in session["messages"]] == [None, q1, a1, q3]
    assert "You asked 1 question before this one" in session["messages"][-1]["content"]
    assert session["message_count"] == 6
    q4, a4 = put("four", session_id=name)
    assert "You asked 2 questions before this one" in get(server, path)["messages"][-1]["content"]
    q5, a5 = put("five", session_id=name, parent_id=a2)
    assert ids(get(server, path)) == [q1, a1, q2, a2, q5, a5]
    q6, a6 = put("six", session_id=name, parent_id=None)
    assert ids(get(server, path)) == [q6, a6]
    everything = get(server, f"{path}?versions=all")
    assert ids(everything) == [q1, a1, q2, a2, q3, a3, q4, a4, q5, a5, q6, a6]
    parents = {message["id"]: message["parent_id"] for message in everything["messages"]}
    assert [parents[each] for each in (q1, q2, q3, q4, q5, q6)] == [None, a1, a1, a3, a2, None]
    assert [parents[each] for each in (a1, a2, a3, a4, a5, a6)] == [q1, q2, q3, q4, q5, q6]


def test_exports_are_of_the_newest_version_or_of_all(server: Server) -> None:
    for message in ("the first", "the second"):
        ask(server, message, session_id="export", parent_id=None).all()

    def export(query: str) -> str:
        response = server.pool.request("GET", f"{server.url}/api/chat/sessions/export/export?{query}")
        assert response.status == 200
        return response.data.decode()

    assert export("format=markdown").count("## User") == 1
    assert "the second" in export("")
    assert export("format=markdown&versions=all").count("## User") == 2
    assert len(json.loads(export("format=json"))["messages"]) == 2
    assert len(json.loads(export("format=json&versions=all"))["messages"]) == 4


@pytest.mark.parametrize("path", ["", "/export", "/export?format=json"])
@pytest.mark.parametrize("versions", ["", "1", "ALL", "newest", "all%00"])
def test_versions_are_all_or_not_mentioned(server: Server, path: str, versions: str) -> None:
    call(server, "PATCH", "/api/chat/sessions/asked", {})
    ask(server, "hello", session_id="asked").all()
    query = f"{'&' if '?' in path else '?'}versions={versions}"
    status, said = call(server, "GET", f"/api/chat/sessions/asked{path}{query}")
    assert (status, said["type"]) == (400, "invalid_request")
    assert "versions" in said["error"]


@pytest.mark.parametrize("parent_id", MALFORMED)
def test_a_parent_that_is_no_id_is_refused_by_its_name(server: Server, parent_id: object) -> None:
    for said in refused(server, session_id="refused", parent_id=parent_id):
        assert (said["code"], said["type"]) == (400, "invalid_request")
        assert "'parent_id'" in said["error"]
        assert len(said["error"]) < 200


def test_a_parent_with_a_nul_is_refused(server: Server) -> None:
    for said in refused(server, parent_id="a\x00"):
        assert (said["code"], said["type"]) == (400, "invalid_request")


def test_an_unknown_parent_is_not_found_wherever_it_is_from(server: Server) -> None:
    done = ask(server, "hello", session_id="other").all()[-1].data
    ask(server, "hello", session_id="mine").all()
    for fields in (
        {"session_id": "mine", "parent_id": "unknown"},
        {"session_id": "mine", "parent_id": done["message_id"]},
        {"session_id": "mine", "parent_id": done["stream_id"]},
        {"session_id": "not-yet", "parent_id": done["message_id"]},
        {"parent_id": done["message_id"]},
    ):
        for said in refused(server, **fields):
            assert (said["code"], said["type"]) == (404, "not_found")
            assert said["error"] == "There is no such message in this session"
    assert len(get(server, "/api/chat/sessions/mine")["messages"]) == 2
    assert call(server, "GET", "/api/chat/sessions/not-yet")[0] == 404


def test_anothers_message_is_nobodys_parent(start_server: StartServer) -> None:
    server = start_server(JWT_SECRET=SECRET, DEMO_TOKENS_PER_SECOND="0")
    alice, bob = ({"Authorization": f"Bearer {token(sub=sub)}"} for sub in ("alice", "bob"))
    body = {"message": "hello", "session_id": "same"}
    url = f"{server.url}/api/chat/stream"
    for headers in (alice, bob):
        first = server.pool.request("POST", url, json=body, headers=headers)
        assert first.status == 200
    hers = get(server, "/api/chat/sessions/same", **alice)["messages"][-1]["id"]
    for headers, expected in ((bob, 404), ({}, 404), (alice, 200)):
        sent = {**body, "parent_id": hers}
        assert server.pool.request("POST", url, json=sent, headers=headers).status == expected


def test_a_refused_parent_spends_no_budget_and_leaves_the_session_free(start_server: StartServer) -> None:
    server = start_server(RATE_LIMIT="5/hour", DEMO_TOKENS_PER_SECOND="0")
    url = f"{server.url}/api/chat/stream"
    body = {"message": "hello", "session_id": "s"}
    assert server.pool.request("POST", url, json=body).headers["X-RateLimit-Remaining"] == "4"
    for parent_id, status in (("unknown", 404), ("not an id", 400)):
        response = server.pool.request("POST", url, json={**body, "parent_id": parent_id})
        assert (response.status, response.headers["X-RateLimit-Remaining"]) == (status, "4")
    assert server.pool.request("POST", url, json=body).headers["X-RateLimit-Remaining"] == "3"


def test_a_running_answer_keeps_its_session_busy_and_is_told_with_its_question(server: Server) -> None:
    first = ask(server, "hello", session_id="live").all()[-1].data
    ask(server, "then", session_id="live").all()
    watcher = Socket(server)
    watcher.call("session_join", {"session_id": "live"})
    asked = Socket(server).call(
        "chat_stream",
        {"message": "[[demo hang=2]] again", "session_id": "live", "parent_id": first["message_id"]},
    )
    name, news = watcher.next()
    assert (name, news["live_stream"]["question_id"]) == ("session_updated", asked["question_id"])
    session = get(server, "/api/chat/sessions/live")
    assert session["live_stream"]["question_id"] == asked["question_id"] == ids(session)[-1]
    assert len(ids(session)) == 3
    late = Socket(server).call("session_join", {"session_id": "live"})
    assert late["live_stream"]["question_id"] == asked["question_id"]
    for parent_id in (asked["question_id"], first["message_id"], None, "unknown"):
        for said in refused(server, session_id="live", parent_id=parent_id):
            assert (said["type"], said["stream_id"]) == ("session_busy", asked["stream_id"])
    call(server, "POST", f"/api/chat/streams/{asked['stream_id']}/stop")


def test_whoever_comes_back_is_told_the_question_again(server: Server) -> None:
    following = ask(server, "hello", session_id="back")
    question_id = following.response.headers["X-Question-Id"]
    done = following.all()[-1]
    again = resume(server, following.stream_id)
    assert again.response.headers["X-Question-Id"] == question_id
    assert text_of(again.all()) == done.data["full_response"]
    path = f"/api/chat/streams/{following.stream_id}"
    assert get(server, path, Accept="application/json")["question_id"] == question_id
    resumed = Socket(server).call("chat_resume", {"stream_id": following.stream_id, "after": 0})
    assert resumed["question_id"] == question_id
    assert ids(get(server, "/api/chat/sessions/back")) == [question_id, done.data["message_id"]]


def test_an_answer_outside_any_session_has_no_question_to_be_found(server: Server) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    response = server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body)
    stream_id = response.headers["X-Stream-Id"]
    path = f"/api/chat/streams/{stream_id}"
    assert get(server, path, Accept="application/json")["question_id"] is None
    assert "X-Question-Id" not in resume(server, stream_id).response.headers
    assert Socket(server).call("chat_resume", {"stream_id": stream_id})["question_id"] is None


def test_one_key_is_for_one_parent(server: Server) -> None:
    first = ask(server, "hello", session_id="keys").all()[-1].data
    fields = {"session_id": "keys", "parent_id": first["message_id"]}
    once = ask(server, "again", key="k", **fields)
    once.all()
    assert ask(server, "again", key="k", **fields).stream_id == once.stream_id
    said = Socket(server).call("chat_stream", {"message": "again", "idempotency_key": "k", **fields})
    assert (said["ok"], said["stream_id"]) == (True, once.stream_id)
    for other in ({"parent_id": None}, {"parent_id": "unknown"}, {}):
        body = {"message": "again", "session_id": "keys", **other}
        status, refusal = call(server, "POST", "/api/chat/stream", body, **{"Idempotency-Key": "k"})
        assert (status, refusal["type"]) == (422, "idempotency_mismatch")
    begun = ask(server, "begin", key="null", session_id="keys", parent_id=None)
    begun.all()
    status, _ = call(
        server, "POST", "/api/chat/stream", {"message": "begin", "session_id": "keys"},
        **{"Idempotency-Key": "null"},
    )  # fmt: skip
    assert status == 422, "at the beginning is not after the newest"


def test_a_socket_asks_again_in_its_own_session(server: Server) -> None:
    socket = Socket(server)
    first = socket.call("chat_stream", {"message": "one"})
    socket.answer()
    again = socket.call("chat_stream", {"message": "one, edited", "parent_id": None})
    socket.answer()
    assert again["session_id"] == first["session_id"]
    session = get(server, f"/api/chat/sessions/{first['session_id']}")
    assert (ids(session)[0], session["message_count"]) == (again["question_id"], 4)
