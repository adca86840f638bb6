"""How often: one budget for each caller over every door, and one for an address's refusals."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import copy
from itertools import count
from secrets import token_hex
from threading import Lock

import pytest
import urllib3

from tests.access import signing
from tests.access.signing import SECRET
from tests.conftest import StartServer
from tests.server.test_access import ASK, HELLO, PROMPT, SESSIONS, V1, as_
from tests.server.test_parsing import refused, send
from tests.servers import PATIENCE_S, Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

PLAIN = {"DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": SECRET, "MAX_STREAMS_PER_CALLER": "200"}
_hosts = count(2)


@pytest.fixture
def metered(start_server: StartServer) -> StartServer:
    """Starts servers with the limits given, and none besides."""

    def start(**env: str) -> Server:
        return start_server(**{**PLAIN, **env})

    return start


@pytest.fixture
def from_afar(share_server: StartServer) -> Iterator[StartServer]:
    """The same, of servers that the module's tests share: each test comes from an address of its own, and so
    has the budget of one that nobody has asked anything. Its tokens are to name nobody else's subjects."""
    with ExitStack() as pools:

        def share(**env: str) -> Server:
            server = copy(share_server(**{**PLAIN, **env}))
            here = (f"127.0.0.{next(_hosts)}", 0)
            server.pool = urllib3.PoolManager(
                timeout=PATIENCE_S, retries=False, maxsize=50, source_address=here
            )
            pools.callback(server.hang_up)
            return server

        yield share


def budget_of(response: urllib3.BaseHTTPResponse) -> tuple[int, int]:
    """What an answer says of the limit and of what is left; and when there is more, checked."""
    assert 0 <= int(response.headers["X-RateLimit-Reset"]) - time.time() <= 86401
    return int(response.headers["X-RateLimit-Limit"]), int(response.headers["X-RateLimit-Remaining"])


def test_thirty_a_minute_is_what_a_caller_has_over_both_doors(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="30/minute")
    doors = [(ASK, HELLO), (V1, PROMPT)]
    for number in range(30):
        response = send(server, *doors[number % 2])
        assert response.status == 200
        assert budget_of(response) == (30, 29 - number)
    for door, body in doors:
        response = send(server, door, body)
        assert (response.status, budget_of(response)) == (429, (30, 0))
        assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_of_a_hundred_at_once_exactly_thirty_are_answered(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="30/minute")
    doors = [(ASK, HELLO), (V1, PROMPT)]
    with ThreadPoolExecutor(50) as threads:
        responses = list(threads.map(lambda number: send(server, *doors[number % 2]), range(100)))
    assert Counter(response.status for response in responses) == {200: 30, 429: 70}
    assert all("X-Stream-Id" in response.headers for response in responses if response.status == 200)


class Doors:
    """Every door there is, for one caller. Asking gives the status."""

    def __init__(self, server: Server, who: str | None, addresses: int = 1) -> None:
        self.server = server
        self.lock = Lock()
        self.headers = [{**as_(who), "X-Forwarded-For": f"192.0.2.{n}"} for n in range(addresses)]
        token = None if who is None else signing.token(sub=who)
        lines = [[f"{name}: {value}" for name, value in headers.items()] for headers in self.headers]
        self.sockets = [Socket(server, token, header=line) for line in lines]

    def sse(self, number: int) -> int:
        return send(self.server, ASK, HELLO, **self.headers[number % len(self.headers)]).status

    def v1(self, number: int) -> int:
        return send(self.server, V1, PROMPT, **self.headers[number % len(self.headers)]).status

    def socket(self, number: int) -> int:
        """What the acknowledgement says."""
        question = {"message": "[[demo echo]] Hi", "session_id": token_hex(8)}
        with self.lock:
            said = self.sockets[number % len(self.sockets)].call("chat_stream", question)
        return int(said.get("code", 200))

    def ask(self, number: int) -> int:
        """Through one of them, and from one of the addresses."""
        return (self.sse, self.socket, self.v1)[number % 3](number // 3)


CALLERS = pytest.mark.parametrize(("who", "addresses"), [(None, 1), ("alice", 2)], ids=["anonymous", "alice"])


@CALLERS
def test_thirty_a_minute_is_what_a_caller_has_over_all_three_doors(
    metered: StartServer, who: str | None, addresses: int
) -> None:
    doors = Doors(metered(RATE_LIMIT="30/minute", TRUSTED_PROXIES="1"), who, addresses)
    assert [doors.ask(number) for number in range(30)] == [200] * 30
    assert [doors.ask(number) for number in range(30, 42)] == [429] * 12


@CALLERS
def test_of_a_hundred_at_once_through_all_three_doors_exactly_thirty_are_answered(
    metered: StartServer, who: str | None, addresses: int
) -> None:
    server = metered(RATE_LIMIT="30/minute", TRUSTED_PROXIES="1")
    doors = [Doors(server, who, addresses) for _ in range(20)]
    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(lambda number: doors[number % 20].ask(number), range(100)))
    assert Counter(statuses) == {200: 30, 429: 70}
    counts = json.loads(send(server, "GET /api/status").data)["counts"]
    assert counts["live_streams"] <= 30


