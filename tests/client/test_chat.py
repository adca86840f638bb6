"""Asking, reading and keeping conversations, with the real server."""

from __future__ import annotations

import json
import re

import pytest

from parley_client import (
    NEWEST,
    Done,
    ModelNotFound,
    NotFound,
    SessionBusy,
    Token,
    Unauthorized,
    UpstreamError,
)
from parley_client.errors import IdempotencyMismatch, InvalidRequest
from tests.access.signing import SECRET, token
from tests.client.twins import Connect
from tests.conftest import StartServer
from tests.servers import Server

pytestmark = pytest.mark.server


def test_an_answer_comes_piece_by_piece_and_ends_with_what_it_was(connect: Connect, server: Server) -> None:
    stream = connect(server.url).stream_chat("[[demo tokens=9]] Say hello", "typed", model="demo")
    *tokens, done = list(stream)
    assert all(isinstance(token, Token) for token in tokens)
    assert [token.count for token in tokens] == list(range(1, 10))
    assert isinstance(done, Done)
    assert "".join(token.token for token in tokens) == stream.text == done.full_response
    assert (stream.stream_id, stream.session_id, stream.done) == (done.stream_id, "typed", done)
    assert done.usage
    assert done.usage.completion_tokens == done["usage"]["completion_tokens"] > 0
    assert done.finish_reason == done["finish_reason"] == "stop"


