"""What the HTTP server does with answers: their framing, and those that go wrong."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Service

pytestmark = pytest.mark.server

PATIENCE_S = 20.0


class Client:
    """A bare connection to the service."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection((service.host, service.port), PATIENCE_S)

    def ask(self, path: str, *fields: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: a", *fields, "", ""]
        self.socket.sendall("\r\n".join(lines).encode("latin-1"))

    def hear(self) -> bytes:
        """All that comes until the server closes."""
        heard = b""
        while data := self.socket.recv(65_536):
            heard += data
        return heard

    def hear_until(self, end: bytes) -> bytes:
        heard = b""
        while not heard.endswith(end):
            data = self.socket.recv(65_536)
            assert data, heard
            heard += data
        return heard


Connect = Callable[[], Client]


@pytest.fixture
def connect(service: Service) -> Iterator[Connect]:
    clients: list[Client] = []

    def connected() -> Client:
        clients.append(Client(service))
        return clients[-1]

    yield connected
    for client in clients:
        client.socket.close()


def answer(connect: Connect, path: str, *fields: str, method: str = "GET") -> tuple[str, bytes]:
    """The head and the body as they are on the wire, of a connection's only answer."""
    client = connect()
    client.ask(path, *fields, "Connection: close", method=method)
    head, _, body = client.hear().partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def eventually(service: Service, name: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while name not in service.get("/closed"):
        assert time.monotonic() < deadline_s, name
        time.sleep(0.01)


def test_a_streamed_answer_is_chunks_one_a_piece_and_is_closed(service: Service, connect: Connect) -> None:
    head, body = answer(connect, "/streamed")
    assert "\r\nTransfer-Encoding: chunked\r\n" in head
    assert body == b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    eventually(service, "streamed")


def test_an_http_1_0_client_gets_the_pieces_as_they_are(connect: Connect) -> None:
    client = connect()
    client.ask("/streamed", version="1.0")
    head, _, body = client.hear().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head
    assert body == b"abc"


def test_an_answer_without_a_piece_is_whole_and_empty(service: Service, connect: Connect) -> None:
    head, body = answer(connect, "/empty")
    assert "\r\nContent-Length: 0\r\n" in head
    assert body == b""
    eventually(service, "empty")


def test_every_answer_is_dated_and_none_names_the_software(connect: Connect) -> None:
    for path in ("/streamed", "/environ", "/breaks"):
        head, _ = answer(connect, path)
        assert "\r\nDate: " in head
        assert "\r\nServer:" not in head


def test_an_answer_of_no_content_has_no_framing(connect: Connect) -> None:
    head, body = answer(connect, "/nothing")
    assert "Content-Length" not in head
    assert "Transfer-Encoding" not in head
    assert body == b""


def test_a_head_request_for_an_endless_answer_ends_with_the_head(service: Service, connect: Connect) -> None:
    head, body = answer(connect, "/endless", method="HEAD")
    assert head.startswith("HTTP/1.1 200 ")
    assert body == b""
    eventually(service, "endless")


def test_an_answer_that_breaks_after_its_head_is_cut_off_without_an_end(
    service: Service, connect: Connect
) -> None:
    head, body = answer(connect, "/breaks-late")
    assert head.startswith("HTTP/1.1 200 ")
    assert body == b"4\r\nsome\r\n"
    eventually(service, "late")
    assert "KeyError" in service.log


@pytest.mark.parametrize("path", ["/breaks", "/breaks-at-once", "/never-starts", "/nowhere"])
def test_an_answer_that_breaks_before_its_head_is_a_500_that_says_nothing_of_why(
    service: Service, connect: Connect, path: str
) -> None:
    head, body = answer(connect, path)
    assert head.startswith("HTTP/1.1 500 ")
    assert "\r\nConnection: close" in head
    fields = json.loads(body)
    assert (fields["code"], fields["type"]) == (500, "internal")
    assert b"inside" not in body
    assert b"Error" not in body


@pytest.mark.parametrize("value", ["a%0db", "a%0ab", "a%0d%0aSet-Cookie:b", "a%00b"])
def test_a_header_that_would_be_read_as_two_is_not_sent(connect: Connect, value: str) -> None:
    head, _ = answer(connect, f"/forged?{value}")
    assert head.startswith("HTTP/1.1 500 ")
    assert "X-Given" not in head


def test_a_header_of_another_alphabet_is_not_sent(connect: Connect) -> None:
    assert answer(connect, "/forged?%c5%bd")[0].startswith("HTTP/1.1 500 ")


def test_an_answer_never_goes_past_its_length_nor_seems_whole_short_of_it(connect: Connect) -> None:
    assert answer(connect, "/too-long")[1] == b""
    client = connect()
    client.ask("/too-short")
    assert client.hear().endswith(b"\r\n\r\n12345"), "and then the connection is closed"


def test_an_application_may_start_late_and_think_twice(connect: Connect) -> None:
    head, body = answer(connect, "/lazy")
    assert head.startswith("HTTP/1.1 418 ")
    assert body == b"4\r\nlate\r\n0\r\n\r\n"


def test_an_application_may_write_before_it_returns(connect: Connect) -> None:
    assert answer(connect, "/written")[1] == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"


def test_a_piece_is_there_while_the_next_is_awaited_and_the_clients_end_is_seen(
    service: Service, connect: Connect
) -> None:
    client = connect()
    client.ask("/waiting")
    client.hear_until(b"\r\n\r\n5\r\nfirst\r\n")
    assert "gone" not in service.get("/closed")
    client.socket.close()
    eventually(service, "gone")


def test_an_answer_nobody_takes_any_more_is_closed(service: Service, connect: Connect) -> None:
    before = service.get("/closed").count("endless")
    client = connect()
    client.ask("/endless")
    client.hear_until(b"x")
    client.socket.close()
    deadline_s = time.monotonic() + PATIENCE_S
    while service.get("/closed").count("endless") == before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def told(connect: Connect, path: str, *fields: str) -> Any:
    return json.loads(answer(connect, path, *fields)[1])


def test_an_application_is_told_what_was_asked(service: Service, connect: Connect) -> None:
    environ = told(
        connect, "/environ?a=%20b", "X-One: 1", "X-One: 2", "Cookie: a=1", "Cookie: b=2", "X_Two: 3"
    )
    assert environ["PATH_INFO"] == "/environ"
    assert environ["QUERY_STRING"] == "a=%20b"
    assert environ["HTTP_X_ONE"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert "HTTP_X_TWO" not in environ
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(service.port))
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_a_path_is_told_byte_for_byte(connect: Connect) -> None:
    head, _ = answer(connect, "/%65nviron")
    assert head.startswith("HTTP/1.1 200 ")


def test_it_serves_over_ipv6(runtime_name: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    service = Service(tmp_path, runtime_name, "::1")
    try:
        with socket.create_connection(("::1", service.port), PATIENCE_S) as sock:
            sock.sendall(b"GET /environ HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
            heard = b""
            while data := sock.recv(65_536):
                heard += data
        environ = json.loads(heard.partition(b"\r\n\r\n")[2])
        assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"]) == ("::1", "::1")
    finally:
        service.stop()