def test_a_question_too_many_on_a_socket_is_refused_twice_and_told_when_to_come_back(
    metered: StartServer,
) -> None:
    server = metered(RATE_LIMIT="2/minute")
    client = Socket(server)
    for _ in range(2):
        assert client.call("chat_stream", {"message": "[[demo echo]] Hi"})["ok"]
        client.answer()
    refused = client.call("chat_stream", {"message": "[[demo echo]] Hi"})
    assert (refused["ok"], refused["code"], refused["type"]) == (False, 429, "rate_limited")
    assert 1 <= refused["retry_after"] <= 60
    assert client.next() == ("chat_stream_error", refused)
    other = Socket(server)
    assert other.call("chat_stream", {"message": "[[demo echo]] Hi"})["code"] == 429, (
        "an address has one budget"
    )
    assert Socket(server, signing.token()).call("chat_stream", {"message": "[[demo echo]] Hi"})["ok"]


def test_only_a_new_answer_is_paid_for_on_a_socket_as_well(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="2/minute")
    client = Socket(server)
    asked = {"message": "[[demo hang=1]] Hi", "session_id": "s", "idempotency_key": "k"}
    ids = client.call("chat_stream", asked)
    for event, payload, code in (
        ("chat_stream", {"message": ""}, 400),
        ("chat_stream", {"message": "a", "model": "none"}, 404),
        ("chat_stream", {"message": "a", "session_id": "s"}, 409),
        ("chat_stream", {**asked, "message": "b"}, 422),
        ("chat_stream", asked, 200),
        ("chat_resume", {"stream_id": ids["stream_id"]}, 200),
        ("session_join", {"session_id": "s"}, 200),
        ("chat_stop", {"stream_id": ids["stream_id"]}, 200),
    ):
        assert client.call(event, payload).get("code", 200) == code
    assert budget_of(send(server, ASK, HELLO)) == (2, 0)
    assert client.call("chat_stream", {"message": "[[demo echo]] Hi"})["code"] == 429
    assert client.call("chat_stream", asked)["stream_id"] == ids["stream_id"], "joining costs nothing"


@pytest.mark.any_runtime
def test_a_refusal_has_the_shape_of_its_door(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="1/minute")
    send(server, ASK, HELLO)
    response = send(server, ASK, HELLO)
    assert "1/minute" in refused(response, 429, "rate_limited")
    assert response.json()["retry_after"] == int(response.headers["Retry-After"])
    for body in (PROMPT, b'{"prompt": "Hi", "stream": true, "model": "demo"}'):
        response = send(server, V1, body)
        assert response.headers["Content-Type"] == "application/json"
        error = response.json()["error"]
        assert (error["type"], error["param"], error["code"]) == ("requests", None, "rate_limit_exceeded")
        assert response.headers["Retry-After"]
        assert "X-Should-Retry" not in response.headers


@pytest.mark.any_runtime
def test_a_client_library_is_told_not_to_wait_for_what_takes_too_long(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="1/hour")
    send(server, V1, PROMPT)
    response = send(server, V1, PROMPT)
    assert response.headers["X-Should-Retry"] == "false"
    assert 3500 <= int(response.headers["Retry-After"]) <= 3600


def test_after_the_time_that_was_told_one_may_ask_again(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="2/second")
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda _: send(server, ASK, HELLO), range(8)))
    late = [response for response in responses if response.status == 429]
    assert late
    time.sleep(int(late[-1].headers["Retry-After"]))  # the wait is what is tried here
    assert send(server, ASK, HELLO).status == 200