def test_a_whole_answer_can_be_waited_for(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    done = client.stream_chat("[[demo tokens=5]] Say hello").read()
    assert done.tokens == 5
    assert client.stream_state(done.stream_id).text == done.full_response


def test_sessions_are_made_read_renamed_exported_and_deleted(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    sessions = client.sessions
    made = sessions.create("Mine", system="be kind")
    assert (made.title, made["system"], made.messages) == ("Mine", "be kind", [])
    client.stream_chat("[[demo tokens=5]] Say hello", made.session_id).read()
    assert sessions.rename(made.session_id, "Yours").title == "Yours"
    assert sessions.update(made.session_id, system=None).system is None
    question, answer = sessions.messages(made.session_id)
    assert (question.role, answer.role, answer.status, answer.tokens) == ("user", "assistant", "done", 5)
    assert answer.content in sessions.export(made.session_id)
    assert json.loads(sessions.export(made.session_id, format="json"))["title"] == "Yours"
    assert sessions.delete(made.session_id).deleted
    with pytest.raises(NotFound) as refused:
        sessions.get(made.session_id)
    assert (refused.value.status, refused.value.type) == (404, "not_found")
    assert refused.value.request_id
    with pytest.raises(NotFound):
        sessions.delete(made.session_id)


def test_questions_are_edited_and_every_version_is_read(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    sessions = client.sessions
    name = sessions.create().session_id
    first = client.stream_chat("one", name)
    first.read()
    second = client.stream_chat("two", name)
    second.read()
    edited = client.stream_chat("two, edited", name, parent_id=first.done.message_id)
    edited.read()
    path = [first.question_id, first.done.message_id, edited.question_id, edited.done.message_id]
    assert [message.id for message in sessions.messages(name)] == path
    assert [message.parent_id for message in sessions.get(name).messages] == [None, *path[:-1]]
    everything = sessions.messages(name, versions="all")
    assert [message.id for message in everything[2:4]] == [second.question_id, second.done.message_id]
    begun = client.stream_chat("one, edited", name, parent_id=None)
    begun.read()
    assert [message.parent_id for message in sessions.messages(name)] == [None, begun.question_id]
    assert client.stream_state(begun.stream_id).question_id == begun.question_id
    assert "two, edited" not in sessions.export(name)
    assert "version" not in sessions.export(name)
    exported = re.findall(r"^## (.*)\n\n.*\n\n(.*)", sessions.export(name, versions="all"), flags=re.M)
    asked = [(heading, text) for heading, text in exported if not heading.startswith("Assistant")]
    assert asked == [
        ("User, version 1 of 2", "one"), ("User, version 1 of 2", "two"),
        ("User, version 2 of 2", "two, edited"), ("User, version 2 of 2", "one, edited"),
    ]  # fmt: skip
    client.stream_chat("on", name, parent_id=NEWEST).read()
    assert len(sessions.messages(name)) == 4
    with pytest.raises(NotFound):
        client.stream_chat("two", name, parent_id="unknown").read()
    running = client.stream_chat("[[demo hang=1]] three", name)
    next(running)
    assert sessions.get(name).live_stream.question_id == running.question_id
    running.stop()


def test_a_signed_in_caller_lists_its_sessions_page_by_page(
    connect: Connect, start_server: StartServer
) -> None:
    server = start_server(AUTH="required", JWT_SECRET=SECRET)
    with pytest.raises(Unauthorized):
        connect(server.url).sessions.list()
    with pytest.raises(Unauthorized):
        connect(server.url, "not a token").sessions.list()
    client = connect(server.url, token(sub="alice"))
    made = [client.sessions.create(f"Number {number}").session_id for number in range(5)]
    page = client.sessions.list(limit=2)
    assert [session.session_id for session in page.sessions] == made[:2:-1]
    assert page.next_cursor
    assert [each.session_id for each in client.sessions.list(2, page.next_cursor).sessions] == made[2:0:-1]
    assert [session.session_id for session in client.sessions.all()] == made[::-1]


def test_an_answer_is_stopped_and_what_there_is_stands(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    stream = client.stream_chat("[[demo hang=3]] Say hello", "stopped")
    for _ in range(3):
        next(stream)
    stopped = stream.stop()
    assert (stopped.state, stopped.tokens) == ("stopped", 3)
    assert client.stop(stream.stream_id) == stopped
    (done,) = list(stream)
    assert (done.finish_reason, done.full_response) == ("stopped", stream.text)


def test_a_stream_can_be_left_and_come_back_to(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    with client.stream_chat("[[demo tokens=20]] Say hello") as stream:
        first = next(stream)
    rest = client.resume(stream.stream_id, first.count)
    assert next(rest).count == 2
    done = rest.read()
    assert first.token + rest.text == done.full_response
    assert list(client.resume(stream.stream_id, 21)) == [], "the closing event was had"
    assert client.resume(stream.stream_id).read() == done


def test_one_key_is_one_answer(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    first, second = (
        client.stream_chat("[[demo tokens=5]] Say hello", "once", idempotency_key="k1").read()
        for _ in range(2)
    )
    assert first == second
    with pytest.raises(IdempotencyMismatch):
        client.stream_chat("Something else", "once", idempotency_key="k1").read()


def test_refusals_are_errors_of_their_own(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    with pytest.raises(InvalidRequest) as refused:
        client.stream_chat(" ").read()
    assert (refused.value.status, refused.value.type) == (400, "invalid_request")
    with pytest.raises(ModelNotFound):
        client.stream_chat("Say hello", model="nobody").read()
    with pytest.raises(ModelNotFound):
        client.completion([{"role": "user", "content": "Say hello"}], "nobody")
    running = client.stream_chat("[[demo hang=1]] Say hello", "busy")
    next(running)
    with pytest.raises(SessionBusy) as busy:
        client.stream_chat("And now?", "busy").read()
    assert (busy.value.status, busy.value.stream_id) == (409, running.stream_id)
    running.stop()


def test_an_answer_that_breaks_off_raises_after_what_there_was(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    stream = client.stream_chat("[[demo fail=3]] Say hello")
    with pytest.raises(UpstreamError) as failed:
        list(stream)
    assert (failed.value.status, failed.value.stream_id) == (502, stream.stream_id)
    assert client.stream_state(stream.stream_id).text == stream.text != ""


def test_a_completion_comes_whole_and_in_chunks(connect: Connect, server: Server) -> None:
    client = connect(server.url)
    question = [{"role": "user", "content": "[[demo tokens=7]] Say hello"}]
    whole = client.completion(question, model="demo", temperature=0.5)
    assert whole.choices[0].message["content"] == whole.choices[0].message.content == whole.text
    stream = client.completion_stream(question, stream_options={"include_usage": True})
    said = ""
    for chunk in stream:
        if chunk.choices and "content" in chunk.choices[0].delta:
            said += chunk.choices[0].delta["content"]
    assert said == stream.text == whole.text
    assert stream.usage == whole.usage
    with pytest.raises(UpstreamError) as failed:
        list(client.completion_stream([{"role": "user", "content": "[[demo fail=3]] Say hello"}]))
    assert failed.value.type == "upstream_error"
