"""From which pages, and under which names, the server may be reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.clients import ask
from tests.conftest import StartServer
from tests.server.test_framing import HOST, Wire, wired
from tests.server.test_parsing import refused
from tests.servers import Server, servers

pytestmark = pytest.mark.server

RUNTIMES = ("eventlet",)
"""Names and origins are judged before anything of a runtime's: on each the headers are read by the same code,
which test_framing tries on both."""

APP = "https://app.example"
CHAT = "/api/chat/stream"
HELLO = b'{"message": "[[demo echo]] Hi", "partial": false}'
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,idempotency-key",
}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets two other origins in, and is known by one more name."""
    folder: Path = tmp_path_factory.mktemp("open")
    with servers(folder) as started:
        env = {
            "DEMO_TOKENS_PER_SECOND": "0",
            "CORS_ORIGINS": f"{APP}, http://localhost:3000",
            "ALLOWED_HOSTS": "chat.example.org",
        }
        started.append(Server(folder, env))
        yield started[0]


def send(
    server: Server, method: str, path: str, body: bytes = b"", **headers: str
) -> urllib3.BaseHTTPResponse:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.pool.request(method, f"{server.url}{path}", body=body, headers=given)


ROUTES = [
    ("POST", CHAT), ("GET", "/api/chat/sessions"), ("POST", "/api/chat/sessions"), ("GET",
    "/api/chat/sessions/a"),
    ("PATCH", "/api/chat/sessions/a"), ("DELETE", "/api/chat/sessions/a"), ("GET", "/api/chat/streams/a"),
    ("POST", "/api/chat/streams/a/stop"), ("GET", "/api/status"), ("GET", "/"), ("GET", "/static/index.html"),
    ("GET", "/nowhere"), ("PUT", CHAT), ("OPTIONS", CHAT),
]  # fmt: skip

FOREIGN = [
    "https://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:1", "http://localhost",
    "file://",
    "http://evil.example:{port}", "http://127.0.0.1.evil.example:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example", "http://evil.example/?http://127.0.0.1:{port}",
    "127.0.0.1:{port}",
    "http://127.0.0.1:{port}/", "http://127.0.0.1:{port}, https://evil.example",
    "https://evil.example http://127.0.0.1:{port}",
    "chrome-extension://abc", "*", "\xff", "http://[::1]:{port}", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN, ids=lambda text: repr(text[:40]))
def test_a_foreign_origin_is_refused_and_told_what_to_set(server: Server, origin: str) -> None:
    response = send(server, "POST", CHAT, HELLO, Origin=origin.format(port=server.port))
    assert "CORS_ORIGINS" in refused(response, 403, "forbidden")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_refuses_a_foreign_origin(server: Server, method: str, path: str) -> None:
    refused(send(server, method, path, Origin="https://evil.example"), 403, "forbidden")


def test_the_openai_door_refuses_a_foreign_origin_as_sdks_expect_it(server: Server) -> None:
    body = b'{"prompt": "[[demo echo]] Hi", "stream": true}'
    response = send(server, "POST", "/v1/chat/completions", body, Origin="https://evil.example")
    assert (response.status, response.json()["error"]["code"]) == (403, "forbidden")
    assert "CORS_ORIGINS" in response.json()["error"]["message"]


def test_a_form_that_another_site_posts_starts_nothing(server: Server) -> None:
    """Browsers send such a request without asking first; its body can be made to be JSON."""
    body = b'{"message": "Hi", "session_id": "forged", "system": "="}'
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
    ):
        headers = {"Content-Type": content_type, "Origin": "https://evil.example"}
        refused(send(server, "POST", CHAT, body, **headers), 403, "forbidden")
    refused(send(server, "GET", "/api/chat/sessions/forged"), 404, "not_found")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_servers_own_pages_may_call_under_every_name_of_loopback(
    server: Server, name: str, scheme: str
) -> None:
    host = f"{name}:{server.port}"
    response = send(server, "POST", CHAT, HELLO, Host=host, Origin=f"{scheme}://{host.lower()}")
    assert response.status == 200
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_body_that_a_page_sends_as_plain_text_is_read(server: Server) -> None:
    headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": server.url}
    response = send(server, "POST", CHAT, HELLO, **headers)
    assert response.status == 200
    assert b'"full_response": "Hi"' in response.data


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example",
        "0.0.0.0:{port}",
        "127.0.0.2:{port}", "[::2]:{port}", "2130706433", "127.1", "0x7f.0.0.1", "localhost.",
        "chat.example.org", "-", "~",
        "[::ffff:127.0.0.1]", "a" * 5000,
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_name_that_is_not_the_servers_is_refused_and_told_what_to_set(server: Server, host: str) -> None:
    response = send(server, "GET", "/api/status", Host=host.format(port=server.port))
    assert "ALLOWED_HOSTS" in refused(response, 403, "forbidden")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_refuses_a_rebound_name_even_of_the_same_origin(
    server: Server, method: str, path: str
) -> None:
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    refused(send(server, method, path, **headers), 403, "forbidden")


def test_forwarded_names_widen_nothing(server: Server) -> None:
    forwarded = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Original-Host": "evil.example",
    }
    origin = {"Origin": "http://evil.example"}
    refused(send(server, "POST", CHAT, HELLO, **forwarded, **origin), 403, "forbidden")
    refused(
        send(server, "GET", "/api/status", Host="evil.example", X_Forwarded_Host="localhost"),
        403,
        "forbidden",
    )


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_answer_under_any_name(server: Server, path: str) -> None:
    for host in ("10.0.0.7:5000", "evil.example", "[::2]"):
        assert send(server, "GET", path, Host=host, Origin="https://evil.example").status == 200


