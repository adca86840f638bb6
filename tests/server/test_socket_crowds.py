"""Crowds of connections, and readers who take nothing of what they are sent: nobody else notices."""

from __future__ import annotations

import json
import socket as sockets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests import clients
from tests.access import signing
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer
from tests.server.test_chat import with_upstream
from tests.server.test_metrics import scrape, value
from tests.server.test_socket_frames import UPGRADE, Raw, wait_until
from tests.servers import PATIENCE_S, Server
from tests.sockets import HANDSHAKE, Event, Polling, Socket, text_of
from tests.wire.test_websocket import TEXT, masked

pytestmark = pytest.mark.server

MIB = 1 << 20
CAP = 50
CROWD = 1000
TINY = 1024
"""A receive buffer; what the system on the other side takes beyond it is two megabytes and more."""


def knock(server: Server) -> sockets.socket:
    """A WebSocket's handshake, as it is sent."""
    line = sockets.create_connection(("127.0.0.1", server.port), PATIENCE_S)
    server.opened.append(line.close)
    head = f"GET {HANDSHAKE}websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    line.sendall(head + UPGRADE + b"\r\n")
    return line


def rest_of(line: sockets.socket) -> bytes:
    """All that comes until the server closes."""
    said = b""
    with suppress(ConnectionError):
        while data := line.recv(65_536):
            said += data
    return said


def at_rest(server: Server) -> tuple[int, int]:
    """Its descriptors and threads, when we have none of its connections."""
    server.hang_up()
    return server.descriptors, server.threads


def test_a_crowd_that_never_says_who_it_is_is_capped_and_closed(start_server: StartServer) -> None:
    server = start_server(
        MAX_HANDSHAKES_PER_ADDRESS=str(CAP), HANDSHAKE_TIMEOUT="3", AUTH="required",
        JWT_SECRET=signing.SECRET, TRUSTED_PROXIES="1", STORE_URL="memory://",
    )  # fmt: skip
    named = Socket(server, signing.token())
    assert named.call("chat_stream", {"message": "[[demo echo]] Hi"})["ok"]
    assert text_of(named.answer()) == "Hi", "it has all that an answer takes"
    before, memory = at_rest(server), server.memory_bytes
    with ThreadPoolExecutor(50) as pool:
        lines = list(pool.map(lambda _: knock(server), range(CROWD)))
        heads = list(pool.map(lambda line: line.recv(12), lines))
        assert heads.count(b"HTTP/1.1 101") == CAP
        assert heads.count(b"HTTP/1.1 503") == CROWD - CAP
        polled = server.pool.request("GET", f"{server.url}{HANDSHAKE}polling")
        assert (polled.status, polled.json()["type"]) == (503, "unavailable")
        assert polled.headers["Retry-After"]
        elsewhere = Socket(server, signing.token(), header=["X-Forwarded-For: 192.0.2.1"])
        assert elsewhere.call("chat_stream", {"message": "Say hello"})["ok"]
        for line, head in zip(lines, heads, strict=True):
            if head.endswith(b"503"):
                line.close()
        list(pool.map(rest_of, (line for line in lines if line.fileno() >= 0)))
    elsewhere.close()
    wait_until(lambda: at_rest(server) <= before)
    assert server.memory_bytes - memory < 16 * MIB
    assert named.call("chat_stream", {"message": "Say hello"})["ok"]
    assert Socket(server, signing.token()).call("chat_stream", {"message": "Say hello"})["ok"]


@pytest.mark.any_runtime
def test_lines_without_a_namespace_are_closed_however_busy_they_are(start_server: StartServer) -> None:
    server = start_server(HANDSHAKE_TIMEOUT="1", AUTH="required", JWT_SECRET=signing.SECRET)
    silent, refused, gone = Polling(server), Polling(server), Polling(server)
    assert refused.connect("x").startswith("44")
    assert gone.connect(signing.token()).startswith("40")
    gone.post("41")
    line, left = Raw(server), Socket(server, signing.token())
    line.say('40{"token":"x"}')
    left.send_frame("41")
    deadline = time.monotonic() + PATIENCE_S
    for polling in (silent, refused, gone):
        while polling.post("3").status == 200:
            assert time.monotonic() < deadline
        assert polling.get().status == 400
    assert b"44{" in line.rest()
    assert left.gone_within(PATIENCE_S)
    assert value(scrape(server), "parley_sockets_open") == 0