def test_only_a_new_answer_is_paid_for(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="5/minute")

    def left(door: str, body: bytes = b"", status: int = 200, **headers: str) -> int:
        response = send(server, door, body, **headers)
        assert response.status == status, response.data
        return budget_of(response)[1]

    hang = server.pool.request(
        "POST", f"{server.url}/api/chat/stream", preload_content=False,
        body=b'{"message": "[[demo hang=1]] Hi", "session_id": "s"}', headers={"Idempotency-Key": "k"},
    )  # fmt: skip
    server.opened.append(hang.close)
    assert budget_of(hang) == (5, 4)
    assert left(ASK, b"{", 400) == 4
    assert left(ASK, b'{"message": "a", "wrong": 1}', 400) == 4
    assert left(ASK, b'{"message": "a", "model": "none"}', 404) == 4
    assert left(ASK, b'{"message": "a", "session_id": "s"}', 409) == 4
    assert left(ASK, b'{"message": "a", "session_id": "s"}', 422, Idempotency_Key="k") == 4
    assert left(ASK, HELLO, 403, Origin="https://evil.example") == 4
    assert left(ASK, HELLO, 415, Content_Encoding="gzip") == 4
    assert left(V1, b"{", 400) == 4
    assert left(V1, b'{"prompt": ""}', 400) == 4
    assert left(V1, b'{"prompt": "a", "stream": true, "model": "none"}', 404) == 4
    path = f"/api/chat/streams/{hang.headers['X-Stream-Id']}"
    for door in (f"GET {path}", f"POST {path}/stop", f"GET {path}", f"POST {SESSIONS}", f"GET {SESSIONS}/s"):
        response = send(server, door, Accept="application/json")
        assert response.status < 300
        assert "X-RateLimit-Limit" not in response.headers
    joined = b'{"message": "[[demo hang=1]] Hi", "session_id": "s"}'
    assert left(ASK, joined, Idempotency_Key="k") == 4
    assert left(ASK, HELLO) == 3


def test_a_joined_answer_is_open_to_who_has_nothing_left(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="1/minute")
    first = send(server, ASK, HELLO, Idempotency_Key="k")
    again = send(server, ASK, HELLO, Idempotency_Key="k")
    assert again.headers["X-Stream-Id"] == first.headers["X-Stream-Id"]
    assert (again.status, budget_of(again)) == (200, (1, 0))
    assert send(server, ASK, HELLO, Idempotency_Key="l").status == 429


def test_what_was_refused_for_want_of_room_is_not_paid_for(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="5/minute", MAX_STREAMS_PER_CALLER="1")
    url = f"{server.url}/api/chat/stream"
    hang = server.pool.request("POST", url, json={"message": "[[demo hang=1]] Hi"}, preload_content=False)
    server.opened.append(hang.close)
    full = send(server, ASK, HELLO)
    assert (full.status, budget_of(full)) == (503, (5, 4))


def test_a_refused_question_leaves_nothing_behind(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="1/minute", MAX_STREAMS_PER_CALLER="1")
    send(server, ASK, HELLO)
    for _ in range(3):
        body = b'{"message": "a", "session_id": "none"}'
        refused(send(server, ASK, body, Idempotency_Key="k"), 429, "rate_limited")
    assert send(server, f"GET {SESSIONS}/none").status == 404
    assert json.loads(send(server, "GET /api/status").data)["counts"]["live_streams"] == 0


def test_everybody_has_a_budget_of_their_own(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="1/minute")
    for who in ("alice", "bob", None):
        assert send(server, ASK, HELLO, **as_(who)).status == 200
        assert send(server, V1, PROMPT, **as_(who)).status == 429
    bad = send(server, ASK, HELLO, Authorization="Bearer x")
    assert (bad.status, budget_of(bad)) == (401, (1, 0)), "who is not known counts as the address"


@pytest.mark.any_runtime
def test_without_a_limit_there_are_no_headers(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="off")
    for _ in range(40):
        response = send(server, ASK, HELLO)
        assert response.status == 200
        assert "X-RateLimit-Limit" not in response.headers


@pytest.mark.any_runtime
def test_pages_of_other_sites_may_read_the_budget(metered: StartServer) -> None:
    app = "https://app.example"
    server = metered(RATE_LIMIT="1/minute", CORS_ORIGINS=app)
    for status in (200, 429):
        response = send(server, ASK, HELLO, Origin=app)
        assert response.status == status
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"} <= {
            *exposed
        }
    preflight = send(server, "OPTIONS /api/chat/stream", Origin=app, Access_Control_Request_Method="POST")
    assert preflight.status == 204


# Addresses


def forwarded(server: Server, chain: str, **headers: str) -> int:
    return send(server, ASK, HELLO, X_Forwarded_For=chain, **headers).status


