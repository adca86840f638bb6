"""Streams as upstreams send them, and what leaves: as events, numbered, and in one piece, byte for byte.

`golden/<shape>.upstream` is what an upstream sent. `<shape>.stream`, `.resumable` and `.whole` are what a
client gets, with the answer's own id and time taken out; `GOLDEN=write` writes them anew, to be read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.fakes.upstream import FakeUpstream, Script, end, head
from tests.servers import Server, servers

pytestmark = pytest.mark.server

GOLDEN = Path(__file__).with_name("golden")
SHAPES = sorted(path.stem for path in GOLDEN.glob("*.upstream"))
WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "stream": ({"stream": True, "stream_options": {"include_usage": True}}, {}),
    "resumable": ({"stream": True}, {"X-Stream-Resume": "1"}),
    "whole": ({}, {}),
}


def recorded(body: dict[str, Any]) -> Script:
    """The stream of the shape that is asked for as the model."""
    return [head(), (GOLDEN / f"{body['model']}.upstream").read_bytes(), end()]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("relay")
    with FakeUpstream(recorded) as upstream, servers(folder) as started:
        env = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_MODELS": ",".join(SHAPES), "RATE_LIMIT": "off"}
        started.append(Server(folder, {"RUNTIME": runtime_name, **env}))
        yield started[0]


def asked(server: Server, shape: str, way: str) -> urllib3.BaseHTTPResponse:
    fields, headers = WAYS[way]
    body = {"model": shape, "messages": [{"role": "user", "content": "Hi"}], "n": 2, **fields}
    return server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body, headers=headers)


def timeless(response: urllib3.BaseHTTPResponse) -> bytes:
    """The body without what is another one with every answer."""
    body = response.data.replace(response.headers["X-Stream-Id"].encode(), b"ID")
    return re.sub(rb'"created":[0-9]+', b'"created":0', body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_leaves_is_what_a_client_of_openai_expects(relay: Server, shape: str, way: str) -> None:
    response = asked(relay, shape, way)
    golden = GOLDEN / f"{shape}.{way}"
    written = b"%d %b\n\n%b" % (
        response.status,
        response.headers["Content-Type"].encode(),
        timeless(response),
    )
    if os.environ.get("GOLDEN") == "write":
        golden.write_bytes(written)
    assert written == golden.read_bytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_who_comes_back_after_any_event_gets_exactly_the_rest(relay: Server, shape: str) -> None:
    response = asked(relay, shape, "resumable")
    events = response.data.decode().split("\n\n")[:-1]
    path = f"{relay.url}/v1/chat/completions/{response.headers['X-Stream-Id']}"
    for number in range(len(events) + 1):
        last = events[number - 1].partition("\n")[0].removeprefix("id: ") if number else "0"
        rest = relay.pool.request("GET", path, headers={"Last-Event-ID": last})
        if number == len(events):
            assert (rest.status, rest.data) == (204, b"")
        else:
            assert rest.data.decode().split("\n\n")[:-1] == events[number:]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_answer_is_what_its_pieces_come_to(relay: Server, shape: str) -> None:
    response = asked(relay, shape, "stream")
    path = f"{relay.url}/v1/chat/completions/{response.headers['X-Stream-Id']}"
    whole = relay.pool.request("GET", path, headers={"Accept": "application/json"})
    body = json.loads(whole.data)
    if whole.status != 200:
        assert body["error"]["code"] == "overloaded"
        return
    chunks = [json.loads(line[6:]) for line in response.data.decode().split("\n\n")[:-2]]
    for choice in body["choices"]:
        deltas = [
            said["delta"] for chunk in chunks for said in chunk["choices"] if said["index"] == choice["index"]
        ]
        for field in ("content", "refusal", "reasoning_content"):
            joined = "".join(delta.get(field) or "" for delta in deltas)
            assert joined == (choice["message"].get(field) or "")
    assert chunks[-1]["usage"] == body["usage"]