def test_those_who_have_just_left_take_nobodys_place(start_server: StartServer) -> None:
    server = start_server(MAX_HANDSHAKES_PER_ADDRESS="5")
    for _ in range(5):
        for client in [Socket(server) for _ in range(20)]:
            client.drop()


def test_connections_that_come_and_go_leave_nothing_behind(start_server: StartServer) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0", STORE_URL="memory://")

    def come_and_go(_: int) -> None:
        client = Socket(server)
        client.call("session_leave", {"session_id": "a"})
        client.close()

    def churn() -> int:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(come_and_go, range(700)))
        return server.memory_bytes

    before, memory = at_rest(server), churn()
    assert churn() - memory < 12 * MIB
    wait_until(lambda: at_rest(server) <= before)


@pytest.mark.parametrize("length", [10**9, 1000])
def test_bodies_that_never_come_pin_nothing(start_server: StartServer, length: int) -> None:
    server = start_server(BODY_TIMEOUT="1", DEMO_TOKENS_PER_SECOND="0", STORE_URL="memory://")
    polling = Polling(server)
    assert polling.connect().startswith("40")
    before, memory = at_rest(server), server.memory_bytes
    path = f"{HANDSHAKE}polling&sid={polling.open_packet['sid']}"
    lines = []
    for _ in range(200):
        lines.append(sockets.create_connection(("127.0.0.1", server.port), PATIENCE_S))
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
        lines[-1].sendall(head.encode())
    status = b"413" if length > MIB else b"408"
    for line in lines:
        assert line.recv(12) == b"HTTP/1.1 " + status
        line.close()
    wait_until(lambda: at_rest(server) <= before)
    assert server.memory_bytes - memory < 8 * MIB
    polling.post('421["chat_stream",{"message":"[[demo echo]] Hi"}]')
    assert polling.events("chat_complete")[-1][1]["full_response"] == "Hi"


# Readers


class Reader:
    """A socket that has asked for something, and reads what it is sent only when it is told to; with so
    many bytes on the way at most, but for what the server's system keeps for it."""

    def __init__(self, server: Server, buffer: int, event: str, payload: dict[str, str]) -> None:
        self.socket = sockets.socket()
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", server.port))
        server.opened.append(self.socket.close)
        head = f"GET {HANDSHAKE}websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
        asked = json.dumps([event, payload]).encode()
        self.socket.sendall(head + UPGRADE + b"\r\n" + masked(TEXT, b"40") + masked(TEXT, b"421" + asked))
        self._seen = bytearray()

    def sip(self, size: int = 1) -> None:
        """Read so many bytes."""
        data = self.socket.recv(size)
        assert data
        self._seen += data

    def answer(self) -> list[Event]:
        """Read, fast now, to the answer's end."""
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, MIB)
        while b"\r\n\r\n" not in self._seen:
            self.sip(65_536)
        del self._seen[: self._seen.index(b"\r\n\r\n") + 4]
        found: list[Event] = []
        while not found or found[-1][0] != "chat_complete":
            packet = self._packet()
            if packet.startswith(b"42"):
                found.append(tuple(json.loads(packet[2:])))
        return found

    def _packet(self) -> bytes:
        size = self._take(2)[1]
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._seen) < size:
            self.sip(MIB)
        taken = bytes(self._seen[:size])
        del self._seen[:size]
        return taken


def long_answer(server: Server, upstream: FakeUpstream) -> tuple[str, str]:
    """An answer that has been given: its id and its text."""
    following = clients.ask(server, "go")
    events = following.all()
    assert "done" in events[-1].data, events[-1]
    assert upstream.calls == 1
    return following.stream_id, clients.text_of(events)


TOKENS = [f"{n}:" + "word ü\r\n\x85" * 200 for n in range(1500)]
"""Each time it is sent, nine million bytes: its pieces, and the whole."""
ROOMY = {"MAX_ANSWER_CHARS": "20000000", "MAX_ANSWER_TOKENS": "10000"}


