"""`POST /v1/chat/completions` with a prompt, on the real server's sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests.clients import call
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer, chunk, close, delay, head, rst, stall, status
from tests.servers import Server

pytestmark = pytest.mark.server

DONE = b"data: [DONE]\n\n"


def complete(server: Server, prompt: Any, stream: Any = True, **fields: Any) -> urllib3.BaseHTTPResponse:
    body = {"prompt": prompt, "stream": stream, **fields}
    return server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body, preload_content=False)


def post(server: Server, body: bytes, **headers: str) -> urllib3.BaseHTTPResponse:
    return server.pool.request("POST", f"{server.url}/v1/chat/completions", body=body, headers=headers)


def chunks_of(stream: bytes) -> list[str]:
    """The texts of a whole and good answer."""
    events = stream.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    data = [event.removeprefix(b"data: ") for event in events[:-2] if not event.startswith(b":")]
    return [json.loads(text)["choices"][0]["delta"]["content"] for text in data]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """It answers as each test says."""
    with FakeUpstream() as upstream:
        yield upstream


def before(upstream: FakeUpstream) -> dict[str, str]:
    """What a server is told that is to ask it."""
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": "sk-test-0123456789",
        "OPENAI_MODELS": "fake",
    }


@pytest.fixture
def relaying(share_server: StartServer, upstream: FakeUpstream) -> Server:
    return share_server(**before(upstream))


def test_the_answer_is_chunks_and_done(server: Server) -> None:
    response = complete(server, "[[demo echo]] Based on you")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Stream-Id"]
    assert response.data == (
        b'data: {"choices": [{"delta": {"content": "Based"}}]}\n\n'
        b'data: {"choices": [{"delta": {"content": " on"}}]}\n\n'
        b'data: {"choices": [{"delta": {"content": " you"}}]}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "No JSON body provided"),
        (b"  ", "No JSON body provided"),
        (b"prompt=Hi", "No JSON body provided"),
        (b"null", "No JSON body provided"),
        (b'{"stream": true}', "Prompt cannot be empty"),
        (b'{"prompt": "", "stream": true}', "Prompt cannot be empty"),
        (b'{"prompt": " \\n\\t ", "stream": true}', "Prompt cannot be empty"),
        (b'{"prompt": "%b", "stream": true}' % (b"a" * 5001), "Prompt exceeds maximum length of 5000 chars"),
        (
            b'{"prompt": "%b", "stream": true}' % (b" " * 5000 + b"a"),
            "Prompt exceeds maximum length of 5000 chars",
        ),
        (b'{"prompt": "Hi"}', "stream parameter must be true"),
        (b'{"prompt": "Hi", "stream": false}', "stream parameter must be true"),
        (b'{"prompt": "Hi", "stream": "true"}', "stream parameter must be true"),
        (b'{"prompt": "", "stream": false}', "Prompt cannot be empty"),
    ],
    ids=lambda value: repr(value[:36]),
)
def test_a_refusal_is_one_event_word_for_word(server: Server, body: bytes, sentence: str) -> None:
    response = post(server, body, Content_Type="application/json")
    assert response.status == 400
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.data == b'data: {"error": "%b", "code": 400}\n\n' % sentence.encode()
    assert response.headers["X-Request-Id"]
    assert "X-Stream-Id" not in response.headers


def test_a_prompt_of_exactly_5_000_characters_is_answered(server: Server) -> None:
    assert chunks_of(complete(server, "[[demo tokens=1]] ".ljust(5000, "ä")).data)


@pytest.mark.parametrize("name", ["api_key", "api_base", "base_url"])
def test_credentials_and_addresses_are_refused(server: Server, name: str) -> None:
    response = complete(server, "Hi", **{name: "http://169.254.169.254/"})
    assert response.status == 400
    assert name in json.loads(response.data.removeprefix(b"data: "))["error"]


def test_an_unknown_model_is_an_event_with_its_status(server: Server) -> None:
    response = complete(server, "Hi", model="no-such")
    assert response.status == 404
    assert json.loads(response.data.removeprefix(b"data: "))["code"] == 404


def test_nothing_of_it_is_kept_in_a_session(server: Server) -> None:
    response = complete(server, "[[demo echo]] Hi", session_id="prompted")
    assert response.status == 200
    assert "X-Session-Id" not in response.headers
    assert call(server, "GET", "/api/chat/sessions/prompted")[0] == 404


def test_max_tokens_is_heeded(server: Server) -> None:
    assert len(chunks_of(complete(server, "Hi", max_tokens=3).data)) == 3


@pytest.mark.parametrize(
    "prompt",
    [
        "Explain streaming APIs",
        "x",
        "?",
        "\N{GRINNING FACE}",
        "пишите",
        "a " * 2499,
        "\u0085\u2028!",
        "[[demo",
        "***",
        "```",
    ],
    ids=repr,
)
def test_the_built_in_model_says_enough_to_any_prompt(server: Server, prompt: str) -> None:
    texts = chunks_of(complete(server, prompt).data)
    assert len(texts) >= 6
    assert all(texts)
    assert len("".join(texts)) >= 1376


def test_the_built_in_model_talks_about_the_prompt(server: Server) -> None:
    for prompt, word in (("Explain streaming APIs", "streaming"), ("How do glaciers move?", "glaciers")):
        assert word in "".join(chunks_of(complete(server, prompt).data)).lower()


def test_the_built_in_model_begins_within_100_ms_and_keeps_its_pace(start_server: StartServer) -> None:
    server = start_server()
    complete(server, "[[demo echo tps=0]] warm up").read()
    asked_s = time.monotonic()
    arrivals: list[float] = []
    response = complete(server, "Explain streaming APIs")
    for piece in response.stream(65_536):
        arrivals += [time.monotonic() - asked_s] * piece.count(b'"content"')
        if len(arrivals) >= 90:
            break
    response.close()
    assert arrivals[0] < 0.1
    assert len(arrivals) / arrivals[-1] > 30
    assert len({round(arrival, 2) for arrival in arrivals}) > len(arrivals) / 4, "it came in lumps"


@pytest.mark.parametrize(
    "script",
    [
        status(500, {"error": {"message": "down"}}),
        status(401, {"error": {"message": "bad key sk-test-0123456789"}}),
        status(404),
        [head(), b"data: nonsense\n\n", close()],
        [head(framing="close"), close()],
        [rst()],
    ],
    ids=["500", "401", "404", "no JSON", "nothing", "reset"],
)
def test_an_upstream_that_fails_before_the_first_text_is_502(
    relaying: Server, upstream: FakeUpstream, script: Any
) -> None:
    upstream.scripts = [script]
    response = complete(relaying, "Hi")
    assert (response.status, response.headers["Content-Type"]) == (502, "text/event-stream; charset=utf-8")
    assert response.data.startswith(b'data: {"error": "')
    assert response.data.endswith(b'", "code": 502}\n\n')
    assert b"sk-test" not in response.data
    assert b"127.0.0.1" not in response.data


@pytest.mark.parametrize("ending", [rst(), close()], ids=["reset", "close"])
def test_an_upstream_that_fails_later_ends_the_chunks_with_the_error_and_no_done(
    relaying: Server, upstream: FakeUpstream, ending: Any
) -> None:
    upstream.scripts = [[head(framing="close"), chunk("a"), chunk("b"), delay(0.2), ending]]
    response = complete(relaying, "Hi")
    assert response.status == 200
    *texts, failure, rest = response.data.split(b"\n\n")
    assert texts == [b'data: {"choices": [{"delta": {"content": "%b"}}]}' % text for text in (b"a", b"b")]
    said = json.loads(failure.removeprefix(b"data: "))
    assert said["error"]
    assert said["code"] == 502
    assert rest == b""
    assert DONE not in response.data


def test_an_upstream_that_takes_too_long_is_502(start_server: StartServer, upstream: FakeUpstream) -> None:
    upstream.scripts = [[head(), stall()]]
    response = complete(start_server(**before(upstream), UPSTREAM_FIRST_BYTE_S="0.3"), "Hi")
    assert response.status == 502
    assert json.loads(response.data.removeprefix(b"data: "))["code"] == 502


def test_every_text_of_the_upstream_comes_as_it_was(relaying: Server, upstream: FakeUpstream) -> None:
    texts = [
        "\n",
        "\r\n",
        "\r",
        "\n\ndata: [DONE]\n\n",
        "\u2028",
        "\u0085",
        " ",
        "\t",
        "é",
        "\N{GRINNING FACE}",
        '"',
        "\\",
    ]
    upstream.scripts = [answer(texts)]
    assert chunks_of(complete(relaying, "Hi").data) == texts


def test_a_stop_ends_the_chunks_with_done(server: Server) -> None:
    response = complete(server, "[[demo hang=2]] Hi")
    pieces = response.stream(65_536)
    said = next(pieces)
    stream_id = response.headers["X-Stream-Id"]
    stopped, fields = call(server, "POST", f"/api/chat/streams/{stream_id}/stop")
    assert (stopped, fields["state"], fields["tokens"]) == (200, "stopped", 2)
    assert len(chunks_of(said + b"".join(pieces))) == 2


@pytest.mark.any_runtime
def test_a_full_server_says_so_in_this_dialect(start_server: StartServer) -> None:
    server = start_server(MAX_STREAMS="1")
    first = complete(server, "[[demo hang=1]] Hi")
    second = complete(server, "Hi")
    assert (second.status, second.headers["Content-Type"]) == (503, "text/event-stream; charset=utf-8")
    assert second.headers["Retry-After"].isdigit()
    assert json.loads(second.data.removeprefix(b"data: "))["code"] == 503
    call(server, "POST", f"/api/chat/streams/{first.headers['X-Stream-Id']}/stop")
    first.drain_conn()
    assert complete(server, "[[demo echo]] Hi").data.endswith(DONE)
