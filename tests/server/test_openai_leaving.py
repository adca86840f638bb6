"""Clients of `/v1/chat/completions` that go away, and those that come back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients import call
from tests.fakes.upstream import FakeUpstream, Script, answer, chunk, head, stall
from tests.servers import Server, servers

pytestmark = pytest.mark.server

LET_GO_S = 1.0
BEHAVIOUR: dict[str, Script] = {
    "flows": answer(2000, gap_s=0.02),
    "is-silent-after-a-token": [head(), chunk("a"), stall()],
    "is-silent-after-its-headers": [head(), stall()],
    "does-not-answer": [stall()],
    "ends": answer(["a", "b", "c"], gap_s=0.15),
}
ENDLESS = [name for name in BEHAVIOUR if name != "ends"]


@dataclass(frozen=True, slots=True)
class Relay:
    server: Server
    upstream: FakeUpstream

    @contextmanager
    def asking(self, model: str, **headers: str) -> Iterator[socket.socket]:
        """A client on a bare socket, which leaves at the end; the upstream has been asked when it begins."""
        calls = self.upstream.calls
        fields = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        stream = headers.pop("stream", "yes") == "yes"
        body = json.dumps({**fields, "stream": stream}).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: 127.0.0.1:{self.server.port}"]
        lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
        with socket.create_connection(("127.0.0.1", self.server.port)) as client:
            client.settimeout(10)
            client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            self.upstream.asked(calls + 1)
            yield client


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("leaving")
    with FakeUpstream(lambda body: BEHAVIOUR[body["model"]]) as upstream, servers(folder) as started:
        env = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_MODELS": ",".join(BEHAVIOUR)}
        env |= {"RUNTIME": runtime_name, "RATE_LIMIT": "off", "MAX_STREAMS_PER_CALLER": "200"}
        env["ADDRESS_LIMIT"] = "5/minute"  # who leaves is not refused anything
        started.append(Server(folder, env))
        yield Relay(started[0], upstream)


def until(client: socket.socket, mark: bytes) -> bytes:
    """What came, up to some bytes that hold the mark."""
    said = b""
    while mark not in said:
        more = client.recv(65_536)
        assert more, said
        said += more
    return said


def stream_id_in(said: bytes) -> str:
    return said.partition(b"X-Stream-Id: ")[2].partition(b"\r\n")[0].decode()


@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize("model", ENDLESS)
def test_the_upstream_is_let_go_within_a_second_of_its_client(relay: Relay, model: str, stream: str) -> None:
    with relay.asking(model, stream=stream) as client:
        if stream == "yes" and model in ("flows", "is-silent-after-a-token"):
            stream_id = stream_id_in(until(client, b'"content"'))
        else:
            stream_id = ""
    left_s = time.monotonic()
    assert relay.upstream.closed_within(5) - left_s < LET_GO_S
    if stream_id:
        state = state_of(relay.server, stream_id)
        assert (state["state"], state["finish_reason"]) == ("stopped", "detached")


def state_of(server: Server, stream_id: str) -> dict[str, Any]:
    """Once it has ended."""
    ends_s = time.monotonic() + 5
    while True:
        _, state = call(server, "GET", f"/api/chat/streams/{stream_id}", Accept="application/json")
        if state["state"] != "running":
            found: dict[str, Any] = state
            return found
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize("more", [b"\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_what_a_client_sent_besides_does_not_hide_that_it_left(
    relay: Relay, stream: str, more: bytes
) -> None:
    with relay.asking("does-not-answer", stream=stream) as client:
        client.sendall(more)
    left_s = time.monotonic()
    assert relay.upstream.closed_within(5) - left_s < LET_GO_S


def test_one_that_means_to_come_back_finds_exactly_the_rest(relay: Relay) -> None:
    with relay.asking("ends", **{"X-Stream-Resume": "1"}) as client:
        said = until(client, b'"content"')
    stream_id = stream_id_in(said)
    url = f"{relay.server.url}/v1/chat/completions/chatcmpl-{stream_id}"
    rest = relay.server.pool.request("GET", url, headers={"Last-Event-ID": f"{stream_id}:1"})
    numbers = [line[4:] for line in rest.data.decode().split("\n") if line.startswith("id: ")]
    assert numbers == [f"{stream_id}:{number}" for number in range(2, 6)]
    texts = [json.loads(line[6:]) for line in rest.data.decode().split("\n") if line.startswith("data: {")]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in texts] == ["b", "c", None]
    assert rest.data.endswith(b"data: [DONE]\n\n")


def test_one_of_two_readers_may_leave(relay: Relay) -> None:
    with relay.asking("ends") as first:
        stream_id = stream_id_in(until(first, b'"content"'))
        url = f"{relay.server.url}/v1/chat/completions/{stream_id}"
        second = relay.server.pool.request("GET", url, preload_content=False)
    assert second.read().endswith(b"data: [DONE]\n\n")


def test_one_that_brings_a_key_gets_the_whole_answer_the_second_time_and_asks_once(relay: Relay) -> None:
    calls = relay.upstream.calls
    key = {"Idempotency-Key": "twice"}
    with relay.asking("ends", **key) as first:
        until(first, b'"content"')
    url = f"{relay.server.url}/v1/chat/completions"
    body = {"model": "ends", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    second = relay.server.pool.request("POST", url, json=body, headers=key)
    assert [
        json.loads(line[6:])["choices"][0]["delta"].get("content")
        for line in second.data.decode().split("\n")
        if line.startswith("data: {")
    ] == ["a", "b", "c", None]
    assert relay.upstream.calls == calls + 1


def test_a_position_past_the_end_of_a_running_answer_is_refused(relay: Relay) -> None:
    with relay.asking("is-silent-after-a-token", **{"X-Stream-Resume": "1"}) as client:
        stream_id = stream_id_in(until(client, b'"content"'))
        url = f"{relay.server.url}/v1/chat/completions/{stream_id}"
        for last in (f"{stream_id}:2", "99999999", "other:1", "x"):
            response = relay.server.pool.request("GET", url, headers={"Last-Event-ID": last})
            assert (response.status, json.loads(response.data)["error"]["code"]) == (400, "invalid_request")
        stopped, state = call(relay.server, "POST", f"/api/chat/streams/{stream_id}/stop")
        assert (stopped, state["state"]) == (200, "stopped")
        ending = until(client, b"[DONE]")
        assert b'"finish_reason":"stop"' in ending