def read(server: Server, stream_id: str) -> str:
    """What a socket that keeps up is given of the answer."""
    reader = Reader(server, MIB, "chat_resume", {"stream_id": stream_id})
    text = text_of(reader.answer())
    reader.socket.close()
    return text


def test_readers_that_stall_hold_no_memory_and_get_the_rest_when_they_read(start_server: StartServer) -> None:
    """Of an answer far longer than all buffers on the way."""
    stalled_readers = 20
    with FakeUpstream(answer(TOKENS)) as upstream:
        server = with_upstream(start_server, upstream, **ROOMY)
        stream_id, text = long_answer(server, upstream)
        assert text == "".join(TOKENS)
        assert {read(server, stream_id) for _ in range(3)} == {text}
        memory = server.memory_bytes
        stalled = [
            Reader(server, TINY, "chat_resume", {"stream_id": stream_id}) for _ in range(stalled_readers)
        ]
        polling = Polling(server)
        assert polling.connect().startswith("40")
        assert polling.post(f'421["chat_resume",{{"stream_id":"{stream_id}"}}]').status == 200
        wait_until(lambda: value(scrape(server), "parley_streams_open", door="socket") == stalled_readers + 1)
        assert {read(server, stream_id) for _ in range(3)} == {text}
        assert value(scrape(server), "parley_streams_open", door="socket") == stalled_readers + 1
        held = server.memory_bytes - memory
        assert held < stalled_readers * 2 * MIB, f"{held / MIB:.0f} MiB"
        for _ in range(300):
            stalled[0].sip()
        assert text_of(stalled[0].answer()) == text
        assert text_of(polling.events("chat_complete")) == text


def test_one_that_stalls_and_one_that_sips_leave_the_others_undisturbed(start_server: StartServer) -> None:
    texts = [f"t{n} " + "x" * 4000 for n in range(550)]
    with FakeUpstream(answer(texts, gap_s=0.002)) as upstream:
        server = with_upstream(start_server, upstream, MAX_ANSWER_CHARS="20000000")
        session_id = clients.call(server, "POST", "/api/chat/sessions", {})[1]["session_id"]
        listen = "session_join", {"session_id": session_id}
        live = [Reader(server, MIB, *listen) for _ in range(97)]
        stalled, sipping = (Reader(server, TINY, *listen) for _ in range(2))
        wait_until(lambda: value(scrape(server), "parley_sockets_open") == 99)
        asker = Socket(server)
        asker.call("chat_stream", {"message": "go", "session_id": session_id})
        with ThreadPoolExecutor(100) as pool:
            reads = [pool.submit(each.answer) for each in live]
            reads.append(pool.submit(asker.answer))
            while not all(each.done() for each in reads):
                sipping.sip()
                time.sleep(0.01)
            assert {text_of(each.result()) for each in reads} == {"".join(texts)}
        assert value(scrape(server), "parley_streams_open", door="socket") == 2
        for slow in (stalled, sipping):
            assert text_of(slow.answer()) == "".join(texts)


@pytest.mark.any_runtime
def test_news_of_a_session_do_not_pile_up_for_who_does_not_read(start_server: StartServer) -> None:
    server = start_server(STORE_URL="memory://", DEMO_TOKENS_PER_SECOND="0")
    clients.ask(server, "[[demo echo]] Hi", session_id="s").all()
    stalled = [Reader(server, TINY, "session_join", {"session_id": "s"}) for _ in range(10)]
    polling = Polling(server)
    assert polling.connect().startswith("40")
    assert polling.post('421["session_join",{"session_id":"s"}]').status == 200
    client = Socket(server)
    client.call("session_join", {"session_id": "s"})
    memory = server.memory_bytes

    def rename(number: int) -> int:
        return clients.call(server, "PATCH", "/api/chat/sessions/s", {"title": f"{number}"})[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(rename, range(3000))) == {200}
    assert server.memory_bytes - memory < 10 * 2 * MIB
    for _ in range(3000):
        assert client.next()[1]["change"] == "title"
    assert polling.get().status == 400, "who does not poll for a thousand news is let go"
    assert stalled
