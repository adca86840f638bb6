"""Lines that break anywhere, servers that go: the rest of an answer comes, each piece once."""

from __future__ import annotations

import random
import re
import socket
import threading
from typing import Any
from uuid import uuid4

import pytest

from parley_client import Chunk, ConnectionLost, Interrupted, NotFound, Patience, Reset, Token, Unreachable
from tests.books import books_of
from tests.client.faulty import Fault, faulty_line_to
from tests.client.twins import Connect
from tests.clients import ask
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer
from tests.line import line_to
from tests.servers import Server

pytestmark = pytest.mark.server

PIECES = [f"{n}:\u2028 ü€😀\r\n\x85 " for n in range(60)]


def exact(events: list[Any], expected: str) -> None:
    *tokens, done = events
    assert [token.count for token in tokens] == list(range(1, len(tokens) + 1))
    assert "".join(token.token for token in tokens) == done.full_response == expected


def on_the_wire(server: Server, stream_id: str) -> bytes:
    """All bytes that come back when an ended answer is read."""
    request = f"GET /api/chat/streams/{stream_id}?partial=false HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(f"{request}Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_line_may_break_between_any_two_bytes_of_an_event(connect: Connect, server: Server) -> None:
    """And anywhere from the status line to the last chunk."""
    done = ask(server, "[[demo echo tps=0]] 😀ü one two").all()[-1].data
    stream_id, text = done["stream_id"], done["full_response"]
    wire = on_the_wire(server, stream_id)
    event = wire.index(f"id: {stream_id}:2".encode())
    everywhere = {*range(event - 4, wire.index(b"\n\n", event) + 4), *range(0, len(wire), 41)}
    with faulty_line_to(server.port) as line:
        client = connect(line.url)
        for at in sorted(everywhere):
            line.faults = [Fault(breaks_after=at, by_reset=bool(at % 2))]
            exact(list(client.resume(stream_id)), text)
    assert len(line.requests) >= 2 * len(everywhere) - 1


def test_a_question_whose_answer_is_cut_again_and_again_is_asked_once(
    connect: Connect, server: Server
) -> None:
    dice = random.Random(7)
    with faulty_line_to(server.port) as line:
        client = connect(line.url)
        for number in range(8):
            line.faults = [Fault(breaks_after=dice.randint(0, 1500)) for _ in range(12)]
            stream = client.stream_chat(f"[[demo tokens=60]] {number}?", uuid4().hex)
            exact(list(stream), stream.done.full_response)
            asked = [message.role for message in client.sessions.messages(stream.session_id)]
            assert asked == ["user", "assistant"]


def test_chunks_go_on_over_a_line_that_breaks_anywhere(connect: Connect, server: Server) -> None:
    question = [{"role": "user", "content": "[[demo tokens=30]] Say hello"}]
    options = {"stream_options": {"include_usage": True}}
    expected = [chunk.choices for chunk in connect(server.url).completion_stream(question, **options)]
    dice = random.Random(11)
    with faulty_line_to(server.port) as line:
        client = connect(line.url)
        for _ in range(6):
            line.faults = [Fault(breaks_after=dice.randint(0, 3000)) for _ in range(8)]
            stream = client.completion_stream(question, **options)
            chunks = list(stream)
            assert [chunk.choices for chunk in chunks] == expected
            assert len({chunk.id for chunk in chunks}) == 1, "it was generated once"
            assert stream.usage.total_tokens


def test_a_running_answer_goes_on_at_the_next_byte(connect: Connect, start_server: StartServer) -> None:
    with FakeUpstream(answer(PIECES, gap_s=0.01), piecewise=7) as upstream:
        server = start_server(
            OPENAI_BASE_URL=upstream.base_url, OPENAI_API_KEY="sk-test-0123456789", OPENAI_MODELS="fake"
        )
        with line_to(server.port) as line:
            stream = connect(line.url).stream_chat("go")
            events = []
            for event in stream:
                events.append(event)
                if len(events) % 9 == 5:
                    line.cut() if len(events) % 2 else line.reset()
        exact(events, "".join(PIECES))
        assert upstream.calls == 1


def test_a_lost_answer_to_the_question_is_asked_for_again_and_generated_once(
    connect: Connect, server: Server
) -> None:
    with line_to(server.port) as line:
        client = connect(line.url)
        line.lose_next_answer()
        stream = client.stream_chat("[[demo tokens=5]] Say hello")
        assert stream.read().tokens == 5
        assert len(client.sessions.messages(stream.session_id)) == 2
        assert line.lost_answers == 1


