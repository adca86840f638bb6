"""A group of two upstreams, of which the first fails in every way there is."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.clients import ask, text_of
from tests.fakes.upstream import (
    FakeUpstream,
    Script,
    answer,
    chunk,
    close,
    head,
    rate_limited,
    rst,
    stall,
    status,
)
from tests.servers import Server, servers

pytestmark = pytest.mark.server

FAILING: dict[str, Script] = {
    "stalls": [head(), stall()],
    "limits": rate_limited("7"),
    "fails": status(500, {"error": {"message": "down"}}),
    "denies": status(401, {"error": {"message": "no such key"}}),
    "hangs-up": [rst()],
    "says-nothing": [head(framing="close"), close()],
    "dies": [head(framing="close"), chunk("half"), rst()],
    "objects": status(
        400, {"error": {"message": "no", "type": "invalid_request_error", "param": "x", "code": "y"}}
    ),
}
MODELS = """
[[upstream]]
name = "a"
base_url = "{a}"
models = [{failing}]
first_byte_s = 0.4

[[upstream]]
name = "gone"
base_url = "http://127.0.0.1:{closed}/v1"
models = ["refuses"]

[[upstream]]
name = "b"
base_url = "{b}"
models = ["fine"]

[model.fine]
price = {{ input = 0.15, output = 0.6 }}

[group.both-fail]
members = [{{ model = "fails" }}, {{ model = "limits" }}]

[group.only-limits]
members = [{{ model = "limits" }}]
"""
GROUP = """
[group.{name}-first]
cooldown_s = 60
members = [{{ model = "{name}" }}, {{ model = "fine", upstream = "b" }}]
"""
ASKED = {"messages": [{"role": "user", "content": "Hi"}]}


@dataclass(frozen=True, slots=True)
class Pair:
    """A server with a group for each way to fail, named after it."""

    server: Server
    first: FakeUpstream
    second: FakeUpstream

    def ask(self, model: str, **fields: Any) -> urllib3.BaseHTTPResponse:
        body = {"model": model, **ASKED, **fields}
        return self.server.pool.request(
            "POST", f"{self.server.url}/v1/chat/completions", json=body, retries=False
        )

    def calls(self, model: str) -> int:
        return Counter(request.body["model"] for request in self.first.requests)[model]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("groups")
    with socket.socket() as closed, FakeUpstream(lambda body: FAILING[body["model"]]) as first:
        closed.bind(("127.0.0.1", 0))  # and never listens
        with FakeUpstream(answer(["fi", "ne"])) as second, servers(folder) as started:
            text = MODELS.format(
                a=first.base_url,
                b=second.base_url,
                closed=closed.getsockname()[1],
                failing=", ".join(f'"{name}"' for name in FAILING),
            )
            groups = "".join(GROUP.format(name=name) for name in (*FAILING, "refuses"))
            Path(folder, "models.toml").write_text(text + groups)
            env = {"RUNTIME": runtime_name, "MODELS_FILE": str(folder / "models.toml"), "RATE_LIMIT": "off"}
            started.append(Server(folder, env))
            yield Pair(started[0], first, second)


@pytest.mark.parametrize(
    "way", ["refuses", "stalls", "limits", "fails", "denies", "hangs-up", "says-nothing"]
)
def test_before_the_first_token_the_next_is_asked_once_and_the_failing_one_left_alone(
    pair: Pair, way: str
) -> None:
    before = pair.second.calls
    first = pair.ask(f"{way}-first")
    assert (first.status, json.loads(first.data)["choices"][0]["message"]["content"]) == (200, "fine")
    assert (first.headers["X-Upstream"], first.headers["X-Upstream-Tried"]) == ("b", "2")
    again = pair.ask(f"{way}-first", stream=True)
    assert again.data.endswith(b"data: [DONE]\n\n")
    assert (again.headers["X-Upstream"], again.headers["X-Upstream-Tried"]) == ("b", "1")
    assert pair.second.calls == before + 2
    assert pair.calls(way) == (0 if way == "refuses" else 1)


def test_after_the_first_token_a_failure_is_the_answers_and_nobody_else_is_asked(pair: Pair) -> None:
    before = pair.second.calls
    streamed = pair.ask("dies-first", stream=True)
    *pieces, failure, rest = streamed.data.split(b"\n\n")
    assert (streamed.status, rest) == (200, b"")
    assert json.loads(pieces[0][6:])["choices"][0]["delta"]["content"] == "half"
    assert json.loads(failure[6:])["error"]["code"] == "upstream_error"
    assert (streamed.headers["X-Upstream"], streamed.headers["X-Upstream-Tried"]) == ("a", "1")
    assert (pair.calls("dies"), pair.second.calls) == (1, before)
    assert json.loads(pair.ask("dies-first").data)["choices"][0]["message"]["content"] == "fine"
    assert (pair.calls("dies"), pair.second.calls) == (1, before + 1)


def test_what_is_about_the_request_is_told_as_it_is_and_asked_nowhere_else(pair: Pair) -> None:
    before = pair.second.calls
    response = pair.ask("objects-first")
    assert response.status == 400
    error = json.loads(response.data)["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "x", "y")
    assert (pair.calls("objects"), pair.second.calls) == (1, before)


def test_when_all_fail_the_last_ones_status_is_told(pair: Pair) -> None:
    response = pair.ask("both-fail")
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert "X-Upstream" not in response.headers
    assert response.headers["X-Upstream-Tried"] == "2"


def test_who_asked_for_a_pause_is_not_asked_within_it(pair: Pair) -> None:
    assert pair.ask("only-limits").status == 429
    calls = pair.first.calls
    response = pair.ask("only-limits")
    assert (response.status, response.headers["X-Upstream-Tried"]) == (429, "0")
    assert 1 <= int(response.headers["Retry-After"]) <= 7
    assert pair.first.calls == calls


def test_every_door_has_the_groups(pair: Pair) -> None:
    assert text_of(ask(pair.server, "Hi", model="fails-first").all()) == "fine"
    models = json.loads(pair.server.pool.request("GET", f"{pair.server.url}/v1/models").data)["data"]
    owners = {model["id"]: model["owned_by"] for model in models}
    assert (owners["fails-first"], owners["fine"], owners["demo"]) == ("parley", "b", "parley")


def test_metrics_say_who_was_asked_what_came_of_it_and_what_it_cost(pair: Pair) -> None:
    pair.ask("limits-first")
    text = pair.server.pool.request("GET", f"{pair.server.url}/metrics").data.decode()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    calls = 'parley_upstream_calls_total{{model="limits-first",outcome="{}",upstream="{}"}}'
    assert float(samples[calls.format("upstream_error", "a")]) == 1
    answered = float(samples[calls.format("answered", "b")])
    assert answered >= 1
    # 3 tokens in at 0.15 and 2 out at 0.6 micro-USD each are 1.65, rounded up for each answer.
    assert float(samples['parley_cost_micro_usd_total{model="limits-first",upstream="b"}']) == 2 * answered
