"""Who may open a socket, how long they may keep it, and what they reach over it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import socketio
import urllib3
import websocket

from tests import clients
from tests.access import signing
from tests.access.signing import SECRET
from tests.access.test_jwks import row
from tests.conftest import StartServer
from tests.fakes.keys import KeyServer
from tests.server.test_parsing import refused
from tests.servers import PATIENCE_S, ROOT, Server, servers
from tests.sockets import HANDSHAKE, Polling, Refused, Socket

pytestmark = pytest.mark.server

APP = "https://app.example"
EVIL = "https://evil.example"
HANG = "[[demo hang=3]] Hi"
BAD = [
    "x",
    "Bearer x",
    "Bearer",
    "bearer x.y.z",
    "sk-live-key",
    "' OR ''='",
    "A" * 5000,
    "\u2028",
    "anonymous ",
]


def started(folder: Path, runtime_name: str, **env: str) -> Iterator[Server]:
    plain = {"JWT_SECRET": SECRET, "DEMO_TOKENS_PER_SECOND": "0", "RUNTIME": runtime_name}
    with servers(folder) as running:
        running.append(Server(folder, {**plain, **env}))
        yield running[0]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server that lets in only who has a token."""
    yield from started(tmp_path_factory.mktemp("strict"), runtime_name, AUTH="required")


