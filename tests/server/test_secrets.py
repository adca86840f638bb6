"""What is secret stays where it was sent: in no line of the log, in no answer to anybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from backend.wire.websocket import BINARY, CLOSE, TEXT
from tests.access import signing
from tests.access.signing import SECRET
from tests.clients import text_of
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, Script, chunk, close, end, event, head, html, redirect, status
from tests.server.test_access import ASK, SESSIONS, V1, as_, ask
from tests.server.test_framing import Wire
from tests.server.test_parsing import send
from tests.server.test_socket_frames import Raw
from tests.servers import Server
from tests.sockets import Polling, Refused, Socket
from tests.wire.test_websocket import masked

pytestmark = pytest.mark.server

KEY = "sk-canary-of-the-upstream"


@pytest.fixture
def chatty(share_server: StartServer) -> Server:
    """A server that logs all it ever logs, with limits that nobody reaches."""
    return share_server(
        LOG_LEVEL="debug",
        DEMO_TOKENS_PER_SECOND="0",
        JWT_SECRET=f"canary-{SECRET}",
        RATE_LIMIT="60000/minute",
        ADDRESS_LIMIT="60000/minute",
        TRUSTED_PROXIES="1",
    )


DOORS = [
    ASK,
    V1,
    "GET /api/chat/streams/{}",
    "POST /api/chat/streams/{}/stop",
    f"POST {SESSIONS}",
    f"GET {SESSIONS}/{{}}",
    f"PATCH {SESSIONS}/{{}}",
    f"DELETE {SESSIONS}/{{}}",
    f"GET {SESSIONS}/{{}}/export?format={{}}",
    "GET /api/{}",
    "GET /{}",
    "GET /static/{}",
    f"GET {SESSIONS}?cursor={{}}&limit={{}}",
    "GET /health?token={}",
    "PUT /api/chat/{}",
]
HEADERS = [
    "Authorization",
    "Idempotency-Key",
    "Last-Event-ID",
    "Origin",
    "Host",
    "Cookie",
    "X-Forwarded-For",
    "X-Api-Key",
    "User-Agent",
    "Referer",
    "Accept",
    "Content-Type",
    "Content-Encoding",
]


@pytest.mark.parametrize("door", DOORS)
def test_no_refusal_and_no_log_repeats_what_was_sent(chatty: Server, door: str) -> None:
    seen = b""
    bodies = [
        b"{",
        b'{"message": "canary"',
        b'{"message": "canary", "temperature": "canary"}',
        b'{"message": 1, "system": "canary"}',
        b'{"prompt": "canary", "stream": false}',
        b'{"prompt": "canary", "api_key": "sk-canary", "stream": true}',
        b'{"message": "canary", "session_id": "canary/.."}',
        b"\xffcanary",
        b'{"title": 1, "model": 2, "system": ["canary"]}',
        b"",
    ]
    for header in (None, *HEADERS):
        for body in bodies:
            where = door.format("canary", "canary")
            headers = {} if header is None else {header: "Bearer canary"}
            response = send(chatty, where, body, **headers)
            if response.status < 300:
                continue  # an answer, or a session of the one who asked
            seen += response.data + str(dict(response.headers)).encode()
    assert b"canary" not in seen
    assert "canary" not in chatty.log


TOKENS = {
    "forged": lambda: signing.by_hand(
        b'{"alg":"HS256","kid":"canary"}', b'{"sub":"canary","exp":9999999999}'
    ),
    "unsigned": lambda: ".".join(map(signing.base64url, (b'{"alg":"none"}', b'{"sub":"canary"}', b""))),
    "expired": lambda: signing.by_hand(
        b'{"alg":"HS256"}', b'{"sub":"canary","exp":1}', b"canary-" + SECRET.encode()
    ),
    "odd": lambda: signing.by_hand(b'{"alg":"canary","b64":"canary"}', b'{"sub":["canary"]}', b"canary-"),
    "no token": lambda: "canary",
    "virtual key": lambda: "sk-canary",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_never_repeated(chatty: Server, kind: str) -> None:
    token = TOKENS[kind]()
    for door in (ASK, V1, f"GET {SESSIONS}"):
        response = send(chatty, door, b"{}", Authorization=f"Bearer {token}")
        assert response.status == 401
        for secret in ("canary", token, *(part for part in token.split(".") if len(part) > 8)):
            assert secret not in response.data.decode() + str(dict(response.headers))
            assert secret not in chatty.log


def test_a_good_token_its_subject_and_the_talk_are_not_in_the_log(share_server: StartServer) -> None:
    server = share_server(LOG_LEVEL="debug", DEMO_TOKENS_PER_SECOND="0", JWT_SECRET=SECRET)
    answer = ask(server, "canary-alice", "[[demo echo]] canary", session_id="canary", system="canary")
    assert text_of(answer.all()) == "canary"
    for door in (f"GET {SESSIONS}/canary", f"PATCH {SESSIONS}/canary", f"DELETE {SESSIONS}/canary"):
        assert send(server, door, b'{"title": "canary"}', **as_("canary-alice")).status == 200
    assert "canary" not in server.log
    assert as_("canary-alice")["Authorization"].split(".")[1] not in server.log


def test_malformed_requests_are_not_repeated_either(chatty: Server) -> None:
    requests = [
        b"GET /canary HTTP/9.9\r\n\r\n",
        b"GET /canary\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: canary\r\nAuthorization : Bearer canary\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"canary" * 8000 + b"\r\n\r\n",
        b"GET /" + b"canary" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/chat/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: canary\r\n\r\n",
        b"POST /api/chat/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90\r\n\r\ncanary",
    ]
    for request in requests:
        wire = Wire(chatty.port)
        wire.send(request)
        wire.end()
        answer = wire.answer()
        assert answer.status >= 400
        assert b"canary" not in answer.body
        wire.close()
    assert "canary" not in chatty.log


SOCKET_PACKETS = [
    "canary",
    "4canary",
    '42["canary"]',
    '427["canary",{"message":"canary"}]',
    '427["chat_stream","canary"]',
    '427["chat_stream",["canary"]]',
    '427["chat_stream",{"message":["canary"]}]',
    '427["chat_stream",{"message":"canary","temperature":"canary"}]',
    '427["chat_stream",{"message":"canary","model":"canary"}]',
    '427["chat_stream",{"message":"canary","session_id":"canary/.."}]',
    '427["chat_stream",{"message":"canary","api_key":"sk-canary"}]',
    '427["chat_stream",{"message":"canary","idempotency_key":["canary"]}]',
    '427["chat_resume",{"stream_id":"canary","after":"canary"}]',
    '427["chat_resume",{"stream_id":"canary"}]',
    '427["chat_stop",{"stream_id":"canary"}]',
    '427["session_join",{"session_id":"canary"}]',
    '427["session_join",{"session_id":"canary.."}]',
    '42["canary"',
    '42["chat_stream",{"message":"canary","message":"canary"}]',
    '42["chat_stream",{"message":"canary\\ud800"}]',
    '4510-["canary"]',
    '40["canary"]',
    '43["canary"]',
    '44"canary"',
    "bY2FuYXJ5canary",
]
SOCKET_QUERIES = [
    "EIO=canary&transport=polling",
    "EIO=4&transport=canary",
    "EIO=4&transport=polling&sid=canary",
    "EIO=4&transport=websocket&sid=canary",
    "EIO=4&transport=polling&j=canary",
    "canary=canary",
    "EIO=4&transport=polling&" + "canary=canary&" * 30,
]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_socket_and_no_log_repeats_what_was_sent_over_one(
    start_server: StartServer, log_format: str
) -> None:
    server = start_server(
        LOG_LEVEL="debug", LOG_FORMAT=log_format, JWT_SECRET=f"canary-{SECRET}", DEMO_TOKENS_PER_SECOND="0"
    )
    seen = b""
    for query in SOCKET_QUERIES:
        for method in ("GET", "POST", "OPTIONS", "PUT"):
            path = f"{method} /socket.io/?{query}"
            response = send(server, path, b"canary", Authorization="Bearer canary", Cookie="canary")
            seen += response.data + str(dict(response.headers)).encode()
    for make in TOKENS.values():
        for sent in (make(), f"Bearer {make()}", [make()], {make(): make()}):
            seen += Polling(server).connect(sent).encode()
            with pytest.raises(Refused) as refused:
                Socket(server, sent)
            seen += str(refused.value).encode()
    for packet in SOCKET_PACKETS:
        polling = Polling(server)
        polling.connect()
        response = polling.post(packet)
        seen += response.data + str(dict(response.headers)).encode()
        polling.post("2canary")
        frames = masked(TEXT, b"40"), masked(TEXT, packet.encode()), masked(BINARY, b"canary"), masked(CLOSE)
        seen += Raw(server, also=b"".join(frames)).rest()
    for data in (
        b"canary",
        masked(TEXT, b"\xffcanary"),
        masked(0xB, b"canary"),
        masked(CLOSE, b"\x00canary"),
    ):
        seen += Raw(server, also=data).rest()
    assert b"canary" not in seen
    for secret in (
        "canary",
        *(part for make in TOKENS.values() for part in make().split(".") if len(part) > 8),
    ):
        assert secret not in server.log


def test_a_good_token_and_the_talk_on_a_socket_are_not_in_the_log(share_server: StartServer) -> None:
    server = share_server(LOG_LEVEL="debug", DEMO_TOKENS_PER_SECOND="0", JWT_SECRET=SECRET)
    token = signing.token(sub="canary-alice")
    client = Socket(server, token)
    question = {"message": "[[demo echo]] canary", "session_id": "canary", "idempotency_key": "canary"}
    assert client.call("chat_stream", question)["ok"]
    assert client.answer()[-1][1]["full_response"] == "canary"
    assert client.call("session_join", {"session_id": "canary"})["ok"]
    client.send_frame("40/canary,")
    client.close()
    assert "canary" not in server.log
    assert token.split(".")[1] not in server.log


def complaint(code: int) -> Script:
    said = {"error": {"message": f"Incorrect key {KEY} at http://canary.internal/", "code": "canary"}}
    return status(code, json.dumps(said).encode())


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """One that says what each test has it say."""
    with FakeUpstream() as upstream:
        yield upstream


SCRIPTS: dict[str, Script] = {
    "400": complaint(400),
    "401": complaint(401),
    "403": complaint(403),
    "404": complaint(404),
    "500": complaint(500),
    "redirect": redirect("http://canary.internal/"),
    "html": html(),
    "bad json": [head(), b"data: {canary\n\n", end()],
    "error event": [head(), chunk("Hi"), event({"error": {"message": f"Incorrect key {KEY}"}}), end()],
    "gone": [head(), chunk("Hi"), close()],
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_an_upstreams_error_tells_nobody_our_key_or_its_address(
    share_server: StartServer, upstream: FakeUpstream, kind: str
) -> None:
    upstream.scripts = [SCRIPTS[kind]]
    server = share_server(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=upstream.base_url, LOG_LEVEL="debug")
    session_id = kind.replace(" ", "-")
    said = send(server, ASK, json.dumps({"message": "go", "session_id": session_id}).encode()).data
    said += send(server, V1, b'{"prompt": "go", "stream": true}').data
    said += send(server, f"GET {SESSIONS}/{session_id}").data + send(server, "GET /api/status").data
    assert b'"error"' in said
    assert b"canary" not in said
    assert str(upstream.port).encode() not in said
    assert KEY not in server.log
