"""Who may enter, and whose is what, over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.access import signing
from tests.access.signing import SECRET, claims
from tests.access.test_jwks import row
from tests.clients import Following, text_of
from tests.conftest import StartServer
from tests.fakes.keys import KeyServer
from tests.server.test_parsing import refused, send
from tests.servers import PATIENCE_S, ROOT, Server, servers

pytestmark = pytest.mark.server

HELLO = b'{"message": "[[demo echo]] Hi", "partial": false}'
PROMPT = b'{"prompt": "[[demo echo]] Hi", "stream": true}'
ASK = "POST /api/chat/stream"
V1 = "POST /v1/chat/completions"
SESSIONS = "/api/chat/sessions"
GUARDED = [
    ASK, "GET /api/chat/streams/a", "POST /api/chat/streams/a/stop", f"POST {SESSIONS}", f"GET {SESSIONS}",
    f"GET {SESSIONS}/a", f"PATCH {SESSIONS}/a", f"DELETE {SESSIONS}/a", f"GET {SESSIONS}/a/export", V1,
    "GET /v1/models", "GET /api/", "GET /api/nowhere", "PUT /api/chat/stream", "HEAD /api/chat/sessions",
    "OPTIONS /api/chat/stream", "GET //api/chat/sessions", "GET /api/status/", "GET /api/chat/../status",
]  # fmt: skip
OPEN = ["GET /health", "GET /ready", "GET /api/status", "GET /", "GET /static/index.html"]
BAD = [
    "Bearer x", "Bearer", "Bearer ", "bearer x.y.z", "Basic YWxpY2U6c2VjcmV0", "x", "", "Bearer sk-live-key",
    "Bearer ' OR ''='", "Bearer 1; DROP TABLE sessions", "Bearer " + "A" * 20000, "Bearer \xff\xfe",
    "Bearer a, Bearer b", "Token x", "Bearer Anonymous",
]  # fmt: skip


def started(folder: Path, **env: str) -> Iterator[Server]:
    with servers(folder) as running:
        running.append(Server(folder, {"DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": SECRET, **env}))
        yield running[0]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets in only who has a token."""
    yield from started(tmp_path_factory.mktemp("strict"), AUTH="required")


