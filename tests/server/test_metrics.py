"""`/metrics` of the real server: what it counts, and who may read it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from backend.access.gate import Gate
from backend.access.origins import Origins
from backend.telemetry.lag import EVERY_S
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.transports.metrics import blueprint
from tests.clients import ask, call
from tests.conftest import StartServer
from tests.fakes.runtime import ThreadRuntime
from tests.servers import PATIENCE_S, Server

TOKEN = "metrics-token-1234567890"
FAST = {"DEMO_TOKENS_PER_SECOND": "0", "STORE_URL": "memory://"}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(server: Server) -> Series:
    response = server.pool.request("GET", f"{server.url}/metrics")
    assert response.status == 200, response.data
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.data.decode())
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: object) -> float:
    """0 for a series that is not there yet."""
    return series.get((name, frozenset((key, str(of)) for key, of in labels.items())), 0)


def wait_until(server: Server, ready: Callable[[Series], bool]) -> Series:
    deadline = time.monotonic() + PATIENCE_S
    while not ready(found := scrape(server)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


@pytest.mark.server
@pytest.mark.any_runtime
def test_the_counts_are_exact(start_server: StartServer) -> None:
    server = start_server(**FAST)
    done = [ask(server, "[[demo tokens=40]] Say hello").all()[-1].data["tokens"] for _ in range(3)]
    failed = ask(server, "[[demo fail=7]] Say hello").all()
    assert failed[-1].data["type"] == "upstream_error"
    held = ask(server, "[[demo hang=5]] Say hello", session_id="held")
    assert call(server, "POST", "/api/chat/stream", {"message": "a", "session_id": "held"})[0] == 409
    assert call(server, "POST", f"/api/chat/streams/{held.stream_id}/stop")[0] == 200
    stopped = held.all()[-1].data["tokens"]
    assert call(server, "POST", "/api/chat/stream", {"message": ""})[0] == 400
    assert call(server, "POST", "/api/chat/stream", {"message": "a", "model": "none"})[0] == 404
    assert call(server, "GET", "/api/chat/sessions/none")[0] == 404
    prompt = {"prompt": "Why?", "stream": True}
    url = f"{server.url}/v1/chat/completions"
    assert server.pool.request("POST", url, json=prompt).data.endswith(b"data: [DONE]\n\n")
    assert server.pool.request("POST", url, json={"prompt": " "}).status == 400

    found = scrape(server)
    ended = "parley_answers_total"
    assert value(found, ended, state="done", model="demo") == 4
    assert value(found, ended, state="failed", model="demo") == 1
    assert value(found, ended, state="stopped", model="demo") == 1
    assert value(found, "parley_upstream_errors_total", type="upstream_error", model="demo") == 1
    assert value(found, "parley_time_to_first_token_seconds_count") == 6
    tokens = value(found, "parley_tokens_total", model="demo")
    assert tokens > sum(done) + 7 + stopped, "and those of the prompt's answer"
    assert value(found, "parley_time_between_tokens_seconds_count") == tokens - 6

    requests, asked = "parley_http_requests_total", {"method": "POST", "route": "/api/chat/stream"}
    assert [value(found, requests, **asked, status=code) for code in (200, 400, 404, 409)] == [5, 1, 1, 1]
    stop = "/api/chat/streams/<stream_id>/stop"
    assert value(found, requests, method="POST", route=stop, status=200) == 1
    assert value(found, "parley_http_request_duration_seconds_count", **asked) == 8
    refused = {
        (kind, door): value(found, "parley_refusals_total", type=kind, door=door)
        for kind, door in (
            ("invalid_request", "sse"), ("model_not_found", "sse"), ("session_busy", "sse"),
            ("invalid_request", "openai"), ("not_found", "http"),
        )
    }  # fmt: skip
    assert set(refused.values()) == {1}, refused


@pytest.mark.server
def test_what_is_open_is_counted_while_it_is(start_server: StartServer) -> None:
    server = start_server(**FAST)
    assert value(scrape(server), "parley_answers_running") == 0
    held = ask(server, "[[demo hang=3]] Say hello")
    next(iter(held))
    now = wait_until(server, lambda found: value(found, "parley_streams_open", door="sse") == 1)
    assert value(now, "parley_answers_running") == 1
    call(server, "POST", f"/api/chat/streams/{held.stream_id}/stop")
    held.all()
    after = wait_until(server, lambda found: value(found, "parley_answers_running") == 0)
    wait_until(server, lambda found: value(found, "parley_streams_open", door="sse") == 0)
    assert value(after, "parley_tokens_total", model="demo") == 3


@pytest.mark.server
def test_a_client_that_leaves_is_no_longer_counted(start_server: StartServer) -> None:
    server = start_server(**FAST)
    ask(server, "[[demo hang=3]] Say hello").take(1)
    wait_until(server, lambda found: value(found, "parley_streams_open", door="sse") == 0)


@pytest.mark.server
def test_clients_cannot_make_new_series(server: Server) -> None:
    def strange(number: int) -> None:
        url = f"{server.url}/api/chat/streams/{number}/{number}"
        assert server.pool.request(f"ODD{number}", url).status in (404, 405)
        server.pool.request("GET", f"{server.url}/{number}?{number}", headers={"X-Request-Id": str(number)})
        call(server, "POST", "/api/chat/stream", {"message": "a", "model": f"m{number}"})

    strange(0)
    before = set(scrape(server))
    for number in range(1, 20):
        strange(number)
    assert set(scrape(server)) - before <= {key for key in scrape(server) if ("route", "/metrics") in key[1]}


def late(series: Series) -> float:
    """How often the hub was over 100 ms late."""
    name = "parley_hub_lag_seconds"
    return value(series, f"{name}_count") - value(series, f"{name}_bucket", le=0.1)


@pytest.mark.server
def test_a_handler_that_computes_for_200_ms_shows_in_the_lag(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "module", "tests.fakes.busy")
    server = start_server(**FAST)
    before = wait_until(server, lambda found: value(found, "parley_hub_lag_seconds_count") > 2)
    assert server.pool.request("GET", f"{server.url}/busy").data == b"computed"
    after = wait_until(server, lambda found: late(found) > late(before))
    assert value(after, "parley_hub_lag_worst_seconds") > 0.2 - EVERY_S - 0.01


@pytest.mark.server
@pytest.mark.any_runtime
def test_with_a_token_only_who_has_it_may_read(start_server: StartServer) -> None:
    server = start_server(METRICS_TOKEN=TOKEN, **FAST)

    def read(authorization: str | None, **headers: str) -> int:
        if authorization is not None:
            headers["Authorization"] = authorization
        return server.pool.request("GET", f"{server.url}/metrics", headers=headers).status

    assert read(f"Bearer {TOKEN}") == 200
    assert read(f"bearer {TOKEN}") == 200
    assert read(f"Bearer {TOKEN}", Host="10.1.2.3:5000") == 200, "a scraper need not know our name"
    for wrong in (None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
                  f"Bearer {TOKEN.upper()}", f"Basic {TOKEN}", "Bearer \xfc"):  # fmt: skip
        assert read(wrong) == 401, wrong
    status, error = call(server, "GET", "/metrics")
    assert (status, error["code"], error["type"]) == (401, 401, "unauthorized")
    assert error["request_id"]
    assert "METRICS_TOKEN" in error["error"]
    assert TOKEN not in server.log


def client(token: str | None = None, *, behind_proxy: bool = False) -> FlaskClient:
    """The route without a server, so that a caller can have any address."""
    app = Flask("test")
    meters = Meters("1", "memory", ThreadRuntime())
    origins = Origins("127.0.0.1", frozenset({"*"}), frozenset())
    web.install(app, origins, Gate(None, False, None), None, meters)
    app.register_blueprint(blueprint(meters.exposition, token, behind_proxy=behind_proxy))
    return app.test_client()


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200), ("127.8.9.10", 200), ("::1", 200), ("::ffff:127.0.0.1", 200),
        ("10.0.0.1", 401), ("192.0.2.7", 401), ("fe80::1", 401), ("::ffff:10.0.0.1", 401), ("", 401),
    ],
)  # fmt: skip
def test_without_a_token_only_this_machine_may_read(address: str, status: int) -> None:
    answer = client().get("/metrics", base_url="http://localhost:5000", environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"}, {"Host": "chat.example.org"}, {"Host": "localhost.example.org"}, {"Host": "@"},
    ],
)  # fmt: skip
def test_what_a_proxy_here_passes_on_is_not_this_machine(headers: dict[str, str]) -> None:
    here = {"REMOTE_ADDR": "127.0.0.1"}
    answer = client().get("/metrics", base_url="http://localhost", headers=headers, environ_base=here)
    assert answer.status_code == 401


def test_behind_a_proxy_nobody_reads_without_a_token() -> None:
    here = {"REMOTE_ADDR": "127.0.0.1"}
    secret = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "10.0.0.1"}
    assert client(behind_proxy=True).get("/metrics", environ_base=here).status_code == 401
    reader = client(TOKEN, behind_proxy=True)
    assert reader.get("/metrics", environ_base=here).status_code == 401
    assert reader.get("/metrics", environ_base=here, headers=secret).status_code == 200
