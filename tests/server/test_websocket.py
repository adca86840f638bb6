"""WebSockets on a real connection, with an ordinary client and with bytes no client would send."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import websocket

from backend.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_frame, frame
from tests.servers import Service
from tests.wire.test_websocket import BAD_FRAMES, masked

pytestmark = pytest.mark.server

PATIENCE_S = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = {
    "Host": "127.0.0.1",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

Open = Callable[[str], websocket.WebSocket]
Connect = Callable[..., socket.socket]


@pytest.fixture
def open_socket(service: Service) -> Iterator[Open]:
    opened: list[websocket.WebSocket] = []

    def connected(path: str) -> websocket.WebSocket:
        url = f"ws://127.0.0.1:{service.port}{path}"
        opened.append(websocket.create_connection(url, timeout=PATIENCE_S))
        return opened[-1]

    yield connected
    for each in opened:
        each.shutdown()


@pytest.fixture
def connect(service: Service) -> Iterator[Connect]:
    """A bare connection that has asked for a WebSocket, with these header fields and not those that
    are None."""
    opened: list[socket.socket] = []

    def connected(
        path: str = "/ws/echo", line: str = "GET {} HTTP/1.1", also: bytes = b"", **fields: str | None
    ) -> socket.socket:
        sent = FIELDS | {name.replace("_", "-"): value for name, value in fields.items()}
        lines = [
            line.format(path),
            *(f"{name}: {value}" for name, value in sent.items() if value is not None),
        ]
        opened.append(socket.create_connection(("127.0.0.1", service.port), PATIENCE_S))
        opened[-1].sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + also)
        return opened[-1]

    yield connected
    for each in opened:
        each.close()


def head_of(sock: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    return head.decode()


def rest_of(sock: socket.socket) -> bytes:
    rest = b""
    while data := sock.recv(65_536):
        rest += data
    return rest


def test_messages_of_every_kind_and_size_come_back(open_socket: Open) -> None:
    client = open_socket("/ws/echo")
    for text in (
        "",
        "Hello",
        "Žluťoučký kůň 🐎",
        "x" * 125,
        "x" * 126,
        "x" * 65_536,
        "x" * Service.MAX_MESSAGE_BYTES,
    ):
        client.send(text)
        assert client.recv() == text
    for size in (0, 1, 126, 70_000):
        data = os.urandom(size)
        client.send_binary(data)
        assert client.recv() == data


def test_a_conversation_is_closed_by_the_client_with_the_code_it_said(open_socket: Open) -> None:
    client = open_socket("/ws/echo")
    client.send_close(1001)
    opcode, payload = client.recv_data(control_frame=True)
    assert (opcode, payload) == (CLOSE, (1001).to_bytes(2, "big"))
    assert client.sock.recv(1) == b""


def test_the_handshake_is_the_standards(connect: Connect) -> None:
    head = head_of(connect())
    assert head.startswith("HTTP/1.1 101 ")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head


def test_no_extension_and_no_subprotocol_is_agreed_on(connect: Connect) -> None:
    asked = {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "chat"}
    head = head_of(connect(**asked))
    assert head.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Extensions" not in head
    assert "Sec-WebSocket-Protocol" not in head


REFUSED: dict[str, tuple[dict[str, str | None], int]] = {
    "another version": ({"Sec_WebSocket_Version": "8"}, 426),
    "no version": ({"Sec_WebSocket_Version": None}, 426),
    "two versions": ({"Sec_WebSocket_Version": "13, 8"}, 426),
    "no key": ({"Sec_WebSocket_Key": None}, 400),
    "a short key": ({"Sec_WebSocket_Key": "YQ=="}, 400),
    "no upgrade": ({"Upgrade": None}, 400),
    "another upgrade": ({"Upgrade": "h2c"}, 400),
    "a connection that is not upgraded": ({"Connection": "keep-alive"}, 400),
    "another method": ({"line": "POST {} HTTP/1.1"}, 400),
    "HTTP/1.0": ({"line": "GET {} HTTP/1.0"}, 400),
    "a body": ({"Content_Length": "5"}, 400),
    "a body in chunks": ({"Transfer_Encoding": "chunked"}, 400),
}


@pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED)
def test_a_handshake_that_is_none_is_refused(
    connect: Connect, fields: dict[str, str | None], status: int
) -> None:
    head = head_of(connect(**fields))
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert ("\r\nSec-WebSocket-Version: 13\r\n" in head) == (status == 426)


def test_a_refused_handshake_leaves_the_connection_usable(connect: Connect) -> None:
    sock = connect(Sec_WebSocket_Version="8", also=b"GET /closed HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head_of(sock).startswith("HTTP/1.1 426 ")
    sock.recv(len("The only WebSocket version spoken is 13"), socket.MSG_WAITALL)
    assert head_of(sock).startswith("HTTP/1.1 200 ")


def test_frames_sent_right_behind_the_handshake_are_heard(connect: Connect) -> None:
    sock = connect(also=masked(TEXT, b"early") + masked(CLOSE))
    head_of(sock)
    assert rest_of(sock) == frame(TEXT, b"early") + frame(CLOSE, b"")


def test_frames_that_come_byte_by_byte_are_understood(connect: Connect) -> None:
    sock = connect()
    head_of(sock)
    for byte in (
        masked(TEXT, b"slow", final=False) + masked(PING, b"?") + masked(CONTINUATION, b"ly") + masked(CLOSE)
    ):
        sock.sendall(bytes([byte]))
    assert rest_of(sock) == frame(0xA, b"?") + frame(TEXT, b"slowly") + frame(CLOSE, b"")


BAD = {name: (raw, code) for name, (raw, code) in BAD_FRAMES.items() if "cap" not in name}
BAD["a message over the cap, by its head alone"] = (
    b"\x82\xff" + (Service.MAX_MESSAGE_BYTES + 1).to_bytes(8, "big"), 1009)  # fmt: skip
BAD["a message over the cap in 50 fragments"] = (
    masked(BINARY, bytes(2001), final=False) + masked(CONTINUATION, bytes(2001), final=False) * 49, 1009
)  # fmt: skip


@pytest.mark.parametrize(("raw", "code"), BAD.values(), ids=BAD)
def test_what_breaks_the_protocol_ends_the_conversation_with_its_code(
    connect: Connect, raw: bytes, code: int
) -> None:
    sock = connect()
    head_of(sock)
    sock.sendall(raw)
    assert rest_of(sock) == close_frame(code)


def test_pings_are_answered_while_much_is_sent_and_no_frame_begins_inside_another(open_socket: Open) -> None:
    client = open_socket("/ws/push")
    heard, pongs = 0, 0
    for n in range(200):
        client.ping(str(n))
    while True:
        opcode, payload = client.recv_data(control_frame=True)
        if opcode == CLOSE:
            break
        if opcode == TEXT:
            number, _, text = payload.decode().partition(" ")
            assert (int(number), text) == (heard, "x" * 20_000)
            heard += 1
        else:
            assert payload == str(pongs).encode()
            pongs += 1
    assert (heard, pongs) == (Service.PUSHES, 200)


def test_one_who_waits_is_told_when_another_closes(service: Service, open_socket: Open) -> None:
    client = open_socket("/ws/leave")
    assert client.recv_data(control_frame=True) == (CLOSE, (1000).to_bytes(2, "big"))
    assert client.sock.recv(1) == b""
    eventually(service, "could not send")
    assert "left with None" in service.get("/closed")


def test_a_client_that_never_answers_a_closing_is_left(service: Service, connect: Connect) -> None:
    before = service.get("/closed").count("could not send")
    sock = connect("/ws/leave")
    head_of(sock)
    assert rest_of(sock) == close_frame(1000)
    deadline_s = time.monotonic() + PATIENCE_S
    while service.get("/closed").count("could not send") == before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_conversation_that_fails_is_closed_and_logged_and_says_nothing_of_why(
    service: Service, open_socket: Open
) -> None:
    client = open_socket("/ws/fail")
    client.send("go")
    assert client.recv_data(control_frame=True) == (CLOSE, (1011).to_bytes(2, "big"))
    assert "a conversation failed" in service.log


def test_a_client_that_vanishes_ends_its_conversation(service: Service, connect: Connect) -> None:
    for _ in range(20):
        sock = connect("/ws/push")
        head_of(sock)
        sock.close()
    assert isinstance(service.get("/closed"), list)


def test_nothing_above_was_an_error_of_the_servers(service: Service) -> None:
    assert service.log.count("ERROR") == service.log.count("ERROR a conversation failed")
    assert service.log.count("Traceback") == service.log.count("ERROR a conversation failed")


def eventually(service: Service, name: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while name not in service.get("/closed"):
        assert time.monotonic() < deadline_s, name
        time.sleep(0.01)
