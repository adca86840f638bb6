"""The official JavaScript clients of OpenAI's dialect, OpenAI's and the AI SDK, as their users use them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.access import signing
from tests.clients import events
from tests.fakes.answers import CALLS, IMAGE, by_question, question_in
from tests.fakes.upstream import FakeUpstream, Request
from tests.server import seen_by_ai, seen_by_openai
from tests.server.seen import BUDGET
from tests.servers import ROOT, Server, servers

pytestmark = pytest.mark.server

KEY = "sk-of-the-upstream"
CLOSING_S = 1.0
RESUMED = (
    "a stream that is to be resumed is numbered",
    "a stream is not numbered otherwise",
    "a stream is resumed",
)
LATER = ("the built-in model fills a shape", "the built-in model calls a tool")


@dataclass(frozen=True, slots=True)
class Saw:
    """What came of each scenario, by client, and what the upstream was asked meanwhile."""

    openai: dict[str, Any]
    ai: dict[str, Any]
    upstream: FakeUpstream

    def asked(self, model: str, question: str | None = None, **fields: Any) -> list[Request]:
        """The requests for this model with this question and these fields, in their order."""
        wanted = [("model", model), *fields.items()]
        return [
            request
            for request in self.upstream.requests
            if all(request.body.get(name) == value for name, value in wanted)
            and question in (None, question_in(request.body))
        ]


@pytest.fixture(scope="module")
def saw(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Saw]:
    """Starting Node takes its time: each client plays all of its scenarios at once."""
    node = which("node")
    if node is None:
        pytest.fail("Node.js is missing: install it (with npm) and run make test again", pytrace=False)
    folder = tmp_path_factory.mktemp("server")
    with servers(folder) as started, FakeUpstream(by_question()) as upstream:
        env = {
            "RUNTIME": runtime_name, "JWT_SECRET": signing.SECRET, "RATE_LIMIT": f"{BUDGET}/hour",
            "MAX_STREAMS_PER_CALLER": "200", "OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": KEY,
            "OPENAI_MODELS": "for-openai,for-ai",
        }  # fmt: skip
        started.append(Server(folder, env))
        ada, spent = signing.token(sub="ada"), signing.token(sub="spent")
        spend(started[0], spent)
        where = started[0].url, upstream.base_url
        with ThreadPoolExecutor(2) as threads:
            openai = threads.submit(played, node, "openai.mjs", *where, spent)
            ai = threads.submit(played, node, "ai.mjs", *where, ada, spent)
        yield Saw(openai.result(), ai.result(), upstream)


def played(node: str, script: str, *arguments: str) -> dict[str, Any]:
    folder: Path = ROOT / "tests" / "node"
    run = subprocess.run(
        [node, script, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    saw: dict[str, Any] = json.loads(run.stdout)
    return saw


def spend(server: Server, token: str) -> None:
    """All that a caller has."""
    body = {"prompt": "[[demo tokens=1 tps=0]] x", "stream": True, "model": "demo"}
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{server.url}/v1/chat/completions"
    for _ in range(BUDGET):
        assert server.pool.request("POST", url, json=body, headers=headers).status == 200


def test_every_scenario_is_looked_at(saw: Saw) -> None:
    apart = {*seen_by_openai.ABORTED, *RESUMED, *LATER}
    assert set(saw.openai) == {*seen_by_openai.SEEN, *apart}
    assert set(saw.ai) == {*seen_by_ai.SEEN, *seen_by_ai.ABORTED}


@pytest.mark.parametrize("scenario", seen_by_openai.SEEN)
def test_openais_client_sees_what_openai_would_show(saw: Saw, scenario: str) -> None:
    assert saw.openai[scenario] == seen_by_openai.SEEN[scenario]


@pytest.mark.parametrize("scenario", seen_by_ai.SEEN)
def test_the_ai_sdk_sees_what_openai_would_show(saw: Saw, scenario: str) -> None:
    assert saw.ai[scenario] == seen_by_ai.SEEN[scenario]


@pytest.mark.parametrize("scenario", seen_by_openai.ABORTED)
def test_openais_client_goes_and_the_upstream_is_let_go(saw: Saw, scenario: str) -> None:
    user, seen = seen_by_openai.ABORTED[scenario]
    assert_let_go(saw, "for-openai", user, saw.openai[scenario], seen)


@pytest.mark.parametrize("scenario", seen_by_ai.ABORTED)
def test_the_ai_sdk_goes_and_the_upstream_is_let_go(saw: Saw, scenario: str) -> None:
    user, seen = seen_by_ai.ABORTED[scenario]
    assert_let_go(saw, "for-ai", user, saw.ai[scenario], seen)


def assert_let_go(saw: Saw, model: str, user: str, scenario: dict[str, Any], seen: dict[str, Any]) -> None:
    aborted_s = scenario["aborted_s"]
    assert scenario == {**seen, "aborted_s": aborted_s}
    (request,) = saw.asked(model, user=user)
    saw.upstream.until(lambda: request.closed_s is not None)
    assert request.closed_s is not None
    assert -0.1 < request.closed_s - aborted_s < CLOSING_S


def test_a_stream_is_numbered_for_who_means_to_resume(saw: Saw) -> None:
    raw = saw.openai["a stream that is to be resumed is numbered"]
    numbered = events(raw["events"].encode())
    assert [event["id"] for event in numbered] == [f"{raw['stream_id']}:{n}" for n in range(1, 8)]
    assert [event["data"] for event in numbered].index("[DONE]") == 6
    plain = events(saw.openai["a stream is not numbered otherwise"]["events"].encode())
    assert [sorted(event) for event in plain] == [["data"]] * 7


def test_a_stream_is_resumed_with_the_client(saw: Saw) -> None:
    resumed = saw.openai["a stream is resumed"]
    assert (resumed["before"], resumed["content"]) == (["one "], "one two three")
    assert resumed["after"] == {
        "identities": 1, "roles": 0, "texts": ["two ", "three"], "ends": ["stop"], "last": "stop",
        "usages": [],
    }  # fmt: skip


def test_all_that_openais_client_can_say_reaches_the_upstream(saw: Saw) -> None:
    (request,) = saw.asked("for-openai", "picture")
    body = request.body
    options = {
        "temperature": 0.25, "top_p": 0.5, "max_completion_tokens": 77, "stop": ["END"], "n": 1, "seed": 7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logprobs": True, "top_logprobs": 2,
        "logit_bias": {"50256": -100}, "parallel_tool_calls": False, "user": "u-1", "metadata": {"run": "7"},
        "tool_choice": {"type": "function", "function": {"name": "weather"}}, "reasoning_effort": "low",
        "service_tier": "auto", "store": False, "modalities": ["text"],
        "prediction": {"type": "content", "content": "x"}, "not_yet_invented": {"deep": [1, None]},
    }  # fmt: skip
    ours = {"model", "messages", "stream", "stream_options", "tools", "response_format"}
    assert {name: value for name, value in body.items() if name not in ours} == options
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert [tool["function"]["name"] for tool in body["tools"]] == list(CALLS)
    assert body["tools"][0]["function"]["strict"] is True
    shape = body["response_format"]
    assert (shape["type"], shape["json_schema"]["name"]) == ("json_schema", "person")
    assert shape["json_schema"]["schema"]["required"] == ["name", "born", "fields"]
    call = {
        "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
    }  # fmt: skip
    assert body["messages"] == [
        {"role": "developer", "content": "Be brief"},
        {"role": "user", "name": "ada", "content": [
            {"type": "text", "text": "picture"},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        ]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
    ]  # fmt: skip


def test_all_that_the_ai_sdk_can_say_reaches_the_upstream(saw: Saw) -> None:
    (request,) = saw.asked("for-ai", "picture")
    body = request.body
    options = {
        "temperature": 0.25, "top_p": 0.5, "max_tokens": 77, "stop": ["END"], "seed": 7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "user": "u-1", "tool_choice": "auto",
        "reasoning_effort": "low", "not_yet_invented": {"deep": [1, None]},
    }  # fmt: skip
    ours = {"model", "messages", "stream", "stream_options", "tools"}
    assert {name: value for name, value in body.items() if name not in ours} == options
    said = [(message["role"], message["content"]) for message in body["messages"]]
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    assert said[:2] == [
        ("system", "Be brief"), ("user", [{"type": "text", "text": "picture"}, image]),
    ]  # fmt: skip
    assert said[3] == ("tool", "sunny")
    assert body["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"city":"Rome"}'


@pytest.mark.parametrize(
    ("model", "results"),
    [
        ("for-openai", [("call_weather", "21 degrees in Köln"), ("call_clock", "noon")]),
        ("for-ai", [("call_weather", '{"degrees":21}'), ("call_clock", "noon")]),
    ],
)
def test_the_results_of_tools_reach_the_upstream(
    saw: Saw, model: str, results: list[tuple[str, str]]
) -> None:
    answered = [r.body["messages"] for r in saw.asked(model, "tools") if len(r.body["messages"]) > 1]
    assert len(answered) == 2, "one of a whole answer, one of a stream"
    for _, calling, *tools in answered:
        calls = [(call["id"], json.loads(call["function"]["arguments"])) for call in calling["tool_calls"]]
        assert calls == [(f"call_{name}", said) for name, said in CALLS.items()]
        assert [(tool["tool_call_id"], tool["content"]) for tool in tools] == results


def test_the_upstream_is_asked_as_often_as_it_must_be(saw: Saw) -> None:
    asked = {
        question: len(saw.asked("for-openai", question))
        for question in ("busy for an hour", "too busy", "fails", "conflict", "conflict once")
    }
    assert asked == {
        "busy for an hour": 1, "too busy": 1, "fails": 1, "conflict": 1, "conflict once": 2,
    }  # fmt: skip
    assert len(saw.asked("for-openai", "words", seed=41)) == 1
    assert saw.asked("for-openai", "words", seed=42) == []


def test_the_upstream_learns_nothing_of_the_caller(saw: Saw) -> None:
    for request in saw.asked("for-openai") + saw.asked("for-ai"):
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert {name for name in request.headers if name.startswith("x-")} == set()


def test_the_built_in_model_fills_a_shape_for_openais_client(saw: Saw) -> None:
    assert saw.openai["the built-in model fills a shape"] == {
        "name": "string", "born": "number", "fields": "object",
    }  # fmt: skip


def test_the_built_in_model_calls_a_tool_for_openais_client(saw: Saw) -> None:
    called = saw.openai["the built-in model calls a tool"]
    assert called["finish_reason"] == "tool_calls"
    assert called["calls"] == [["weather", "object"]]