@pytest.fixture(scope="module")
def optional(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server that lets in everybody, knows who has a token, and serves the pages of one other site."""
    yield from started(tmp_path_factory.mktemp("optional"), runtime_name, CORS_ORIGINS=APP)


def raw(server: Server) -> websocket.WebSocket:
    """A WebSocket that has been opened, and has not connected to the namespace."""
    opened = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}{HANDSHAKE}websocket", timeout=PATIENCE_S
    )
    server.opened.append(opened.shutdown)
    assert str(opened.recv()).startswith("0{")
    return opened


def refusal_of(server: Server, token: object) -> dict[str, Any]:
    """What the CONNECT_ERROR says, over either transport."""
    with pytest.raises(Refused) as found:
        Socket(server, token)
    answer = Polling(server).connect(token)
    assert answer.startswith("44{")
    fields, over_polling = refused_with(found.value.args[0]), refused_with(json.loads(answer[2:]))
    assert fields == over_polling
    return fields


def refused_with(error: dict[str, Any]) -> dict[str, Any]:
    """A CONNECT_ERROR's error, without the id that the log has it under."""
    fields: dict[str, Any] = error["data"]
    assert error["message"] == fields["error"]
    assert fields.pop("request_id")
    return fields


@pytest.mark.parametrize("token", [None, "", "anonymous", "Bearer anonymous"])
def test_where_a_token_is_required_no_socket_opens_without_one(strict: Server, token: str | None) -> None:
    fields = refusal_of(strict, token)
    assert (fields["code"], fields["type"]) == (401, "unauthorized")
    assert "auth.token" in fields["error"]


@pytest.mark.parametrize("token", BAD, ids=lambda text: repr(text[:20]))
def test_a_bad_token_opens_no_socket_also_where_none_is_needed(
    strict: Server, optional: Server, token: str
) -> None:
    for server in (strict, optional):
        fields = refusal_of(server, token)
        assert (fields["code"], fields["type"]) == (401, "unauthorized")
        assert token[:12] not in fields["error"] or len(token) < 12


@pytest.mark.parametrize("token", [7, 1.5, True, ["x"], {"token": "x"}])
def test_a_token_that_is_no_text_is_told_how_to_be_sent(strict: Server, token: object) -> None:
    fields = refusal_of(strict, token)
    assert (fields["code"], fields["type"]) == (400, "invalid_request")
    assert "{token:" in fields["error"]


def test_a_good_token_opens_one_with_or_without_its_scheme_or_as_a_header(strict: Server) -> None:
    token = signing.token()
    for sent in (token, f"Bearer {token}", f"bearer {token}"):
        assert Socket(strict, sent).call("chat_stream", {"message": "Say hello"})["ok"]
        assert Polling(strict).connect(sent).startswith('40{"sid":"')
    header = f"Authorization: Bearer {token}"
    assert Socket(strict, header=[header]).call("chat_stream", {"message": "Say hello"})["ok"]
    assert Polling(strict, Authorization=f"Bearer {token}").connect().startswith('40{"sid":"')
    with pytest.raises(Refused):
        Socket(strict, "x", header=[header])


def test_who_was_refused_may_try_again_on_the_same_line(strict: Server) -> None:
    line = Polling(strict)
    assert line.connect("x").startswith("44{")
    assert line.connect().startswith("44{")
    assert line.connect(signing.token()).startswith('40{"sid":"')


def test_pythons_client_sees_why_it_may_not_connect(strict: Server) -> None:
    for transports in (["websocket"], ["polling"]):
        client, errors = socketio.Client(reconnection=False), list[Any]()
        client.on("connect_error", errors.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            client.connect(strict.url, auth={"token": "x"}, transports=transports)
        (error,) = errors
        assert refused_with(error) == {"error": error["message"], "code": 401, "type": "unauthorized"}


def test_javascripts_client_sees_why_it_may_not_connect_and_can_try_again(strict: Server) -> None:
    node = which("node")
    if node is None:
        pytest.fail("Node.js is missing: install it (with npm) and run make test again", pytrace=False)
    run = subprocess.run(
        [node, "refused.mjs", strict.url, signing.token()],
        cwd=ROOT / "tests" / "node", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    saw = json.loads(run.stdout)
    assert refused_with(saw) == {"error": saw["message"], "code": 401, "type": "unauthorized"}
    assert saw["active"] is False


@pytest.mark.any_runtime
def test_who_keeps_being_refused_is_kept_out(start_server: StartServer) -> None:
    server = start_server(AUTH="required", JWT_SECRET=SECRET, ADDRESS_LIMIT="6/minute")
    line = raw(server)
    codes = []
    for number in range(7):
        line.send(f'40{{"token":"x{number}"}}')
        codes.append(json.loads(str(line.recv())[2:])["data"]["code"])
    assert codes == [401] * 6 + [429]
    assert line.recv() == "", "its line is closed"
    for path in (f"{HANDSHAKE}polling", "/api/status"):
        response = server.pool.request("GET", f"{server.url}{path}")
        refused(response, 429, "rate_limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    with pytest.raises(websocket.WebSocketBadStatusException) as found:
        Socket(server, signing.token())
    assert found.value.status_code == 429


@pytest.mark.any_runtime
def test_malformed_handshakes_count_as_refused_as_well(start_server: StartServer) -> None:
    server = start_server(ADDRESS_LIMIT="6/minute")
    for query in ("transport=polling", "EIO=3&transport=polling", "EIO=4&transport=smoke", "EIO=4&j=1",
                  "EIO=4&transport=websocket", "EIO=2&transport=polling"):  # fmt: skip
        refused(server.pool.request("GET", f"{server.url}/socket.io/?{query}"), 400, "invalid_request")
    refused(server.pool.request("GET", f"{server.url}{HANDSHAKE}polling"), 429, "rate_limited")


@pytest.mark.any_runtime
def test_those_who_poll_are_not_blamed_for_a_restart(start_server: StartServer) -> None:
    server = start_server(ADDRESS_LIMIT="6/minute")
    for _ in range(10):
        old = server.pool.request("GET", f"{server.url}{HANDSHAKE}polling&sid=of-before")
        refused(old, 400, "invalid_request")
    assert server.pool.request("GET", f"{server.url}{HANDSHAKE}polling").status == 200


# How long


def expiring_within_seconds() -> str:
    """A token whose leeway of 30 s is nearly over."""
    return signing.token(exp=int(time.time()) - 28)


def test_a_socket_whose_token_expires_is_told_and_sent_away(start_server: StartServer) -> None:
    server = start_server(AUTH="required", JWT_SECRET=SECRET, RECHECK_S="0.1", DEMO_TOKENS_PER_SECOND="0")
    token = expiring_within_seconds()
    stays, goes, polls = Socket(server, signing.token()), Socket(server, token), Polling(server)
    assert polls.connect(token).startswith("40")
    stream_id = goes.call("chat_stream", {"message": HANG})["stream_id"]
    *_, (name, why), (last, _) = goes.until("disconnect")
    assert (name, why["code"], why["type"], last) == ("auth_expired", 401, "unauthorized", "disconnect")
    assert "expired" in why["error"]
    assert polls.poll() == [f'42["auth_expired",{json.dumps(why, separators=(",", ":"))}]', "41"]
    goes.emit("chat_stop", {"stream_id": stream_id})
    polls.post(f'42["chat_stop",{{"stream_id":"{stream_id}"}}]')
    with pytest.raises(Refused):
        Socket(server, token)
    again = Socket(server, signing.token())
    assert again.call("chat_resume", {"stream_id": stream_id})["ok"], "the answer has not ended"
    again.until("chat_token")
    assert stays.call("chat_stop", {"stream_id": stream_id})["state"] == "stopped"


@pytest.mark.any_runtime
def test_a_socket_whose_key_is_withdrawn_is_sent_away(start_server: StartServer) -> None:
    with KeyServer() as issuer:
        issuer.publish(row("a"), row("b"))
        server = start_server(
            AUTH="required", JWT_ALGORITHM="RS256", JWKS_URL=issuer.url, RECHECK_S="0.1",
            DEMO_TOKENS_PER_SECOND="0",
        )  # fmt: skip
        tokens = {kid: signing.token("RS256", kid, header={"kid": kid}) for kid in ("a", "b", "c")}
        stays, goes = Socket(server, tokens["a"]), Socket(server, tokens["b"])
        issuer.publish(row("a"))
        deadline = time.monotonic() + 60
        while issuer.asked < 2:  # an unknown key has them fetched again, when that may be done
            assert time.monotonic() < deadline
            with pytest.raises(Refused):
                Socket(server, tokens["c"])
            time.sleep(0.2)
        assert [name for name, _ in goes.until("disconnect")] == ["auth_expired", "disconnect"]
        assert stays.call("chat_stream", {"message": "Say hello"})["ok"]


# From where


def handshake(server: Server, transport: str, **headers: str) -> urllib3.BaseHTTPResponse:
    """Its answer, refused or not; a WebSocket's 101 comes without anything after it."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if transport == "websocket":
        given |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    url = f"{server.url}{HANDSHAKE}{transport}"
    response = server.pool.request("GET", url, headers=given, preload_content=False)
    if response.status != 101:
        response.read(cache_content=True)
    server.opened.append(response.close)
    return response


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("origin", [EVIL, "null", "http://app.example", "https://app.example.evil.example"])
def test_another_sites_page_opens_no_socket(optional: Server, transport: str, origin: str) -> None:
    response = handshake(optional, transport, Origin=origin, X_Request_Id="mine")
    assert "CORS_ORIGINS" in refused(response, 403, "forbidden")
    assert response.headers["X-Request-Id"] == "mine"
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_forged_names_open_no_socket(optional: Server, transport: str) -> None:
    forged = {
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "https",
        "Forwarded": "host=evil.example",
    }
    refused(handshake(optional, transport, Origin=EVIL, **forged), 403, "forbidden")
    rebound = handshake(optional, transport, Host="evil.example", Origin="http://evil.example")
    assert "ALLOWED_HOSTS" in refused(rebound, 403, "forbidden")
    widened = handshake(optional, transport, Host="evil.example", X_Forwarded_Host="127.0.0.1")
    refused(widened, 403, "forbidden")


def test_a_page_of_an_allowed_site_has_a_conversation(optional: Server) -> None:
    socket = Socket(optional, origin=APP)
    assert socket.call("chat_stream", {"message": "Say hello"})["ok"]
    line = Polling(optional, Origin=APP)
    assert line.connect().startswith("40")
    for response in (
        line.post('421["chat_stream",{"message":"Say hello"}]'),
        line.get(),
        line.post_raw(b"\xff"),
        handshake(optional, "polling", Origin=APP),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers
    preflight = optional.pool.request(
        "OPTIONS",
        f"{optional.url}{HANDSHAKE}polling",
        headers={"Origin": APP, "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status == 200
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert "Access-Control-Allow-Origin" not in handshake(optional, "polling").headers


# Whose is what


def told(socket: Socket, event: str, **fields: object) -> dict[str, Any]:
    """An acknowledgement, and nothing else but the same as an event; without what is new each time."""
    said: dict[str, Any] = socket.call(event, fields)
    assert socket.next() == ("chat_stream_error", said)
    return {**said, "request_id": ""}


@pytest.mark.parametrize("other", ["bob", "alice ", "Alice", "user:alice", None])
@pytest.mark.parametrize("running", [True, False], ids=["running", "ended"])
def test_what_is_anothers_is_as_what_never_was(optional: Server, other: str | None, running: bool) -> None:
    alice = Socket(optional, signing.token(sub="alice"))
    message = HANG if running else "[[demo echo]] Hi"
    mine = alice.call("chat_stream", {"message": message})
    thief = Socket(optional, None if other is None else signing.token(sub=other))
    if not running:
        alice.answer()
    for event, fields in (
        ("chat_resume", {"stream_id": mine["stream_id"]}),
        ("chat_resume", {"stream_id": mine["stream_id"], "after": 2, "partial": True}),
        ("chat_stop", {"stream_id": mine["stream_id"]}),
        ("session_join", {"session_id": mine["session_id"]}),
    ):
        none = {**fields, **{name: "A" * 22 for name in fields if name.endswith("_id")}}
        hers = told(thief, event, **fields)
        assert hers == told(thief, event, **none)
        assert (hers["code"], hers["type"]) == (404, "not_found")
    assert thief.call("session_leave", {"session_id": mine["session_id"]})["ok"]
    if running:
        assert alice.call("chat_stop", {"stream_id": mine["stream_id"]})["state"] == "stopped"
    assert not thief.heard


def test_in_a_session_of_the_same_name_nothing_of_anothers_is_heard(optional: Server) -> None:
    alice, bob = (Socket(optional, signing.token(sub=name)) for name in ("alice", "bob"))
    nobody = Socket(optional)
    for who in (alice, bob, nobody):
        assert who.call("chat_stream", {"message": "[[demo echo]] Hi", "session_id": "same"})["ok"]
        who.answer()
        assert who.call("session_join", {"session_id": "same"})["ok"]
    asked = alice.call("chat_stream", {"message": "[[demo echo]] Mine", "session_id": "same"})
    heard = alice.answer()
    assert {data["stream_id"] for name, data in heard if name == "chat_token"} == {asked["stream_id"]}
    clients.ask(optional, "[[demo echo]] Whose", session_id="same").all()
    for who, said in ((bob, "Bob's"), (nobody, "Nobody's")):
        who.call("chat_stream", {"message": f"[[demo echo]] {said}"})
    assert bob.answer()[-1][1]["full_response"] == "Bob's"
    assert {nobody.answer()[-1][1]["full_response"] for _ in range(2)} == {"Whose", "Nobody's"}


def test_what_is_sent_before_the_connection_is_accepted_does_nothing(optional: Server) -> None:
    ask = '427["chat_stream",{"message":"Hi","session_id":"too-early"}]'
    line = Polling(optional)
    assert line.post(ask).status == 200
    assert line.connect().startswith("40"), "the first answer is to the CONNECT"
    again = Polling(optional)
    assert again.post(ask, "40", "41", ask).status == 200
    assert [packet[:2] for packet in again.poll()] == ["40"]
    bare = raw(optional)
    for frame in (ask, "40"):
        bare.send(frame)
    assert str(bare.recv()).startswith("40")
    assert clients.call(optional, "GET", "/api/chat/sessions/too-early")[0] == 404