@pytest.mark.any_runtime
def test_who_tells_another_address_each_time_gains_nothing(from_afar: StartServer) -> None:
    server = from_afar(RATE_LIMIT="1/minute")
    assert [forwarded(server, f"192.0.2.{number}") for number in range(3)] == [200, 429, 429]
    for name in ("X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"):
        assert send(server, ASK, HELLO, **{name: "192.0.2.99"}).status == 429


@pytest.mark.any_runtime
def test_behind_a_proxy_its_word_counts_and_nobody_elses(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="1/minute", TRUSTED_PROXIES="1")
    assert forwarded(server, "192.0.2.1") == 200
    assert forwarded(server, "192.0.2.2") == 200
    assert [forwarded(server, f"198.51.100.{number}, 192.0.2.1") for number in range(3)] == [429] * 3
    assert forwarded(server, "192.0.2.1:4711") == 429
    assert forwarded(server, "::ffff:192.0.2.1") == 429
    assert forwarded(server, "2001:db8::1") == 200
    assert forwarded(server, "[2001:db8::ffff]:443") == 429
    assert forwarded(server, "2001:db8:0:1::1") == 200
    assert forwarded(server, "rubbish") == 200
    assert forwarded(server, "other\x7frubbish") == 429


@pytest.mark.any_runtime
def test_as_many_proxies_are_believed_as_there_are(metered: StartServer) -> None:
    server = metered(RATE_LIMIT="1/minute", TRUSTED_PROXIES="2")
    assert forwarded(server, "192.0.2.1, 10.0.0.1") == 200
    assert forwarded(server, "192.0.2.1, 10.0.0.2") == 429
    assert forwarded(server, "forged, 192.0.2.1, 10.0.0.1") == 429
    assert forwarded(server, "192.0.2.2, 10.0.0.1") == 200


@pytest.mark.parametrize("proxies", ["0", "1"])
@pytest.mark.any_runtime
def test_a_forged_host_or_scheme_widens_nothing(metered: StartServer, proxies: str) -> None:
    server = metered(TRUSTED_PROXIES=proxies)
    evil = {"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1", "X-Forwarded-For": "192.0.2.1"}
    assert "ALLOWED_HOSTS" in refused(send(server, ASK, HELLO, **evil), 403, "forbidden")
    foreign = {
        "Origin": "https://evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
    }
    assert "CORS_ORIGINS" in refused(send(server, ASK, HELLO, **foreign), 403, "forbidden")
    prefixed = send(server, "GET /health", X_Forwarded_Prefix="/api", X_Forwarded_Port="1")
    assert prefixed.status == 200


def test_an_address_that_keeps_being_refused_is_kept_out_of_everything_but_the_probes(
    metered: StartServer,
) -> None:
    server = metered(ADDRESS_LIMIT="5/minute", TRUSTED_PROXIES="1")

    def status(door: str, body: bytes = b"", address: str = "192.0.2.1", **headers: str) -> int:
        return send(server, door, body, X_Forwarded_For=address, **headers).status

    for _ in range(20):
        assert status(ASK, HELLO) == 200
        assert status("GET /nowhere") == 404
        assert status(ASK, HELLO, Origin="https://evil.example") == 403  # or pages elsewhere could use it up
    assert status(ASK, b"{") == 400
    assert status(ASK, HELLO, Authorization="Bearer x") == 401
    assert status(f"GET {SESSIONS}/none") == 404
    assert status(V1, b"{}") == 400
    assert status("GET /api/nowhere") == 404
    for door in (ASK, V1, f"GET {SESSIONS}", "GET /api/status", "GET /api/nowhere"):
        assert status(door, HELLO) == 429
        assert status(door, HELLO, **as_("alice")) == 429
        assert status(door, HELLO, Authorization="Bearer x") == 429
    for door in ("GET /health", "GET /ready", "GET /"):
        assert status(door) == 200
    assert status(ASK, HELLO, address="192.0.2.2") == 200
    response = send(server, V1, PROMPT, X_Forwarded_For="192.0.2.1")
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_who_is_kept_out_is_let_in_again_however_often_it_came(metered: StartServer) -> None:
    server = metered(ADDRESS_LIMIT="2/second")
    deadline = time.monotonic() + 20
    seen = Counter[int]()
    while not (seen[429] and seen[404] > 4):
        assert time.monotonic() < deadline, seen
        seen[send(server, f"GET {SESSIONS}/none").status] += 1
    assert set(seen) == {404, 429}