def test_an_end_without_an_end_leads_back(
    connect: Connect, start_server: StartServer, redis_url: str
) -> None:
    """A server on Redis sends its readers away at once; they come back to the one that follows it."""
    server = start_server(DEMO_TOKENS_PER_SECOND="50", STORE_URL=redis_url, LEASE_S="3")
    with books_of(server) as books:
        client = connect(server.url, books.team(), "acme")
        client.create_job("chat")
        stream = client.stream_chat("[[demo tokens=60]] Say hello")
        call = client.chat_stream("demo", [{"role": "user", "content": "[[demo tokens=60]] Say hello"}])
        events = [(next(stream), next(call))[0] for _ in range(5)]
        assert server.stop() == 0
        server.restart()
        exact(events + list(stream), stream.text)
        assert len([*call]) > 50
        assert call.text == stream.text
        bill = client.complete_job()
        assert [(each.call_id, each.state) for each in bill.calls] == [(call.call_id, "done")]
        assert client.usage(f"{bill.completed_at:%Y-%m}").summary.total_calls == 2


def test_an_answer_that_is_nowhere_any_more_is_said_so(connect: Connect, start_server: StartServer) -> None:
    server = start_server(STORE_URL="memory://")
    stream = connect(server.url).stream_chat("[[demo tokens=2000]] Say hello")
    next(stream)
    server.kill()
    server.restart()
    with pytest.raises(NotFound) as gone:
        list(stream)
    assert gone.value.stream_id == stream.stream_id


def test_a_silent_line_counts_as_broken(connect: Connect, server: Server) -> None:
    with line_to(server.port) as line:
        client = connect(line.url, patience=Patience(silence_s=0.3, pause_s=0.01, longest_pause_s=0.1))
        stream = client.stream_chat("[[demo tokens=60 tps=100]] Say hello")
        events = [next(stream) for _ in range(5)]
        line.black_hole()
        healing = threading.Timer(0.8, line.heal)
        healing.start()
        exact(events + list(stream), stream.text)
        healing.join()
    assert re.search(f"GET /api/chat/streams/<stream_id> 200 .*{stream.stream_id}", server.log)


def test_after_a_kill_it_is_set_back_to_what_was_kept_and_told(
    connect: Connect, start_server: StartServer
) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="200", LEASE_S="3")
    question = "[[demo tokens=2000]] Say hello"
    messages = [{"role": "user", "content": question}]
    with books_of(server) as books:
        client = connect(server.url, books.team(), "acme")
        client.create_job("chat")
        stream = client.stream_chat(question, "killed")
        chunks = client.completion_stream(messages)
        call = client.chat_stream("demo", messages)
        for _ in range(150):
            assert isinstance(next(stream), Token)
            next(chunks), next(call)
        server.kill()
        server.restart()
        for broken_off in (stream, chunks, call):
            with pytest.raises(Interrupted) as broken:
                for event in broken_off:
                    assert isinstance(event, Token | Reset | Chunk)
            assert (broken.value.status, broken.value.stream_id) == (503, broken_off.stream_id)
        assert client.sessions.messages("killed")[-1].content == stream.text
        assert client.stream_chat("[[demo tokens=3 tps=0]] And now?", "killed").read().tokens == 3
        bill = client.complete_job()
        assert [(each.call_id, each.state) for each in bill.calls] == [(call.call_id, "interrupted")]
        assert bill.costs.total_tokens > 50, bill


def test_a_drained_server_is_read_to_the_end_and_a_restarted_one_goes_on(
    connect: Connect, start_server: StartServer
) -> None:
    """With SQLite nobody else could go on with a running answer: it is let run."""
    server = start_server()
    with faulty_line_to(server.port) as line:
        client = connect(line.url)
        line.faults = [Fault(breaks_after=900)]
        ended = client.stream_chat("[[demo tokens=40 tps=0]] Say hello")
        had = [next(ended)]
        running = client.stream_chat("[[demo tokens=60 tps=100]] Say hello")
        events = [next(running)]
        server.process.terminate()
        exact(events + list(running), running.text)
        assert server.process.wait(10) == 0
        server.restart()
        exact(had + list(ended), ended.text)


def test_it_gives_up_in_time(connect: Connect, server: Server) -> None:
    with line_to(server.port) as line:
        client = connect(line.url, patience=Patience(pause_s=0.01, longest_pause_s=0.05, reconnects=5))
        stream = client.stream_chat("[[demo hang=1]] Say hello")
        next(stream)
        line.refuse()
        line.cut()
        with pytest.raises((Unreachable, ConnectionLost)) as lost:
            list(stream)
        assert (lost.value.requests, lost.value.stream_id) == (5, stream.stream_id)
        with pytest.raises(Unreachable) as refused:
            client.sessions.list()
        assert refused.value.requests == Patience().attempts
    assert connect(server.url).stop(stream.stream_id).state == "stopped"