@pytest.fixture(scope="module")
def optional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets in everybody, and knows who has a token."""
    yield from started(tmp_path_factory.mktemp("optional"))


def as_(name: str | None) -> dict[str, str]:
    """The headers of a caller."""
    return {} if name is None else {"Authorization": f"Bearer {signing.token(sub=name)}"}


def ask(server: Server, who: str | None, message: str, **fields: Any) -> Following:
    body = {"message": message, "partial": False, **fields}
    url = f"{server.url}/api/chat/stream"
    return Following(
        server, server.pool.request("POST", url, json=body, headers=as_(who), preload_content=False)
    )


def read(server: Server, who: str | None, path: str) -> Any:
    response = send(server, f"GET {path}", Accept="application/json", **as_(who))
    assert response.status == 200, response.data
    return response.json()


def assert_unauthorized(response: urllib3.BaseHTTPResponse, door: str) -> str:
    assert response.status == 401, response.data
    assert response.headers["WWW-Authenticate"] == "Bearer"
    if door.startswith("HEAD"):
        return ""
    if " /v1/" in door:
        error = response.json()["error"]
        assert (error["type"], error["param"], error["code"]) == (
            "invalid_request_error", None, "invalid_api_key"
        )  # fmt: skip
        return str(error["message"])
    return refused(response, 401, "unauthorized")


@pytest.mark.parametrize("door", GUARDED)
def test_where_a_token_is_required_every_route_asks_for_one(strict: Server, door: str) -> None:
    for headers in ({}, {"Authorization": "Bearer anonymous"}):
        sentence = assert_unauthorized(send(strict, door, **headers), door)
        assert "Bearer <token>" in sentence or door.startswith("HEAD")


@pytest.mark.parametrize("door", OPEN)
@pytest.mark.parametrize("header", [None, "Bearer x"])
def test_probes_the_status_and_the_page_ask_nobody(strict: Server, door: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert send(strict, door, **headers).status == 200


@pytest.mark.parametrize("header", BAD, ids=lambda text: repr(text[:30]))
@pytest.mark.parametrize("door", [ASK, V1])
def test_a_bad_token_is_refused_also_where_none_is_needed(
    strict: Server, optional: Server, door: str, header: str
) -> None:
    for server in (strict, optional):
        body = PROMPT if door == V1 else HELLO
        sentence = assert_unauthorized(send(server, door, body, Authorization=header), door)
        assert "not valid" in sentence
        assert header.partition(" ")[2][:12] not in sentence or len(header) < 12


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"", {}),
        (b'{"message": "a", "api_key": "x"}', {}),
        (b"x" * 2_000_000, {}),
        (b"x", {"Content-Encoding": "gzip"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=a"}),
    ],
)
@pytest.mark.parametrize("door", [ASK, V1])
def test_who_may_not_enter_is_not_read(
    strict: Server, door: str, body: bytes, headers: dict[str, str]
) -> None:
    assert_unauthorized(send(strict, door, body, **headers), door)


def test_a_token_that_has_expired_says_so(strict: Server) -> None:
    old = signing.token(exp=1)
    sentence = refused(send(strict, ASK, HELLO, Authorization=f"Bearer {old}"), 401, "unauthorized")
    assert "expired" in sentence


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_lets_in(strict: Server, scheme: str) -> None:
    for door, body in ((ASK, HELLO), (V1, PROMPT)):
        response = send(strict, door, body, Authorization=f"{scheme} {signing.token()}")
        assert response.status == 200, response.data


def test_without_a_token_one_is_anonymous_by_default(optional: Server) -> None:
    for headers in ({}, {"Authorization": "Bearer anonymous"}):
        assert send(optional, ASK, HELLO, **headers).status == 200
        assert send(optional, V1, PROMPT, **headers).status == 200


@pytest.mark.any_runtime
def test_with_auth_off_no_token_is_looked_at(start_server: StartServer) -> None:
    server = start_server(AUTH="off", DEMO_TOKENS_PER_SECOND="0")
    for header in (*BAD, f"Bearer {signing.token()}"):
        assert send(server, ASK, HELLO, Authorization=header).status == 200
    assert not (server.folder / "var" / "jwt.key").exists()


# Whose is what


def everything_of(stream_id: str, session_id: str) -> list[tuple[str, bytes]]:
    """Every way to get at a stream and a session by their ids."""
    stream, session = f"/api/chat/streams/{stream_id}", f"{SESSIONS}/{session_id}"
    return [
        (f"GET {stream}", b""),
        (f"GET {stream}?after=3", b""),
        (f"POST {stream}/stop", b""),
        (f"GET {session}", b""),
        (f"PATCH {session}", b'{"title": "Mine"}'),
        (f"DELETE {session}", b""),
        (f"GET {session}/export?format=markdown", b""),
        (f"GET {session}/export?format=json", b""),
    ]


@pytest.mark.parametrize("other", ["bob", "alice ", "Alice", "user:alice", None])
@pytest.mark.parametrize("running", [True, False], ids=["running", "ended"])
def test_what_is_anothers_is_as_what_never_was(optional: Server, other: str | None, running: bool) -> None:
    message = "[[demo hang=3]] Hi" if running else "[[demo echo]] Hi"
    mine = ask(optional, "alice", message)
    session_id = mine.response.headers["X-Session-Id"]
    for _ in zip(range(3), mine, strict=False):
        pass
    never = everything_of("A" * 22, "B" * 22)
    for (door, body), (elsewhere, _) in zip(everything_of(mine.stream_id, session_id), never, strict=True):
        for accept in ("text/event-stream", "application/json"):
            headers = {"X-Request-Id": "same", "Accept": accept, "Last-Event-ID": f"{mine.stream_id}:2"}
            hers = send(optional, door, body, **headers, **as_(other))
            none = send(optional, elsewhere, body, **headers, **as_(other))
            assert (hers.status, none.status) == (404, 404)
            assert hers.data == none.data
            assert {**hers.headers, "Date": ""} == {**none.headers, "Date": ""}
    found = read(optional, "alice", f"{SESSIONS}/{session_id}")
    assert found["title"] != "Mine"
    assert bool(found["live_stream"]) is running
    if running:
        assert send(optional, f"POST /api/chat/streams/{mine.stream_id}/stop", **as_("alice")).status == 200


def test_what_is_anonymous_is_not_shown_to_who_has_a_name(optional: Server) -> None:
    theirs = ask(optional, None, "[[demo echo]] Hi")
    theirs.all()
    for door, body in everything_of(theirs.stream_id, theirs.response.headers["X-Session-Id"]):
        assert send(optional, door, body, **as_("alice")).status == 404
    assert read(optional, None, f"/api/chat/streams/{theirs.stream_id}")["text"] == "Hi"


def test_a_session_id_of_anothers_is_free(optional: Server) -> None:
    for who in ("carol", "dave", None):
        ask(optional, who, f"[[demo echo]] I am {who}", session_id="shared").all()
    for who in ("carol", "dave", None):
        messages = read(optional, who, f"{SESSIONS}/shared")["messages"]
        assert [message["content"] for message in messages if message["role"] == "assistant"] == [
            f"I am {who}"
        ]
    assert send(optional, f"DELETE {SESSIONS}/shared", **as_("carol")).status == 200
    assert read(optional, "dave", f"{SESSIONS}/shared")["message_count"] == 2


def test_anothers_running_session_keeps_nobody_waiting(optional: Server) -> None:
    ask(optional, "erin", "[[demo hang=1]] Hi", session_id="busy")
    assert text_of(ask(optional, "frank", "[[demo echo]] Hi", session_id="busy").all()) == "Hi"


def test_everybody_is_shown_their_own_sessions(optional: Server) -> None:
    for who in ("grace", "heidi"):
        for number in range(3):
            ask(optional, who, f"[[demo echo]] {who} {number}").all()
    for who in ("grace", "heidi"):
        titles = {session["title"] for session in read(optional, who, SESSIONS)["sessions"]}
        assert len(titles) == 3
        assert all(who in title for title in titles)
    assert read(optional, None, SESSIONS)["sessions"] == []


def test_an_idempotency_key_is_its_owners(optional: Server) -> None:
    def asked(who: str | None, text: str) -> str:
        body = json.dumps({"message": f"[[demo echo]] {text}", "partial": False}).encode()
        response = send(optional, ASK, body, Idempotency_Key="one", **as_(who))
        assert response.status == 200, response.data
        return str(response.headers["X-Stream-Id"])

    streams = [asked("ivan", "a"), asked("judy", "b"), asked(None, "c")]
    assert len(set(streams)) == 3
    assert [asked("ivan", "a"), asked("judy", "b"), asked(None, "c")] == streams


# Keys


def token_of(server: Server, *options: str) -> str:
    """What the command line prints, in the server's folder."""
    command = [sys.executable, "-m", "backend", "token", *options]
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    made = subprocess.run(
        command, cwd=server.folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert made.stderr == ""
    return made.stdout


@pytest.mark.any_runtime
def test_a_token_of_the_command_line_is_taken_also_after_a_restart(start_server: StartServer) -> None:
    server = start_server(AUTH="required", DEMO_TOKENS_PER_SECOND="0")
    printed = token_of(server, "--sub", "alice", "--ttl", "600")
    token, end = printed[:-1], printed[-1]
    assert end == "\n"
    assert send(server, ASK, HELLO, Authorization=f"Bearer {token}").status == 200
    assert (server.folder / "var" / "jwt.key").stat().st_mode & 0o777 == 0o600
    server.stop()
    server.restart()
    assert send(server, ASK, HELLO, Authorization=f"Bearer {token}").status == 200
    assert token not in server.log


@pytest.mark.any_runtime
def test_a_token_from_elsewhere_is_not(start_server: StartServer) -> None:
    here, there = start_server(), start_server()
    token = token_of(there, "--sub", "alice").strip()
    assert send(there, ASK, HELLO, Authorization=f"Bearer {token}").status == 200
    refused(send(here, ASK, HELLO, Authorization=f"Bearer {token}"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("env", "options", "says"),
    [
        ({}, ["--sub", ""], "--sub must be"),
        ({}, ["--sub", "a" * 256], "--sub must be"),
        ({"JWT_ALGORITHM": "RS256"}, ["--sub", "alice"], "private key"),
        ({"JWT_SECRET": "short"}, ["--sub", "alice"], "JWT_SECRET"),
        ({}, ["--sub", "alice", "--ttl", "0"], "--ttl"),
        ({}, ["--sub", "alice", "--ttl", "-5"], "--ttl"),
        ({}, [], "--sub"),
    ],
)
def test_a_token_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, env: dict[str, str], options: list[str], says: str
) -> None:
    command = [sys.executable, "-m", "backend", "token", *options]
    clean = {"PYTHONPATH": str(ROOT), "PATH": "", **env}
    made = subprocess.run(
        command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (made.returncode, made.stdout) == (2, "")
    assert says in made.stderr
    assert "Traceback" not in made.stderr


@pytest.mark.any_runtime
def test_tokens_of_an_issuer_are_checked_with_its_public_key(start_server: StartServer) -> None:
    server = start_server(
        AUTH="required", DEMO_TOKENS_PER_SECOND="0", JWT_ALGORITHM="ES256", JWT_ISSUER="https://id.example",
        JWT_AUDIENCE="chat", JWT_PUBLIC_KEY=signing.public_pem("ES256").replace("\n", "\\n"),
    )  # fmt: skip
    good = signing.token("ES256", iss="https://id.example", aud="chat")
    assert send(server, ASK, HELLO, Authorization=f"Bearer {good}").status == 200
    forged = signing.by_hand(
        b'{"alg":"HS256"}',
        json.dumps(claims(iss="https://id.example", aud="chat")).encode(),
        signing.public_pem("ES256").encode(),
    )
    for bad in (signing.token("ES256"), signing.token("ES256", aud="chat"), forged):
        refused(send(server, ASK, HELLO, Authorization=f"Bearer {bad}"), 401, "unauthorized")


def test_published_keys_are_fetched_and_outlive_their_server(start_server: StartServer) -> None:
    with KeyServer() as issuer:
        issuer.publish(row("a"), row("b"))
        server = start_server(
            AUTH="required", DEMO_TOKENS_PER_SECOND="0", JWT_ALGORITHM="RS256", JWKS_URL=issuer.url
        )
        tokens = {kid: signing.token("RS256", kid, header={"kid": kid}) for kid in ("a", "b", "c")}

        def status(kid: str) -> int:
            return send(server, ASK, HELLO, Authorization=f"Bearer {tokens[kid]}").status

        assert [status("a"), status("b"), status("c")] == [200, 200, 401]
        assert issuer.asked <= 2
    assert [status("a"), status("b"), status("c")] == [200, 200, 401]


@pytest.mark.any_runtime
def test_a_server_that_never_had_a_key_says_that_it_cannot_tell(start_server: StartServer) -> None:
    server = start_server(AUTH="required", JWT_ALGORITHM="RS256", JWKS_URL="http://127.0.0.1:1/keys")
    token = signing.token("RS256", "a", header={"kid": "a"})
    response = send(server, ASK, HELLO, Authorization=f"Bearer {token}")
    assert "keys" in refused(response, 503, "unavailable")
    assert response.headers["Retry-After"]
    assert "127.0.0.1:1" not in response.data.decode()
    refused(send(server, ASK, HELLO), 401, "unauthorized")


@pytest.mark.any_runtime
def test_any_name_will_do_where_everybody_signs_in_unless_names_are_set(
    strict: Server, start_server: StartServer
) -> None:
    assert send(strict, ASK, HELLO, Host="chat.example.org", **as_("alice")).status == 200
    listed = start_server(AUTH="required", JWT_SECRET=SECRET, ALLOWED_HOSTS="chat.example.org")
    assert send(listed, ASK, HELLO, Host="chat.example.org", **as_("alice")).status == 200
    other = send(listed, ASK, HELLO, Host="evil.example", **as_("alice"))
    assert "ALLOWED_HOSTS" in refused(other, 403, "forbidden")
    foreign = send(strict, ASK, HELLO, Origin="https://evil.example", **as_("alice"))
    assert "CORS_ORIGINS" in refused(foreign, 403, "forbidden")
