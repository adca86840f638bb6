"""HTTP on the wire: one reading of every request, and an answer for whoever can still hear it."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients import ask
from tests.conftest import StartServer
from tests.servers import Server
from tests.wire.test_framing import BAD_CHUNKS, BAD_FIELDS, BAD_HOSTS, BAD_LENGTHS, BAD_LINES

pytestmark = pytest.mark.server

PATIENCE_S = 20.0
MAX_BODY_BYTES = 1_048_576
HOST = b"Host: 127.0.0.1\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
SESSIONS = b"POST /api/chat/sessions HTTP/1.1\r\n" + HOST
CHUNKED = SESSIONS + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A bare connection: bytes out, answers in."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._incoming = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def end(self) -> None:
        """Say that nothing more comes."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._incoming.close()
        self.socket.close()

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, whole."""
        version, status, _ = self._incoming.readline().split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = http.client.parse_headers(self._incoming)
        return Answer(int(status), headers, b"" if method == "HEAD" else self._body(int(status), headers))

    def rest(self) -> bytes:
        """All that still comes, until the server closes."""
        return self._incoming.read()

    def _body(self, status: int, headers: http.client.HTTPMessage) -> bytes:
        if status < 200 or status in (204, 304):
            return b""
        if headers["Transfer-Encoding"] == "chunked":
            return b"".join(self._chunks())
        if headers["Content-Length"] is None:
            return self._incoming.read()
        return self._incoming.read(int(headers["Content-Length"]))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._incoming.readline(), 16):
            yield self._incoming.read(size)
            assert self._incoming.read(2) == b"\r\n"
        assert self._incoming.readline() == b"\r\n"


@contextmanager
def wired(server: Server) -> Iterator[Wire]:
    wire = Wire(server.port)
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with wired(server) as connection:
        yield connection


def post(path: bytes, body: bytes, *fields: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (path, HOST, b"".join(fields), len(body))
    return head + body


def chunked(body: bytes, size: int = 3) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def assert_refused(answer: Answer, status: int, type_: str) -> None:
    """An error as all of `/api` are."""
    fields = answer.json()
    assert (answer.status, fields["code"], fields["type"]) == (status, status, type_)
    assert fields["error"]
    assert answer.headers["X-Request-Id"] == fields["request_id"]
    assert answer.headers["Content-Type"].startswith("application/json")


def one_head(lines: list[bytes]) -> bytes:
    return b"POST /api/chat/sessions HTTP/1.1\r\n" + b"".join(lines) + b"\r\n"


BROKEN_HEADS = {
    **{f"line: {name}": line + HOST + b"\r\n" for name, line in BAD_LINES.items()},
    **{f"field: {name}": one_head([HOST, field]) for name, field in BAD_FIELDS.items()},
    **{f"length: {name}": one_head([HOST, *fields]) for name, fields in BAD_LENGTHS.items()},
    **{f"host: {name}": one_head(fields) for name, fields in BAD_HOSTS.items()},
}


@pytest.mark.parametrize("head", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
def test_a_head_with_two_readings_is_refused_and_what_follows_is_not_read(wire: Wire, head: bytes) -> None:
    wire.send(head + HEALTH)
    wire.end()
    assert_refused(wire.answer(), 400, "invalid_request")
    assert wire.rest() == b""


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_malformed_chunks_are_refused_and_what_follows_is_not_read(wire: Wire, body: bytes) -> None:
    wire.send(CHUNKED + body + (b"" if body.endswith(b"\r\n0\r\n") else HEALTH))
    wire.end()
    assert_refused(wire.answer(), 400, "invalid_request")
    assert wire.rest() == b""


@pytest.mark.parametrize("path", [b"/health", b"/nowhere", b"/api/chat/streams/none/stop"])
def test_malformed_chunks_nobody_reads_do_not_become_the_next_request(wire: Wire, path: bytes) -> None:
    wire.send(b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" % (path, HOST) + HEALTH)
    wire.end()
    assert wire.answer().status in (404, 405)
    assert wire.rest() == b""


@pytest.mark.parametrize("path", [b"/health", b"/nowhere", b"/api/chat/streams/none/stop"])
def test_a_body_nobody_reads_is_not_taken_for_the_next_request(wire: Wire, path: bytes) -> None:
    wire.send(post(path, HEALTH) + HEALTH)
    assert wire.answer().status in (404, 405)
    assert wire.answer().json() == {"status": "healthy"}


@pytest.mark.parametrize("body", [b'{"title": "a"}', b'{"title": "\r\n\r\n0\r\n\r\n"}', b"{}" + b" " * 5000])
def test_a_body_in_chunks_is_the_same_as_one_with_a_length(wire: Wire, body: bytes) -> None:
    wire.send(CHUNKED + chunked(body) + post(b"/api/chat/sessions", body))
    one, other = wire.answer(), wire.answer()
    assert one.status == other.status
    assert one.json().get("title") == other.json().get("title")
    assert one.json().get("type") == other.json().get("type")


def test_a_request_that_comes_byte_by_byte_is_understood(wire: Wire) -> None:
    for byte in CHUNKED + chunked(b'{"title": "slow"}'):
        wire.send(bytes([byte]))
    assert wire.answer().json()["title"] == "slow"


@pytest.mark.parametrize("length", [b"/" + b"a" * 9000, b"/?" + b"a=1&" * 2500, b"/" + b"a" * 2_000_000])
def test_a_long_path_is_414(wire: Wire, length: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        wire.send(b"GET " + length + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert_refused(wire.answer(), 414, "invalid_request")
    assert wire.rest() == b""


def test_a_path_just_short_of_that_is_looked_up(wire: Wire) -> None:
    wire.send(b"GET /" + b"a" * 8100 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert_refused(wire.answer(), 404, "not_found")


@pytest.mark.parametrize(
    "fields",
    [
        b"X-Long: " + b"a" * 65_536 + b"\r\n",
        b"X-Long: " + b"a" * 2_000_000 + b"\r\n",
        b"X: " + b"a" * 600 + b"\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 600) for n in range(90)),
        b"".join(b"X-%d: a\r\n" % n for n in range(101)),
        b"".join(b"X-%d: a\r\n" % n for n in range(5000)),
        b"X: a\r\n" * 500_000,
    ],
    ids=["one of 64 KB", "one of 2 MB", "91 of 600 bytes", "102", "5,000", "3 MB of small ones"],
)
def test_too_many_headers_are_431_and_the_client_hears_it(wire: Wire, fields: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        wire.send(b"GET /api/status HTTP/1.1\r\n" + HOST + fields + b"\r\n")
    assert_refused(wire.answer(), 431, "invalid_request")
    assert wire.rest() == b""


def test_ninety_headers_are_fine(wire: Wire) -> None:
    fields = b"".join(b"X-%d: a\r\n" % n for n in range(89))
    wire.send(b"GET /health HTTP/1.1\r\n" + HOST + fields + b"\r\n")
    assert wire.answer().status == 200


def test_a_length_over_the_cap_is_413_before_any_of_the_body_is_there(wire: Wire) -> None:
    wire.send(SESSIONS + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    answer = wire.answer()
    assert_refused(answer, 413, "payload_too_large")
    assert answer.headers["Connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize("length", [b"9" * 18, b"1048577"])
def test_a_length_over_the_cap_is_413_on_every_door(wire: Wire, length: bytes) -> None:
    wire.send(b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: %b\r\n\r\n" % (HOST, length))
    answer = wire.answer()
    assert (answer.status, answer.json()["error"]["code"]) == (413, "payload_too_large")
    assert wire.rest() == b""


@pytest.mark.parametrize(
    "sent",
    [
        SESSIONS + b"Content-Length: 30000000\r\n\r\n" + b" " * 30_000_000,
        CHUNKED + b"1000\r\n" + b" " * 0x1000 + (b"\r\n1000\r\n" + b" " * 0x1000) * 7000,
        CHUNKED + b"fffffff\r\n" + b" " * 30_000_000,
        b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 30000000\r\n\r\n" % HOST
        + b" " * 30_000_000,
    ],
    ids=["with a length", "in chunks", "in one chunk", "at the other door"],
)
def test_a_client_that_sends_all_of_a_huge_body_before_it_reads_still_gets_its_413(
    wire: Wire, sent: bytes
) -> None:
    wire.send(sent)
    assert wire.answer().status == 413
    assert wire.rest() == b""


def test_chunks_are_counted_and_refused_as_soon_as_they_are_too_many(wire: Wire) -> None:
    wire.send(CHUNKED)
    for _ in range(MAX_BODY_BYTES // 65_536):
        wire.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
    wire.send(b"1\r\n \r\n")  # no last chunk: the answer may not wait for it
    assert_refused(wire.answer(), 413, "payload_too_large")
    assert wire.rest() == b""


@pytest.mark.parametrize(
    "framed", [lambda body: post(b"/api/chat/sessions", body), lambda b: CHUNKED + chunked(b, 65536)]
)
def test_a_body_of_exactly_the_cap_is_read(wire: Wire, framed: Callable[[bytes], bytes]) -> None:
    wire.send(framed(b'{"title": "full"}'.ljust(MAX_BODY_BYTES)))
    assert wire.answer().json()["title"] == "full"
    wire.send(HEALTH)
    assert wire.answer().status == 200


def test_a_body_over_the_cap_that_nobody_reads_ends_the_connection(wire: Wire) -> None:
    wire.send(b"GET /health HTTP/1.1\r\n%bContent-Length: 2000000\r\n\r\n" % HOST)
    assert wire.answer().status == 200
    with suppress(BrokenPipeError, ConnectionResetError):
        wire.send(b" " * 2_000_000 + HEALTH)
    assert wire.rest() == b""


def test_an_expectation_is_met_before_the_body_is_sent(wire: Wire) -> None:
    wire.send(SESSIONS + b"Expect: 100-continue\r\nContent-Length: 16\r\n\r\n")
    assert wire.answer().status == 100
    wire.send(b'{"title": "now"}')
    assert wire.answer().json()["title"] == "now"
    wire.send(HEALTH)
    assert wire.answer().status == 200


def test_an_expectation_is_met_for_chunks_too(wire: Wire) -> None:
    wire.send(SESSIONS + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert wire.answer().status == 100
    wire.send(chunked(b'{"title": "now"}'))
    assert wire.answer().json()["title"] == "now"


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (b"/api/chat/sessions", b"Content-Length: 99999999\r\n", 413),
        (b"/api/chat/sessions", b"Content-Length: 5\r\nOrigin: https://evil.example\r\n", 403),
        (b"/api/chat/sessions", b"Content-Length: 5\r\nContent-Encoding: gzip\r\n", 415),
        (b"/nowhere", b"Content-Length: 5\r\n", 404),
        (b"/health", b"Content-Length: 5\r\n", 405),
    ],
)
def test_who_expects_to_be_refused_is_refused_without_sending_the_body(
    wire: Wire, path: bytes, fields: bytes, status: int
) -> None:
    wire.send(b"POST %b HTTP/1.1\r\n%bExpect: 100-continue\r\n%b\r\n" % (path, HOST, fields))
    assert_refused(wire.answer(), status, {413: "payload_too_large", 403: "forbidden", 404: "not_found"}.get(
        status, "unsupported_media_type" if status == 415 else "invalid_request"))  # fmt: skip


def test_a_connection_goes_on_after_every_kind_of_refusal(wire: Wire) -> None:
    refusals = [
        (post(b"/api/chat/sessions", b"{"), 400),
        (post(b"/api/chat/sessions", b'{"no": 1}'), 400),
        (post(b"/api/chat/stream", b'{"message": " "}'), 400),
        (post(b"/v1/chat/completions", b""), 400),
        (post(b"/api/chat/sessions", b"{}", b"Origin: https://evil.example\r\n"), 403),
        (post(b"/nowhere", b"{}"), 404),
        (b"GET /api/chat/streams/none HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (post(b"/health", b"{}"), 405),
        (post(b"/api/chat/sessions", b"\x1f\x8b", b"Content-Encoding: gzip\r\n"), 415),
        (post(b"/api/chat/sessions", b"--a--", b"Content-Type: multipart/form-data; boundary=a\r\n"), 415),
        (b"POST /nowhere HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n%b" % (HOST, chunked(b"{}")), 404),
    ]
    for request, status in refusals:
        wire.send(request)
        assert wire.answer().status == status
        wire.send(HEALTH)
        assert wire.answer().json() == {"status": "healthy"}


def test_requests_sent_at_once_are_answered_in_order(wire: Wire) -> None:
    question = b'{"message": "[[demo echo]] first", "partial": false}'
    wire.send(
        post(b"/api/chat/stream", question)
        + HEALTH
        + post(b"/api/chat/sessions", b'{"title": "second"}')
        + b"HEAD /health HTTP/1.1\r\n%b\r\n" % HOST
        + CHUNKED
        + chunked(b'{"title": "third"}')
        + post(b"/api/chat/sessions", b"{")
        + HEALTH
    )
    assert b'"done": true' in wire.answer().body
    assert wire.answer().json() == {"status": "healthy"}
    assert wire.answer().json()["title"] == "second"
    assert wire.answer("HEAD").status == 200
    assert wire.answer().json()["title"] == "third"
    assert wire.answer().json()["type"] == "invalid_json"
    assert wire.answer().json() == {"status": "healthy"}


@pytest.mark.parametrize("path", [b"/", b"/health", b"/api/status", b"/api/chat/sessions", b"/nowhere"])
def test_head_is_get_without_the_body(wire: Wire, path: bytes) -> None:
    for method in (b"GET", b"HEAD"):
        wire.send(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, HOST))
    whole, head = wire.answer(), wire.answer("HEAD")
    assert head.status == whole.status
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert wire.socket.gettimeout()
    wire.send(HEALTH)
    assert wire.answer().json() == {"status": "healthy"}


def test_head_on_a_running_stream_is_answered_at_once(server: Server, wire: Wire) -> None:
    following = ask(server, "[[demo hang=1]] Hi")
    wire.send(b"HEAD /api/chat/streams/%b HTTP/1.1\r\n%b\r\n" % (following.stream_id.encode(), HOST) + HEALTH)
    head = wire.answer("HEAD")
    assert (head.status, head.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert wire.answer().json() == {"status": "healthy"}
    following.drop()
    server.pool.request("POST", f"{server.url}/api/chat/streams/{following.stream_id}/stop")


def test_an_http_1_0_client_gets_a_stream_without_chunks_that_ends_with_the_connection(wire: Wire) -> None:
    body = b'{"message": "[[demo echo]] hello", "partial": false}'
    wire.send(b"POST /api/chat/stream HTTP/1.0\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(body), body))
    answer = wire.answer()
    assert answer.headers["Transfer-Encoding"] is None
    assert answer.body.startswith(b": ")
    assert answer.body.endswith(b"}\n\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST,
        b"GET /nowhere HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST,
        b"GET /health HTTP/1.0\r\n\r\n",
    ],
)
def test_a_client_that_wants_the_connection_closed_gets_that(wire: Wire, request_bytes: bytes) -> None:
    wire.send(request_bytes + HEALTH)
    assert wire.answer().headers["Connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize(
    "sent", [b"", b"GE", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: a"]
)
def test_a_client_that_leaves_before_its_request_is_whole_gets_nothing_made_up(
    wire: Wire, sent: bytes
) -> None:
    wire.send(sent)
    wire.end()
    assert not wire.rest().startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))


def test_a_body_that_ends_early_is_refused(wire: Wire) -> None:
    wire.send(SESSIONS + b'Content-Length: 50\r\n\r\n{"title": "cut"}')
    wire.end()
    assert_refused(wire.answer(), 400, "invalid_request")
    assert wire.rest() == b""


def test_a_target_that_names_the_server_too_is_understood(wire: Wire) -> None:
    wire.send(b"GET http://127.0.0.1/health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert wire.answer().json() == {"status": "healthy"}


def test_a_target_that_names_another_server_is_refused(wire: Wire) -> None:
    wire.send(b"GET http://evil.example/api/status HTTP/1.1\r\n" + HOST + b"\r\n")
    assert_refused(wire.answer(), 400, "invalid_request")


def test_a_header_with_an_underscore_is_not_taken_for_the_one_with_a_dash(wire: Wire) -> None:
    wire.send(b"GET /health HTTP/1.1\r\n%bX_Request_Id: forged\r\n\r\n" % HOST)
    assert wire.answer().headers["X-Request-Id"] != "forged"


SLOW: dict[str, tuple[bytes, bytes]] = {
    # What is sent at once, and what then trickles in for ever.
    "a request line": (b"G", b"a"),
    "headers": (b"GET /health HTTP/1.1\r\n", b"X: a\r\n"),
    "one header": (b"GET /health HTTP/1.1\r\nX: ", b"a"),
    "nothing after half a head": (b"GET /health HTTP/1.1\r\nHost: a", b""),
    "a body": (SESSIONS + b"Content-Length: 1000\r\n\r\n", b" "),
    "no body at all": (SESSIONS + b"Content-Length: 1000\r\n\r\n", b""),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "one chunk": (CHUNKED + b"fff\r\n", b" "),
    "a chunk size": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: a\r\n"),
    "a body nobody reads": (post(b"/nowhere", b"")[:-5] + b"1000\r\n\r\n", b" "),
    "chunks nobody reads": (
        b"POST /nowhere HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST,
        b"1\r\n \r\n",
    ),
    "a second request": (HEALTH + b"GET /health HTTP/1.1\r\n", b"X: a\r\n"),
    "a body at the other door": (
        b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 1000\r\n\r\n" % HOST,
        b" ",
    ),
}


def open_for_s(server: Server, at_once: bytes, trickle: bytes) -> float:
    """How long the server bears with a client that sends a little every 0.4 s."""
    started_s = time.monotonic()
    with wired(server) as wire:
        wire.send(at_once)
        wire.socket.settimeout(0.4)
        while time.monotonic() - started_s < PATIENCE_S:
            try:
                if not wire.socket.recv(65_536):
                    break
            except TimeoutError:
                with suppress(BrokenPipeError, ConnectionResetError):
                    wire.send(trickle)
            except ConnectionResetError:
                break
    return time.monotonic() - started_s


def test_clients_that_send_slowly_are_closed_when_their_time_is_up_and_hold_up_nobody(
    share_server: StartServer,
) -> None:
    server = share_server(HEAD_TIMEOUT="3", BODY_TIMEOUT="3")
    ended = threading.Event()

    def slowest_answer_s() -> float:
        slowest_s = 0.0
        while not ended.wait(0.1):
            started_s = time.monotonic()
            assert server.pool.request("GET", f"{server.url}/api/status").status == 200
            slowest_s = max(slowest_s, time.monotonic() - started_s)
        return slowest_s

    with ThreadPoolExecutor(len(SLOW) + 1) as pool:
        others = pool.submit(slowest_answer_s)
        took_s = dict(zip(SLOW, pool.map(lambda row: open_for_s(server, *row), SLOW.values()), strict=True))
        ended.set()
    assert {name: seconds for name, seconds in took_s.items() if seconds > 8} == {}
    assert {name: seconds for name, seconds in took_s.items() if seconds < 2} == {}
    assert others.result() < 1


def test_hundreds_of_oversized_requests_without_a_body_leave_nothing_behind(server: Server) -> None:
    for _ in range(200):
        with wired(server) as wire:
            wire.send(SESSIONS + b"Content-Length: 99999999\r\n\r\n")
            assert wire.answer().status == 413
    assert server.pool.request("GET", f"{server.url}/health").status == 200


WORDS = st.sampled_from(
    b"GET |POST |/health|/api/chat/stream|/| HTTP/1.1| HTTP/1.0|\r\n|\r\n\r\n|\n|\r|:| |\0|\xff|?|%00|;|5|0|"
    b"Host: 127.0.0.1|Content-Length: |Transfer-Encoding: chunked|Expect: 100-continue".split(b"|")
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS | st.binary(max_size=5), max_size=25).map(b"".join))
def test_any_bytes_are_refused_or_answered_and_the_server_stays_well(server: Server, sent: bytes) -> None:
    with wired(server) as wire:
        wire.send(sent)
        wire.end()
        heard = wire.rest()
    assert heard == b"" or heard.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in heard
    assert b"Traceback" not in heard
    with wired(server) as wire:
        wire.send(HEALTH)
        assert wire.answer().json() == {"status": "healthy"}


VANISHING = {
    "in the head": b"GET /health HTTP/1.1\r\nHost: 127",
    "in the body": SESSIONS + b'Content-Length: 50\r\n\r\n{"title":',
    "in a chunk": CHUNKED + b"fff\r\n{",
    "before the answer": SESSIONS + b"Content-Length: 2\r\n\r\n{}",
    "before many answers": HEALTH * 200,
    "in a stream": post(b"/api/chat/stream", b'{"message": "[[demo tps=500]] Hi"}'),
    "in a silent stream": post(b"/api/chat/stream", b'{"message": "[[demo hang=1]] Hi"}'),
    "at the other door": post(b"/v1/chat/completions", b'{"prompt": "[[demo tps=500]] Hi", "stream": true}'),
}


@pytest.mark.parametrize("sent", VANISHING.values(), ids=VANISHING)
@pytest.mark.parametrize("heard", [0, 1], ids=["unheard", "heard"])
def test_a_client_that_vanishes_is_no_error(server: Server, sent: bytes, heard: int) -> None:
    with wired(server) as wire:
        wire.send(sent)
        if heard and sent.endswith((b"}", b"\r\n\r\n")):
            assert wire.socket.recv(1)
        reset_on_close = struct.pack("ii", 1, 0)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
    assert server.pool.request("GET", f"{server.url}/health").status == 200


def test_nothing_above_was_an_error_of_the_servers(server: Server) -> None:
    assert "Traceback" not in server.log
    assert " ERROR " not in server.log
