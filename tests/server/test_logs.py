"""The log of the real server."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.clients import ask, call
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, head
from tests.servers import PATIENCE_S, Server

pytestmark = pytest.mark.server

FAST = {"DEMO_TOKENS_PER_SECOND": "0", "STORE_URL": "memory://", "LOG_LEVEL": "debug"}
CANARY = "canary-9f8e7d6c5b4a"


def objects(server: Server) -> list[dict[str, Any]]:
    """Every line of a JSON log: nothing else may be in it."""
    return [json.loads(line) for line in server.log.split("\n")[:-1]]


def wait_for_line(server: Server, words: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while words not in server.log:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.01)


@pytest.mark.any_runtime
def test_json_has_one_object_a_line_with_the_ids(start_server: StartServer) -> None:
    server = start_server(LOG_FORMAT="json", **FAST)
    answered = ask(server, "[[demo tokens=3]] Say hello")
    answered.all()
    failed = ask(server, "[[demo fail=2]] Say hello")
    failed.all()
    stop = f"/api/chat/streams/{answered.stream_id}/stop"
    assert call(server, "POST", stop, **{"X-Request-Id": "mine.1"})[0] == 200
    assert call(server, "GET", "/nowhere/at/all")[0] == 404
    server.stop()
    lines = objects(server)
    for line in lines:
        assert list(line)[:4] == ["ts", "level", "logger", "message"]
        assert line["ts"].endswith("+00:00")
    asked, after_failure, stopped, nowhere = (
        line for line in lines if "route" in line and line["level"] == "info"
    )
    assert {key: asked[key] for key in ("method", "route", "status", "door", "stream_id")} == {
        "method": "POST", "route": "/api/chat/stream", "status": 200, "door": "sse",
        "stream_id": answered.stream_id,
    }  # fmt: skip
    assert asked["request_id"] == answered.response.headers["X-Request-Id"]
    assert isinstance(asked["ms"], float)
    assert after_failure["stream_id"] == failed.stream_id
    assert (stopped["request_id"], stopped["stream_id"]) == ("mine.1", answered.stream_id)
    assert (nowhere["route"], nowhere["status"], nowhere["type"]) == ("-", 404, "not_found")
    ends = {line["stream_id"]: line for line in lines if line["message"].startswith("answer ")}
    assert ends[answered.stream_id]["level"] == "debug"
    assert ends[answered.stream_id]["state"] == "done"
    assert ends[answered.stream_id]["model"] == "demo"
    end = ends[failed.stream_id]
    assert (end["level"], end["state"], end["type"]) == ("warning", "failed", "upstream_error")


@pytest.mark.any_runtime
def test_text_has_the_same_ids(start_server: StartServer) -> None:
    server = start_server(**FAST)
    answered = ask(server, "[[demo fail=2]] Say hello")
    answered.all()
    server.stop()
    (asked,) = (line for line in server.log.splitlines() if "POST /api/chat/stream 200 " in line)
    request_id = answered.response.headers["X-Request-Id"]
    assert asked.endswith(f" door=sse request_id={request_id} stream_id={answered.stream_id}")
    (end,) = (line for line in server.log.splitlines() if "answer failed after 2 tokens" in line)
    assert " WARNING " in end
    assert end.endswith(f" type=upstream_error stream_id={answered.stream_id}")


@pytest.mark.any_runtime
def test_probes_are_not_in_the_log_unless_they_fail(start_server: StartServer) -> None:
    server = start_server(STORE_URL="memory://", METRICS_TOKEN=CANARY)
    for path in ("/health", "/ready", "/metrics"):
        server.pool.request("GET", f"{server.url}{path}")
    server.stop()
    assert "/health" not in server.log
    assert "/ready" not in server.log
    assert "GET /metrics 401" in server.log


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_clients_send_is_not_in_the_log(start_server: StartServer, log_format: str) -> None:
    server = start_server(LOG_FORMAT=log_format, **FAST)

    def send(method: str, path: str, body: object = None, **headers: str) -> None:
        server.pool.request(method, f"{server.url}{path}", json=body, headers=headers)

    send("GET", f"/{CANARY}")
    send("GET", f"/api/chat/streams/{CANARY}?after={CANARY}")
    send("POST", f"/api/chat/streams/{CANARY}/stop")
    send("GET", f"/static/{CANARY}?{CANARY}={CANARY}")
    send(CANARY.upper(), "/health")
    send("GET", "/health", Authorization=f"Bearer {CANARY}", Cookie=CANARY)
    send("GET", "/api/status", Origin=f"https://{CANARY}", Host=f"{CANARY}.example.org")
    send("GET", "/api/status", **{"X-Request-Id": f"{CANARY}\t{CANARY}", "User-Agent": CANARY})
    send("POST", "/api/chat/stream", {"message": CANARY, "system": CANARY, "session_id": CANARY})
    send("POST", "/api/chat/stream", {"message": f"[[demo fail=1]] {CANARY}"})
    send("POST", "/api/chat/stream", {"message": "a", CANARY: 1, "model": CANARY})
    send("POST", "/v1/chat/completions", {"prompt": CANARY, "stream": True, "model": CANARY})
    server.stop()
    assert CANARY not in server.log.lower()
    assert "POST /api/chat/stream 200" in server.log


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_the_server_must_keep_is_not_in_the_log(start_server: StartServer, log_format: str) -> None:
    """The upstream says our key back, in its refusal."""
    key = f"sk-{CANARY}"
    refusal = [
        head(500, "application/json", framing="close"),
        f'{{"error": {{"message": "no: {key}\\u2028{key}"}}}}'.encode(),
        lambda peer: peer.close(),
    ]
    with FakeUpstream(refusal) as upstream:
        server = start_server(
            **FAST, LOG_FORMAT=log_format, OPENAI_API_KEY=key, OPENAI_BASE_URL=upstream.base_url,
            METRICS_TOKEN=f"{CANARY}-token",
        )  # fmt: skip
        assert ask(server, "go").all()[-1].data["type"] == "upstream_error"
        headers = {"Authorization": f"Bearer {CANARY}-token"}
        assert server.pool.request("GET", f"{server.url}/metrics", headers=headers).status == 200
        wait_for_line(server, "answer failed")
        assert CANARY not in server.log
