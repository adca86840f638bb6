"""Chat over Socket.IO, on the real server's sockets."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import clients
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer, chunk, head, stall
from tests.server.test_chat import with_upstream
from tests.servers import PATIENCE_S, Server
from tests.sockets import Socket, text_of

pytestmark = pytest.mark.server


def test_an_answer_comes_with_the_events_the_contract_gives(server: Server) -> None:
    socket = Socket(server)
    acknowledged = socket.call("chat_stream", {"message": "Say hello", "session_id": "socket"})
    assert set(acknowledged) == {"ok", "stream_id", "session_id", "question_id"}
    assert (acknowledged["ok"], acknowledged["session_id"]) == (True, "socket")
    ids = {"stream_id": acknowledged["stream_id"], "session_id": "socket"}
    *tokens, (last, complete) = socket.answer()
    counts = [data["count"] for _, data in tokens]
    assert counts == sorted(set(counts)), "each once, in order"
    for name, data in tokens:
        assert name == "chat_token"
        assert data == {"token": data["token"], "count": data["count"], **ids}
    assert last == "chat_complete"
    assert set(complete) == {
        "tokens", "duration", "tokens_per_second", "ttft_ms", "full_response", "session_id", "stream_id",
        "message_id", "model", "finish_reason", "usage", "timestamp",
    }  # fmt: skip
    assert complete["full_response"] == text_of(tokens)
    assert complete["tokens"] == counts[-1]


def test_the_acknowledgement_comes_before_the_first_token(server: Server) -> None:
    socket = Socket(server)
    for _ in range(20):
        socket.call("chat_stream", {"message": "Say hello"})
        assert not socket.heard, "tokens came first"
        socket.answer()


def test_a_bare_client_has_a_conversation(server: Server) -> None:
    """It only emits `chat_stream {message}` and appends tokens."""
    socket, other = Socket(server), Socket(server)
    for client in (socket, other, socket):
        client.emit("chat_stream", {"message": "Say hello"})
        assert text_of(client.answer())
    session_id = socket.call("chat_stream", {"message": "And again"})["session_id"]
    socket.answer()
    session = clients.get(server, f"/api/chat/sessions/{session_id}")
    assert [message["content"] for message in session["messages"] if message["role"] == "user"] == [
        "Say hello",
        "Say hello",
        "And again",
    ]


def test_the_text_so_far_comes_when_asked_for(server: Server) -> None:
    socket = Socket(server)
    socket.call("chat_stream", {"message": "Say hello", "partial": True})
    said = ""
    for name, data in socket.answer():
        if name == "chat_token":
            said += data["token"]
            assert data["partial"] == said


def test_an_answer_is_taken_up_after_any_count_as_over_http(server: Server) -> None:
    following = clients.ask(server, "Say hello [[demo tokens=60]]")
    events = following.all()
    for after in range(61):
        socket = Socket(server)
        assert socket.call("chat_resume", {"stream_id": following.stream_id, "after": after})["ok"]
        assert text_of(socket.answer()) == clients.text_of(events[after:])
        socket.close()
    socket = Socket(server)
    assert socket.call("chat_resume", {"stream_id": following.stream_id, "after": 61})["ok"]
    socket.call("chat_stop", {"stream_id": following.stream_id})
    assert not socket.heard, "nothing comes after the closing"


def test_who_is_ahead_of_what_is_stored_is_reset(server: Server) -> None:
    following = clients.ask(server, "Say hello [[demo tokens=5]]")
    text = clients.text_of(following.all())
    socket = Socket(server)
    socket.call("chat_resume", {"stream_id": following.stream_id, "after": 900})
    reset, complete = socket.answer()
    assert reset[0] == "chat_reset"
    assert (reset[1]["partial"], reset[1]["count"]) == (text, 5)
    assert reset[1]["stream_id"] == following.stream_id
    assert complete[0] == "chat_complete"


def test_an_answer_is_stopped_from_another_socket(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        asker, stopper = Socket(server), Socket(server)
        stream_id = asker.call("chat_stream", {"message": "go"})["stream_id"]
        asker.until("chat_token")
        stopped = stopper.call("chat_stop", {"stream_id": stream_id})
        assert stopped == {**stopped, "ok": True, "stream_id": stream_id, "state": "stopped", "tokens": 1}
        assert stopped["upstream_closed_ms"] is not None
        upstream.closed_within(5.0)
        *_, (name, complete) = asker.answer()
        assert (name, complete["finish_reason"]) == ("chat_complete", "stopped")
        assert stopper.call("chat_stop", {"stream_id": stream_id}) == stopped


@pytest.mark.any_runtime
def test_a_question_that_could_not_be_followed_is_not_asked(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream, MAX_FOLLOWED_PER_SOCKET="2")
        socket = Socket(server)
        for session_id in ("a", "b"):
            assert socket.call("chat_stream", {"message": "go", "session_id": session_id})["ok"]
        refused = socket.call("chat_stream", {"message": "go", "session_id": "c"})
        assert (refused["ok"], refused["code"]) == (False, 400)
        assert clients.call(server, "GET", "/api/chat/sessions/c")[0] == 404
        upstream.asked(2)
        assert upstream.calls == 2


@pytest.mark.any_runtime
def test_a_lost_acknowledgement_costs_nothing(start_server: StartServer) -> None:
    """A bare client asks again with its key, on another connection."""
    with FakeUpstream(answer(20, gap_s=0.01)) as upstream:
        server = with_upstream(start_server, upstream)
        first = Socket(server)
        asked = {"message": "go", "idempotency_key": "k", "temperature": None}
        joined = first.call("chat_stream", asked)
        first.drop()
        second = Socket(server)
        assert second.call("chat_stream", {**asked, "partial": False}) == joined
        assert text_of(second.answer()) == "".join(f"t{n} " for n in range(20))
        again = second.call("chat_stream", {"message": "go on"})
        assert again["session_id"] == joined["session_id"], "it goes on in the session it came back to"
        upstream.asked(2)
        assert upstream.calls == 2


def test_a_failed_answer_ends_with_its_error(server: Server) -> None:
    socket = Socket(server)
    ids = socket.call("chat_stream", {"message": "go [[demo fail=3]]"})
    *tokens, (name, error) = socket.answer()
    assert name == "chat_stream_error"
    assert (error["type"], error["code"]) == ("upstream_error", 502)
    assert (error["stream_id"], error["session_id"]) == (ids["stream_id"], ids["session_id"])
    assert len(text_of(tokens)) > 0


@pytest.mark.parametrize(
    ("event", "payload", "code", "kind"),
    [
        ("chat_stream", ({"message": " "},), 400, "invalid_request"),
        ("chat_stream", ({"message": "x", "massage": "y"},), 400, "invalid_request"),
        ("chat_stream", ({"message": "x", "model": "none"},), 404, "model_not_found"),
        ("chat_stream", ({"message": "x", "session_id": "../"},), 400, "invalid_request"),
        ("chat_stream", ({"message": "x", "idempotency_key": "k" * 256},), 400, "invalid_request"),
        ("chat_stream", ({"message": "\x00"},), 400, "invalid_request"),
        ("chat_stream", ([1],), 400, "invalid_request"),
        ("chat_stream", (7,), 400, "invalid_request"),
        ("chat_stream", (None,), 400, "invalid_request"),
        ("chat_stream", ("text",), 400, "invalid_request"),
        ("chat_stream", ({"message": "x"}, {"message": "y"}), 400, "invalid_request"),
        ("chat_stream", (), 400, "invalid_request"),
        ("chat_resume", ({"stream_id": "nothing"},), 404, "not_found"),
        ("chat_resume", ({"stream_id": "nothing", "after": -1},), 400, "invalid_request"),
        ("chat_stop", ({"stream_id": "nothing"},), 404, "not_found"),
        ("session_join", ({"session_id": "nothing"},), 404, "not_found"),
        ("session_leave", ({},), 400, "invalid_request"),
        ("chat_strem", ({"message": "x"},), 404, "not_found"),
    ],
)
def test_a_refusal_is_the_acknowledgement_and_an_event(
    server: Server, event: str, payload: tuple[object, ...], code: int, kind: str
) -> None:
    socket = Socket(server)
    refused = socket.call(event, *payload)
    assert (refused["ok"], refused["code"], refused["type"]) == (False, code, kind)
    name, error = socket.next()
    assert name == "chat_stream_error"
    assert error == refused
    assert socket.call("chat_stream", {"message": "Say hello"})["ok"], "the connection goes on"


def test_a_busy_session_is_refused_with_its_stream(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        socket = Socket(server)
        running = socket.call("chat_stream", {"message": "go", "session_id": "s"})
        socket.until("chat_token")
        refused = socket.call("chat_stream", {"message": "go", "session_id": "s"})
        assert (refused["type"], refused["stream_id"]) == ("session_busy", running["stream_id"])
        upstream.asked()
        assert upstream.calls == 1


def test_the_same_key_joins_whichever_door_it_comes_through(start_server: StartServer) -> None:
    with FakeUpstream(answer(20, gap_s=0.01)) as upstream:
        server = with_upstream(start_server, upstream)
        body = {"message": "go", "session_id": "s"}
        socket = Socket(server)
        first = socket.call("chat_stream", {**body, "idempotency_key": "k"})
        again = Socket(server)
        assert again.call("chat_stream", {**body, "idempotency_key": "k"}) == first
        over_http = clients.Following(
            server,
            server.pool.request(
                "POST", f"{server.url}/api/chat/stream", json=body, headers={"Idempotency-Key": "k"},
                preload_content=False,
            ),
        )  # fmt: skip
        assert over_http.stream_id == first["stream_id"]
        texts = {text_of(socket.answer()), text_of(again.answer()), clients.text_of(over_http.all())}
        assert texts == {"".join(f"t{n} " for n in range(20))}
        refused = again.call("chat_stream", {**body, "message": "other", "idempotency_key": "k"})
        assert refused["type"] == "idempotency_mismatch"
        assert upstream.calls == 1


def test_a_joined_session_is_heard_whoever_asks_in_it_and_through_whichever_door(server: Server) -> None:
    clients.ask(server, "first", session_id="shared").all()
    watcher, asker = Socket(server), Socket(server)
    assert watcher.call("session_join", {"session_id": "shared"}) == {"ok": True, "live_stream": None}
    for over_http in (True, False):
        if over_http:
            following = clients.ask(server, "Say hello", session_id="shared")
            stream_id, text = following.stream_id, clients.text_of(following.all())
        else:
            stream_id = asker.call("chat_stream", {"message": "Say hello", "session_id": "shared"})[
                "stream_id"
            ]
            text = text_of(asker.answer())
        news, *events = watcher.answer()
        assert news[0] == "session_updated"
        assert (news[1]["change"], news[1]["live_stream"]["stream_id"]) == ("message", stream_id)
        assert text_of(events) == text
        ended = {"session_id": "shared", "change": "message", "live_stream": None}
        assert watcher.next() == ("session_updated", ended)
    assert clients.call(server, "PATCH", "/api/chat/sessions/shared", {"title": "Named"})[0] == 200
    assert watcher.next()[1]["change"] == "title"
    assert clients.call(server, "DELETE", "/api/chat/sessions/shared")[0] == 200
    assert watcher.next()[1]["change"] == "deleted"
    assert not asker.heard, "who has not joined hears only what they asked for"


def test_who_has_left_a_session_hears_no_more_of_it(server: Server) -> None:
    clients.ask(server, "first", session_id="left").all()
    watcher = Socket(server)
    watcher.call("session_join", {"session_id": "left"})
    assert watcher.call("session_leave", {"session_id": "left"}) == {"ok": True, "session_id": "left"}
    clients.ask(server, "second", session_id="left").all()
    watcher.call("session_leave", {"session_id": "left"})
    assert not watcher.heard


def test_who_joins_and_resumes_at_once_gets_each_event_once_and_in_order(start_server: StartServer) -> None:
    with FakeUpstream(answer(600, gap_s=0.002)) as upstream:
        server = with_upstream(start_server, upstream)
        following = clients.ask(server, "go", session_id="s")
        for event in following:
            if event.number == 200:
                break
        for resume_first in (False, True):
            socket = Socket(server)
            events = [
                ("session_join", {"session_id": "s"}),
                ("chat_resume", {"stream_id": following.stream_id, "after": 10}),
                ("chat_resume", {"stream_id": following.stream_id, "after": 100}),
            ]
            for name, payload in [*events[1:], events[0]] if resume_first else events:
                socket.emit(name, payload)
            heard = socket.answer()
            names = [name for name, _ in heard]
            assert names == ["chat_token"] * (len(names) - 1) + ["chat_complete"]
            counts = [data["count"] for name, data in heard if name == "chat_token"]
            assert counts == sorted(set(counts))
            assert text_of(heard) == "".join(f"t{n} " for n in range(10, 600))
        following.drop()


def test_who_asks_late_for_what_came_before_is_told_the_whole_text_and_goes_on(
    start_server: StartServer,
) -> None:
    with FakeUpstream(answer(300, gap_s=0.005)) as upstream:
        server = with_upstream(start_server, upstream)
        following = clients.ask(server, "go", session_id="s")
        for event in following:
            if event.number == 100:
                break
        socket = Socket(server)
        socket.call("session_join", {"session_id": "s"})
        socket.until("chat_token")
        asked = {"stream_id": following.stream_id, "after": 0, "partial": True}
        for _ in range(3):
            assert socket.call("chat_resume", asked)["ok"]
        said, resets, partials = "", 0, 0
        for name, data in socket.answer():
            if name == "chat_reset":
                said, resets = data["partial"], resets + 1
            elif name == "chat_token":
                partials += data.get("partial") is not None
                said += data["token"]
        assert resets == 1
        assert said == "".join(f"t{n} " for n in range(300))
        assert partials, "asked for, it comes from then on"
        following.drop()


def test_a_running_answer_is_joined_from_where_it_is(start_server: StartServer) -> None:
    with FakeUpstream(answer(100, gap_s=0.005)) as upstream:
        server = with_upstream(start_server, upstream)
        following = clients.ask(server, "go", session_id="s")
        next(iter(following))
        socket = Socket(server)
        count = socket.call("session_join", {"session_id": "s"})["live_stream"]["count"]
        events = socket.answer()
        assert text_of(events) == "".join(f"t{n} " for n in range(count, 100))
        following.drop()


def test_followers_in_a_room_keep_an_answer_alive(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream, DETACH_GRACE="0.5")
        following = clients.ask(server, "go", session_id="s")
        next(iter(following))
        watcher = Socket(server)
        watcher.call("session_join", {"session_id": "s"})
        following.drop()
        time.sleep(2.5)  # five times the grace: nothing must happen
        assert (
            clients.get(server, f"/api/chat/streams/{following.stream_id}", Accept="application/json")[
                "state"
            ]
            == "running"
        )
        watcher.close()
        upstream.closed_within(15.0)


def test_sockets_and_http_see_each_token_as_it_is_made(start_server: StartServer) -> None:
    """The upstream makes the next token only when both readers have had the one before."""
    had = threading.Semaphore(0)

    def wait_for_readers(_peer: object) -> None:
        for _ in range(2):
            assert had.acquire(timeout=PATIENCE_S), "a token did not reach its readers"

    steps = [head()]
    for n in range(20):
        steps += [chunk(f"t{n} "), wait_for_readers]
    with FakeUpstream([*steps, stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        socket = Socket(server)
        stream_id = socket.call("chat_stream", {"message": "go"})["stream_id"]

        def read_socket() -> None:
            for _ in range(20):
                assert socket.next()[0] == "chat_token"
                had.release()

        def read_http() -> None:
            following = clients.resume(server, stream_id)
            for _, _event in zip(range(20), following, strict=False):
                had.release()
            following.drop()

        with ThreadPoolExecutor() as pool:
            for reading in [pool.submit(read_socket), pool.submit(read_http)]:
                reading.result()


def test_a_stop_is_seen_by_everybody_who_follows(start_server: StartServer) -> None:
    with FakeUpstream([head(), chunk("a"), stall()]) as upstream:
        server = with_upstream(start_server, upstream)
        sockets = [Socket(server) for _ in range(10)]
        stream_id = sockets[0].call("chat_stream", {"message": "go"})["stream_id"]
        for other in sockets[1:]:
            other.call("chat_resume", {"stream_id": stream_id})
        assert sockets[0].next()[0] == "chat_token", "there is something to stop"
        assert clients.call(server, "POST", f"/api/chat/streams/{stream_id}/stop")[0] == 200
        for each in sockets:
            *_, (name, complete) = each.answer()
            assert (name, complete["finish_reason"], complete["full_response"]) == (
                "chat_complete",
                "stopped",
                "a",
            )


def test_on_sigterm_who_follows_is_served_to_the_end_and_then_all_are_sent_away(
    start_server: StartServer,
) -> None:
    with FakeUpstream(answer(200, gap_s=0.02)) as upstream:
        server = with_upstream(start_server, upstream)
        idle, follower = Socket(server), Socket(server)
        follower.call("chat_stream", {"message": "go"})
        follower.until("chat_token")
        ending = threading.Thread(target=server.stop)
        ending.start()
        *_, (name, draining), _disconnect = idle.until("disconnect")
        assert name == "server_draining"
        assert 0 < draining["reconnect_in_ms"] <= 60_000
        late = Socket(server)
        assert late.call("chat_stream", {"message": "go"})["type"] == "unavailable"
        events = follower.until("disconnect")
        assert text_of(events).endswith("t199 ")
        assert [name for name, _ in events if name != "chat_token"] == [
            "chat_complete",
            "server_draining",
            "disconnect",
        ]
        ending.join(PATIENCE_S)
        assert server.process.returncode == 0


def test_polling_clients_are_served_as_well(start_server: StartServer) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0")
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    opened = server.pool.request("GET", url).data.decode()
    found = re.search(r'"sid":"([^"]+)"', opened)
    assert found
    url += f"&sid={found[1]}"
    assert server.pool.request("POST", url, body="40").data == b"OK"
    packets: list[str] = []
    server.pool.request("POST", url, body='421["chat_stream",{"message":"Say hello"}]')
    while not any("chat_complete" in packet for packet in packets):
        packets += server.pool.request("GET", url).data.decode().split("\x1e")
    assert any(packet.startswith("431[") for packet in packets), "the acknowledgement"
