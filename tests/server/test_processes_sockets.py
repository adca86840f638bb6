"""Sockets on one process hear of answers that are begun and given on others."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.clients import ask, call, get, resume
from tests.programs import until
from tests.server.processes import HANGS, Upstream, exact, next_of, said
from tests.servers import Server
from tests.sockets import Event, Socket, text_of

pytestmark = pytest.mark.server

_numbers = count(1)


def question(what: str) -> str:
    """One that was not asked before."""
    return f"socket {next(_numbers)}. give me {what}"


def member_of(server: Server, session_id: str) -> Socket:
    """A socket that has joined the session."""
    socket = Socket(server)
    joined = socket.call("session_join", {"session_id": session_id})
    assert joined["ok"], joined
    return socket


def whole(events: list[Event], size: int) -> None:
    """They are one answer's tokens, each once and in order, and its end."""
    *tokens, (name, complete) = events
    assert {name for name, _ in tokens} == {"chat_token"}
    counts = [data["count"] for _, data in tokens]
    assert counts == sorted(set(counts)), "each once, in order"
    assert text_of(tokens) == said(size)
    assert (name, complete["full_response"], complete["tokens"]) == ("chat_complete", said(size), size)


def test_a_member_hears_of_a_question_that_is_asked_on_another_process(trio: list[Server]) -> None:
    a, b, c = trio
    ask(a, question("1 tokens"), session_id="room").all()
    members = [member_of(server, "room") for server in (a, b, b, c)]
    for asked_on in trio:
        following = ask(asked_on, question("40 tokens every 0.01 s"), session_id="room")
        for member in members:
            name, begun = member.next()
            assert (name, begun["change"]) == ("session_updated", "message")
            assert begun["live_stream"]["stream_id"] == following.stream_id
            events = member.until("session_updated")
            whole(events[:-1], 40)
            assert events[-1][1] == {**begun, "live_stream": None}, "the news of the end comes after the end"
        exact(following.all(), 40)
    for member in members:
        assert not member.heard


def test_a_member_hears_of_one_that_is_asked_over_a_socket_elsewhere(trio: list[Server]) -> None:
    a, b, _ = trio
    asker = Socket(a)
    session_id = asker.call("chat_stream", {"message": question("1 tokens")})["session_id"]
    asker.answer()
    member = member_of(b, session_id)
    asker.call("chat_stream", {"message": question("30 tokens every 0.01 s"), "session_id": session_id})
    whole(asker.answer(), 30)
    assert member.next()[0] == "session_updated"
    whole(member.answer(), 30)


def test_who_joins_in_mid_answer_gets_the_rest_and_the_news(trio: list[Server]) -> None:
    a, b, _ = trio
    following = ask(a, question("80 tokens every 0.01 s"), session_id="late")
    next_of(following, 10)
    socket = Socket(b)
    joined = socket.call("session_join", {"session_id": "late"})
    live = joined["live_stream"]
    assert live["stream_id"] == following.stream_id
    events = socket.answer()
    assert events[0][1]["count"] > live["count"]
    rest = text_of(events)
    assert said(80).endswith(rest)
    assert rest.startswith(f"{live['count']}:"), "from the next token on"
    assert socket.next()[1]["change"] == "message"


def test_a_member_is_told_of_a_new_title_and_of_the_end_of_the_session(trio: list[Server]) -> None:
    a, b, c = trio
    session_id = call(a, "POST", "/api/chat/sessions", {"title": "first"})[1]["session_id"]
    members = [member_of(server, session_id) for server in trio]
    path = f"/api/chat/sessions/{session_id}"
    assert call(b, "PATCH", path, {"title": "second"})[0] == 200
    assert get(c, path)["title"] == "second"
    assert call(c, "DELETE", path)[0] == 200
    for member in members:
        for change in ("title", "deleted"):
            assert member.next() == (
                "session_updated",
                {"session_id": session_id, "change": change, "live_stream": None},
            )


def test_who_has_left_a_session_hears_no_more_of_it(trio: list[Server]) -> None:
    a, b, _ = trio
    ask(a, question("1 tokens"), session_id="left").all()
    stays, leaves = member_of(b, "left"), member_of(b, "left")
    assert leaves.call("session_leave", {"session_id": "left"})["ok"]
    ask(a, question("5 tokens"), session_id="left").all()
    stays.answer()
    leaves.call("session_leave", {"session_id": "left"})
    assert not leaves.heard


def test_a_socket_that_comes_back_to_another_process_goes_on_at_the_right_token(trio: list[Server]) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    size = 200
    stream_id = Socket(trio[0]).call("chat_stream", {"message": question(f"{size} tokens every 0.01 s")})[
        "stream_id"
    ]

    def walk(dice: random.Random) -> None:
        text, after, ended = "", 0, False
        while not ended:
            socket = Socket(dice.choice(trio))
            resumed = socket.call("chat_resume", {"stream_id": stream_id, "after": after})
            assert resumed["ok"], resumed
            for _ in range(dice.randint(1, 25)):
                name, data = socket.next()
                if name == "chat_complete":
                    ended = True
                    break
                assert (name, data["count"] > after) == ("chat_token", True)
                text, after = text + data["token"], data["count"]
            dice.choice((socket.drop, socket.close))()
        assert text == said(size)

    with ThreadPoolExecutor(6) as pool:
        for walked in [pool.submit(walk, random.Random(seed + n)) for n in range(6)]:
            walked.result()


def test_an_answer_is_stopped_by_a_socket_of_another_process(trio: list[Server], scripted: Upstream) -> None:
    a, b, c = trio
    message = question(f"one token {HANGS}")
    asker, stopper = Socket(a), Socket(c)
    stream_id = asker.call("chat_stream", {"message": message, "session_id": "halted"})["stream_id"]
    asker.until("chat_token")
    member = member_of(b, "halted")
    stopped = stopper.call("chat_stop", {"stream_id": stream_id})
    assert (stopped["ok"], stopped["state"], stopped["tokens"]) == (True, "stopped", 1)
    scripted.lets_go_of(message, 5.0)
    for socket in (asker, member):
        [(name, complete)] = [each for each in socket.answer() if each[0] != "chat_token"]
        assert (name, complete["finish_reason"]) == ("chat_complete", "stopped")


def test_an_answer_that_only_sockets_elsewhere_follow_is_heard_to_its_end_there(trio: list[Server]) -> None:
    """The one it was asked of has lost its line."""
    a, b, _ = trio
    ask(a, question("1 tokens"), session_id="heard").all()
    member = member_of(b, "heard")
    following = ask(a, question("60 tokens every 0.01 s"), session_id="heard")
    following.take(3)
    assert member.next()[0] == "session_updated"
    whole(member.answer(), 60)
    exact(resume(b, following.stream_id).all(), 60)
    until(lambda: get(b, "/api/chat/sessions/heard")["live_stream"] is None, "it has ended")