def test_a_client_of_http_1_0_without_a_name_is_refused_but_by_probes(server: Server) -> None:
    for path, status in ((b"/health", 200), (b"/api/status", 403)):
        with wired(server) as wire:
            wire.send(b"GET %b HTTP/1.0\r\n\r\n" % path)
            assert wire.answer().status == status


def test_two_origins_are_none_of_ours(server: Server) -> None:
    own = f"Origin: {server.url}\r\n".encode()
    host = b"Host: 127.0.0.1:%d\r\n" % server.port
    for fields in (own + b"Origin: https://evil.example\r\n", b"Origin: https://evil.example\r\n" + own):
        wire = Wire(server.port)
        wire.send(b"GET /api/status HTTP/1.1\r\n" + host + fields + b"\r\n")
        assert wire.answer().status == 403
        wire.close()


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_an_origin_that_is_let_in_may_read_the_answer(open_server: Server, origin: str) -> None:
    response = send(open_server, "POST", CHAT, HELLO, Origin=origin)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    exposed = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"X-Request-Id", "X-Session-Id", "X-Stream-Id", "X-Question-Id", "Retry-After"} <= exposed


def test_an_origin_that_is_let_in_may_read_errors_too(open_server: Server) -> None:
    cases = [
        ("POST", CHAT, b"{", 400), ("GET", "/api/chat/streams/none", b"", 404), ("PUT", CHAT, b"", 405),
        ("POST", CHAT, b" " * 1_048_577, 413), ("GET", "/nowhere", b"", 404), ("POST",
        "/v1/chat/completions", b"", 400),
    ]  # fmt: skip
    for method, path, body, status in cases:
        response = send(open_server, method, path, body, Origin=APP)
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "http://app.example", "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil-app.example", "https://sub.app.example", "https://app.example/", "null",
        "http://localhost",
    ],
)  # fmt: skip
def test_nobody_else_is_let_in_for_that(open_server: Server, origin: str) -> None:
    for method, headers in (("POST", {}), ("OPTIONS", PREFLIGHT)):
        response = send(open_server, method, CHAT, HELLO, Origin=origin, **headers)
        refused(response, 403, "forbidden")
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CHAT), ("GET", "/api/chat/streams/a"), ("PATCH", "/api/chat/sessions/a"),
        ("DELETE", "/api/chat/sessions/a"), ("POST", "/v1/chat/completions"),
    ],
)  # fmt: skip
def test_a_preflight_of_an_origin_that_is_let_in_is_granted(
    open_server: Server, method: str, path: str
) -> None:
    asked = "authorization, content-type, idempotency-key, last-event-id, x-request-id, x-stream-resume"
    headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
    response = send(open_server, "OPTIONS", path, Origin=APP, **headers)
    assert response.status in (200, 204)
    assert not response.data
    assert response.headers["Access-Control-Allow-Origin"] == APP
    granted = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert {*asked.split(", "), "*"} <= granted
    methods = {name.strip() for name in response.headers["Access-Control-Allow-Methods"].split(",")}
    assert method in methods
    assert int(response.headers["Access-Control-Max-Age"]) > 0


def test_a_preflight_asks_and_does_nothing(open_server: Server) -> None:
    ask(open_server, "[[demo echo]] Hi", session_id="stays").all()
    headers = {"Access-Control-Request-Method": "DELETE"}
    assert send(open_server, "OPTIONS", "/api/chat/sessions/stays", Origin=APP, **headers).status in (
        200,
        204,
    )
    assert send(open_server, "GET", "/api/chat/sessions/stays").status == 200


def test_a_request_without_an_origin_gets_no_cross_origin_headers(open_server: Server) -> None:
    response = send(open_server, "GET", "/api/status")
    assert not [name for name in response.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "host", ["chat.example.org", "CHAT.example.org:{port}", "localhost", "127.0.0.1:{port}"]
)
def test_a_name_that_is_allowed_is_the_servers_own(open_server: Server, host: str) -> None:
    name = host.format(port=open_server.port)
    response = send(open_server, "POST", CHAT, HELLO, Host=name, Origin=f"https://{name.lower()}")
    assert response.status == 200


def test_a_name_is_not_an_origin_from_elsewhere(open_server: Server) -> None:
    headers = {"Host": f"127.0.0.1:{open_server.port}", "Origin": "https://chat.example.org"}
    refused(send(open_server, "GET", "/api/status", **headers), 403, "forbidden")


def test_any_name_goes_when_all_are_allowed_but_foreign_origins_stay_out(start_server: StartServer) -> None:
    server = start_server(ALLOWED_HOSTS="*")
    assert send(server, "GET", "/api/status", Host="any.example").status == 200
    headers = {"Host": "any.example", "Origin": "https://evil.example"}
    refused(send(server, "GET", "/api/status", **headers), 403, "forbidden")


def test_the_page_may_not_be_framed_nor_load_from_elsewhere(server: Server) -> None:
    for path in ("/", "/static/index.html"):
        policy = send(server, "GET", path).headers["Content-Security-Policy"]
        for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert rule in policy
        assert "unsafe" not in policy


def test_a_preflight_over_the_wire_leaves_the_connection_usable(open_server: Server) -> None:
    with wired(open_server) as wire:
        wire.send(
            b"OPTIONS /api/chat/stream HTTP/1.1\r\n%bOrigin: https://app.example\r\n"
            b"Access-Control-Request-Method: POST\r\n\r\nGET /health HTTP/1.1\r\n%b\r\n" % (HOST, HOST)
        )
        assert wire.answer().status in (200, 204)
        assert wire.answer().json() == {"status": "healthy"}
