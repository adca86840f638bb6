"""The upstream provider against an upstream that misbehaves in every way, on plain threads and green."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson
import pytest

from backend.chat.errors import Broken, Misconfigured, UpstreamError, UpstreamTimeout
from backend.chat.events import Delta, Route, Try, Usage
from backend.chat.ports import Ended, Prompt
from backend.chat.stop import Stop
from backend.providers import connections, openai, pool
from backend.providers.faults import translated
from backend.providers.framing import Head, head_of
from backend.providers.openai import OpenAI, TimeLimits, Upstream
from tests.fakes.provider import said
from tests.fakes.runtime import ThreadSignal
from tests.fakes.upstream import (
    DONE,
    FakeUpstream,
    Script,
    answer,
    chunk,
    close,
    delay,
    end,
    event,
    finish,
    head,
    html,
    never_accepting,
    rate_limited,
    raw,
    redirect,
    rst,
    stall,
    status,
    usage,
)

KEY = "sk-canary-0123456789-abcdefghij"
PROMPT = Prompt("gpt-x", [said("system", "be brief"), said("user", "hi")], 50)
Make = Callable[..., OpenAI]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes providers of a base URL, which do not pause long and are closed at the end."""
    made: list[OpenAI] = []

    def provider(base_url: str, *, key: str | None = KEY, retries: int = 2, **limits: float) -> OpenAI:
        made.append(OpenAI(Upstream("fake", base_url, key, TimeLimits(**limits), retries)))
        return made[-1]

    monkeypatch.setattr(openai, "FIRST_PAUSE_S", 0.01)
    yield provider
    for one in made:
        one.close()


def new_stop() -> Stop:
    return Stop(ThreadSignal())


class Reading:
    """One answer, read to its end: what came, and the fault it ended with."""

    def __init__(self, provider: OpenAI, stop: Stop | None = None) -> None:
        self.batches: list[list[Any]] = []
        self.ended: Ended | None = None
        self.route: Route | None = None
        self.fault: Broken | None = None
        self.stop = stop or new_stop()
        self._provider = provider

    def run(self) -> Reading:
        try:
            for piece in self._provider.stream(PROMPT, self.stop):
                if isinstance(piece, Ended):
                    self.ended = piece
                elif isinstance(piece, Route):
                    assert not self.batches
                    self.route = piece
                else:
                    assert piece
                    self.batches.append(piece)
        except Broken as exc:
            self.fault = exc
        return self

    def start(self) -> Reading:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    @property
    def entries(self) -> list[Any]:
        return [entry for batch in self.batches for entry in batch]

    @property
    def text(self) -> str:
        return "".join(entry if isinstance(entry, str) else entry.text for entry in self.entries)


def read(provider: OpenAI) -> Reading:
    return Reading(provider).run()


def read_from(make: Make, *scripts: Script, **limits: float) -> tuple[Reading, FakeUpstream]:
    with FakeUpstream(*scripts) as upstream:
        return read(make(upstream.base_url, **limits)), upstream


def eventually(ready: Callable[[], bool], timeout_s: float = 5.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < ends_s, "it did not happen in time"
        time.sleep(0.002)


# What is asked, and what a good answer becomes.


def test_an_answer_is_its_entries_in_order_then_its_end(make: Make) -> None:
    reading, upstream = read_from(make, answer(["Hel", "lo ", "wörld 😀"]))
    assert reading.entries == ["Hel", "lo ", "wörld 😀"]
    assert reading.ended == Ended("stop", Usage(3, 3, 6))
    (request,) = upstream.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept-encoding"] == "identity"
    assert request.body == {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("how", "beside", "options"),
    [
        ("prefill", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("repeated_prefix", {"prefix": True}, {}),
        ("continue_final_message", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_an_upstream_is_asked_to_go_on_with_an_answer_in_its_own_way(
    how: str, beside: dict[str, Any], options: dict[str, Any]
) -> None:
    with FakeUpstream(answer(["lo"])) as upstream:
        provider = OpenAI(Upstream("fake", upstream.base_url, continues=how))
        pieces = list(provider.stream(replace(PROMPT, partial="Hel"), new_stop()))
        provider.close()
    assert ["lo"] in pieces
    body = upstream.requests[0].body
    assert body["messages"] == [*PROMPT.messages, {"role": "assistant", "content": "Hel", **beside}]
    assert {name: body[name] for name in options} == options
    assert set(body) == {"model", "messages", "max_tokens", "stream", "stream_options", *options}


def test_the_bound_of_an_answer_goes_by_the_name_the_upstream_knows() -> None:
    with FakeUpstream() as upstream:
        provider = OpenAI(Upstream("fake", upstream.base_url, max_tokens_field="max_completion_tokens"))
        assert list(provider.stream(PROMPT, new_stop()))
        provider.close()
    body = upstream.requests[0].body
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


def test_a_temperature_is_passed_on_and_no_key_sends_no_authorization(make: Make) -> None:
    with FakeUpstream() as upstream:
        provider = make(upstream.base_url + "/", key=None)
        assert list(provider.stream(Prompt("m", [], 5, {"temperature": 0.0}), new_stop()))
    assert upstream.requests[0].body["temperature"] == 0.0
    assert upstream.requests[0].path == "/v1/chat/completions"
    assert "authorization" not in upstream.requests[0].headers


def test_the_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(Upstream("fake", "http://h/v1", KEY))


@pytest.mark.parametrize("url", ["", "h/v1", "ftp://h/v1", "http://", "http://u:p@h/v1", "http://[::1/v1"])
def test_an_address_that_cannot_be_one_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured):
        OpenAI(Upstream("fake", url))


def test_a_key_that_would_break_the_request_is_misconfigured_and_not_shown() -> None:
    with pytest.raises(Misconfigured) as caught:
        OpenAI(Upstream("fake", "http://h/v1", "sk-a\r\nX-Evil: 1"))
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize("piecewise", [1, 2, 7])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_answer_in_tiny_pieces_is_exact(make: Make, piecewise: int, framing: str) -> None:
    tokens = ["é\u2028", "\u0085😀", "\r\n", "data: x\n\n", " \0"]
    with FakeUpstream(answer(tokens, framing=framing), piecewise=piecewise) as upstream:
        reading = read(make(upstream.base_url))
    assert reading.entries == tokens
    assert reading.ended == Ended("stop", Usage(3, 5, 8))


def test_bytes_cut_inside_characters_line_ends_and_chunk_sizes_arrive_whole(make: Make) -> None:
    body = b'data: {"choices":[{"delta":{"content":"\xc3\xa9\xf0\x9f\x98\x80"}}]}\r\n\r\n' + DONE
    framed = b"%X;ext=1\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body)
    for at in range(1, len(framed)):
        script = [head(), raw(framed[:at]), raw(framed[at:])]
        if at % 9 == 0:
            script.insert(2, delay(0.003))
        assert read_from(make, script)[0].entries == ["é😀"]


def test_what_arrived_together_is_one_batch(make: Make) -> None:
    together = b"".join(chunk(f"t{n}") for n in range(50))
    reading, _ = read_from(make, [head(), together, finish(), DONE, end()])
    assert reading.batches[0] == [f"t{n}" for n in range(50)]


def test_many_http_chunks_in_one_read_are_one_batch(make: Make) -> None:
    pieces = [chunk(f"t{n}") for n in range(40)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, DONE])
    reading, _ = read_from(make, [head(), raw(framed), end()])
    assert len(reading.batches) == 1
    assert len(reading.entries) == 40


def test_a_token_is_given_the_moment_it_arrives(make: Make) -> None:
    with FakeUpstream([head(), chunk("a"), delay(0.4), chunk("b"), finish(), end()]) as upstream:
        pieces = make(upstream.base_url).stream(PROMPT, new_stop())
        assert next(pieces) == Route((Try("fake"),))
        assert next(pieces) == ["a"]
        assert time.monotonic() - upstream.requests[0].at_s < 0.2
        assert next(pieces) == ["b"]
        pieces.close()


def test_an_event_inside_a_large_http_chunk_does_not_wait_for_its_end(make: Make) -> None:
    first = chunk("a")
    rest = chunk("b") + DONE
    start = b"%x\r\n%b" % (len(first + rest), first)
    with FakeUpstream([head(), raw(start), delay(0.4), raw(rest + b"\r\n"), end()]) as upstream:
        pieces = make(upstream.base_url).stream(PROMPT, new_stop())
        assert next(pieces) == Route((Try("fake"),))
        assert next(pieces) == ["a"]
        assert time.monotonic() - upstream.requests[0].at_s < 0.2
        assert next(pieces) == ["b"]
        pieces.close()


def test_tool_calls_and_other_choices_come_as_deltas(make: Make) -> None:
    call = [{"index": 0, "function": {"name": "f"}}]
    script = [head(), chunk(tool_calls=call), chunk("b", index=1), finish(), finish("length", 1), DONE, end()]
    reading, _ = read_from(make, script)
    assert reading.entries == [
        Delta("", {"tool_calls": call}),
        Delta("", {"index": 1, "content": "b"}),
        Delta("", {"index": 1, "finish_reason": "length"}),
    ]
    assert reading.ended == Ended("stop")


@pytest.mark.parametrize("index", [-1, 128, 10**9])
def test_a_choice_with_a_number_that_none_has_is_no_answer(make: Make, index: int) -> None:
    reading, _ = read_from(make, [head(), chunk("a"), chunk("b", index=index), finish(), DONE, end()])
    assert reading.entries == ["a"]
    assert isinstance(reading.fault, UpstreamError)


def test_calls_that_an_upstream_does_not_number_are_numbered_by_their_ids(make: Make) -> None:
    def said(**call: Any) -> bytes:
        return chunk(tool_calls=[call])

    script = [head(), said(id="a", function={}), said(function={"arguments": "{}"}), said(id="b"), finish()]
    reading, _ = read_from(make, [*script, DONE, end()])
    assert [entry.extra["tool_calls"][0]["index"] for entry in reading.entries] == [0, 0, 1]


def test_interim_answers_are_passed_over_but_not_without_end(make: Make) -> None:
    interim = raw(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert read_from(make, [interim] * 5 + answer(["a"]))[0].text == "a"
    reading, _ = read_from(make, [raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000), stall()])
    assert isinstance(reading.fault, UpstreamError)


def test_a_delta_cannot_say_what_is_its_choices_to_say(make: Make) -> None:
    said = chunk("a", logprobs=1, finish_reason="stop") + chunk("b", reasoning_content="c")
    wrong = said.replace(b'"content": "a"', b'"content": "a", "index": "x"')
    reading, _ = read_from(make, [head(), wrong, finish(), DONE, end()])
    assert reading.entries == ["a", Delta("b", {"reasoning_content": "c"})]


def test_an_error_of_any_length_is_quoted_in_short(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    long = event({"error": {"message": f"{'x' * 900_000} {KEY}"}})
    reading, _ = read_from(make, [head(), long, end()])
    assert len(str(reading.fault)) < 500
    assert max(map(len, caplog.text.splitlines()), default=0) < 5_000


def test_an_answer_in_one_piece_is_accepted(make: Make) -> None:
    message = {"role": "assistant", "content": "all", "refusal": None}
    body = {
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    reading, _ = read_from(make, status(200, body))
    assert reading.entries == ["all"]
    assert reading.ended == Ended("length", Usage(1, 1, 2))


def test_half_a_character_at_the_very_end_becomes_a_replacement_character(make: Make) -> None:
    reading, _ = read_from(make, [head(), chunk("a\ud83d"), finish(), DONE, end()])
    assert reading.text == "a\ufffd"
    assert reading.ended


def said_after_s(said: str) -> float | None:
    return openai.retry_after_s(head_of(f"HTTP/1.1 429 No\r\nRetry-After: {said}".encode()))


def test_an_upstream_may_say_when_to_ask_again_in_seconds_or_as_a_date() -> None:
    assert said_after_s("7") == 7
    soon = said_after_s(formatdate(time.time() + 60, usegmt=True))
    assert soon is not None
    assert 30 < soon <= 60
    assert said_after_s(formatdate(time.time() - 60, usegmt=True)) == 0
    assert said_after_s("Wed, 21 Oct 2015 07:28:00 -0000") == 0
    assert said_after_s("9" * 400) == said_after_s("Fri, 31 Dec 9999 23:59:59 GMT") == 86_400


@pytest.mark.parametrize(
    "said",
    [
        "", "soon", "-1", "1.5", "Wed, 99 Oct 2015", "\u0661",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
    ],
)  # fmt: skip
def test_what_is_neither_says_nothing(said: str) -> None:
    message = Message()
    message["Retry-After"] = said
    assert openai.retry_after_s(Head(429, message, may_stay=True)) is None


# How an answer ends.


def test_a_finish_reason_without_done_is_success(make: Make) -> None:
    reading, _ = read_from(make, answer(["a"], done=False))
    assert reading.ended == Ended("stop", Usage(3, 1, 4))


def test_done_without_a_finish_reason_is_success(make: Make) -> None:
    assert read_from(make, answer(["a"], reason=None))[0].ended == Ended("stop", Usage(3, 1, 4))


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("last", [close(), rst(), end()])
def test_an_answer_with_neither_is_never_complete_and_what_came_is_kept(
    make: Make, framing: str, last: Any
) -> None:
    reading, upstream = read_from(make, [head(framing=framing), chunk("a"), chunk("b"), delay(0.02), last])
    assert reading.entries == ["a", "b"]
    assert reading.ended is None
    assert isinstance(reading.fault, UpstreamError)
    assert "broke off" in reading.fault.message
    assert upstream.calls == 1


@pytest.mark.parametrize("last", [close(), rst()])
def test_a_connection_that_breaks_after_the_finish_reason_is_success(make: Make, last: Any) -> None:
    reading, _ = read_from(make, [head(), chunk("a"), finish(), delay(0.02), last])
    assert reading.entries == ["a"]
    assert reading.ended == Ended("stop")


def test_a_body_shorter_than_its_length_is_no_success(make: Make) -> None:
    reading, _ = read_from(make, [head(framing="5000"), chunk("a"), close()])
    assert reading.entries == ["a"]
    assert isinstance(reading.fault, UpstreamError)


def test_usage_is_not_waited_for_long_after_the_finish_reason(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "USAGE_WAIT_S", 0.1)
    with FakeUpstream([head(), chunk("a"), finish(), stall()]) as upstream:
        assert read(make(upstream.base_url)).ended == Ended("stop")
        assert upstream.closed_within(1) - upstream.requests[0].at_s < 0.5


@pytest.mark.parametrize("count", [-5, 1.5, True, "7", None])
def test_usage_that_cannot_be_true_is_not_said(make: Make, count: Any) -> None:
    assert read_from(make, answer(["a"], used=usage(3, count)))[0].ended == Ended("stop", None)
    assert read_from(make, answer(["a"], used=None))[0].ended == Ended("stop", None)


# What is no answer.


@pytest.mark.parametrize(
    "body",
    [
        [b"data: {\n\n"],
        [b'data: {"choices": 5}\n\n'],
        [b"data: " + b"x" * (10 << 20) + b"\n\n"],
        [raw(b"zz\r\n")],
        [raw(b"-5\r\n")],
        [raw(b"f" * 5000)],
    ],
)
def test_bytes_that_are_no_answer_are_an_error_after_what_came_before(make: Make, body: list[Any]) -> None:
    reading, upstream = read_from(make, [head(), chunk("a"), *body, finish(), DONE, end()])
    assert reading.entries == ["a"]
    assert reading.ended is None
    assert isinstance(reading.fault, UpstreamError)
    assert upstream.calls == 1


def test_an_error_object_in_mid_stream_is_told_in_the_providers_words(make: Make) -> None:
    error = event({"error": {"message": "over\nload"}})
    reading, upstream = read_from(make, [head(), chunk("a") + error, end()])
    assert reading.entries == ["a"]
    assert isinstance(reading.fault, UpstreamError)
    assert "over load" in reading.fault.message
    assert upstream.calls == 1


@pytest.mark.parametrize(
    "script",
    [
        html(),
        status(200, {"error": {"message": "no"}}),
        status(200, {"hello": "world"}),
        status(200, b"<html>"),
        status(200, b"\x1f\x8b", content_type="text/event-stream", headers={"Content-Encoding": "gzip"}),
        status(204),
        [raw(b"SSH-2.0-OpenSSH\r\n\r\n"), close()],
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), close()],
        [raw(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"), close()],
        [raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), stall()],
        [raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 500 + b"\r\n"), stall()],
        [raw(b"HTTP/1.1 200 OK\r\nConte"), close()],
        [close()],
        [rst()],
    ],
)
def test_a_200_that_is_no_answer_is_an_upstream_error(make: Make, script: Script) -> None:
    reading, upstream = read_from(make, script)
    assert isinstance(reading.fault, UpstreamError)
    assert reading.batches == []
    assert upstream.calls == 1


def test_early_hints_before_the_answer_are_skipped(make: Make) -> None:
    reading, _ = read_from(make, [raw(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), *answer(["a"])])
    assert reading.text == "a"


@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
def test_redirects_are_not_followed(make: Make, code: int) -> None:
    with FakeUpstream() as trap, FakeUpstream(status(code, headers={"Location": trap.base_url})) as upstream:
        reading = read(make(upstream.base_url))
        assert (upstream.calls, trap.connections) == (1, 0)
    assert isinstance(reading.fault, UpstreamError)
    assert redirect(trap.base_url)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "too long for this model"),
        (401, "refused our key"),
        (402, "is empty"),
        (403, "refused our key"),
        (404, "no such model"),
        (413, "too long for this model"),
        (422, "too long for this model"),
        (429, "too many requests"),
        (500, "HTTP 500"),
        (529, "HTTP 529"),
    ],
)
def test_a_refusal_says_what_to_do_and_nothing_secret(
    make: Make, caplog: pytest.LogCaptureFixture, code: int, words: str
) -> None:
    with FakeUpstream() as other:
        pass
    address = f"{other.base_url}/x 127.0.0.1:{other.port}"
    message = f"too long for this model, {KEY} {KEY[:9]} {KEY[-12:]} at {address}" + "!" * 999
    with FakeUpstream(status(code, {"error": {"message": message}}), port=other.port) as upstream:
        with caplog.at_level(logging.DEBUG):
            reading = read(make(upstream.base_url, retries=0))
    assert isinstance(reading.fault, UpstreamError)
    assert words in reading.fault.message
    assert len(reading.fault.message) < 400
    for secret in (*(KEY[at : at + 8] for at in range(len(KEY) - 7)), "127.0.0.1", str(upstream.port)):
        assert secret not in reading.fault.message
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'[{"error": {"message": "bad\\u001b[31m thing"}}]', "application/json"),
        (b'{"error": "bad  [31m thing"}', "application/json"),
        (b'{"message": "bad [31m thing"}', "text/plain"),
    ],
)
def test_the_providers_words_are_found_and_made_harmless(make: Make, body: bytes, content_type: str) -> None:
    reading, _ = read_from(make, status(400, body, content_type=content_type))
    assert reading.fault
    assert reading.fault.message.endswith("(HTTP 400): bad [31m thing")


def test_a_refusal_without_words_is_still_a_sentence(make: Make) -> None:
    for script in (status(400, b"<html>"), [head(400, framing="900"), b"{", close()]):
        reading, _ = read_from(make, script)
        assert reading.fault
        assert reading.fault.message.endswith("(HTTP 400); ask again, or choose another model")


# Trying again.


@pytest.mark.parametrize("first", [status(500), status(503), rate_limited("0"), rate_limited()])
def test_a_passing_refusal_is_tried_again(make: Make, first: Script) -> None:
    reading, upstream = read_from(make, first, first, answer(["a"]))
    assert reading.text == "a"
    assert upstream.calls == 3


def test_a_refusal_that_does_not_pass_is_told_after_the_last_attempt(make: Make) -> None:
    reading, upstream = read_from(make, status(503))
    assert isinstance(reading.fault, UpstreamError)
    assert upstream.calls == 3


def test_a_retry_after_is_kept_to(make: Make) -> None:
    _, upstream = read_from(make, rate_limited("1"), answer())
    first, second = upstream.requests
    assert second.at_s - first.at_s >= 1.0


def test_a_long_retry_after_or_one_past_the_total_is_not_waited_for(make: Make) -> None:
    reading, upstream = read_from(make, rate_limited("30"), answer())
    assert (upstream.calls, isinstance(reading.fault, UpstreamError)) == (1, True)
    reading, upstream = read_from(make, rate_limited("3"), answer(), total_s=1)
    assert (upstream.calls, isinstance(reading.fault, UpstreamError)) == (1, True)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_other_refusals_are_not_tried_again(make: Make, code: int) -> None:
    assert read_from(make, status(code), answer())[1].calls == 1


def test_a_connection_that_is_refused_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream() as gone:
        pass
    monkeypatch.setattr(openai, "FIRST_PAUSE_S", 0.2)
    reading = Reading(make(gone.base_url)).start()
    time.sleep(0.03)
    with FakeUpstream(answer(["a"]), port=gone.port):
        reading.thread.join(5)
    assert reading.text == "a"


def test_a_connection_that_stays_refused_is_an_error(make: Make) -> None:
    with FakeUpstream() as gone:
        pass
    reading = read(make(gone.base_url))
    assert isinstance(reading.fault, UpstreamError)
    assert "cannot be reached" in reading.fault.message


def test_a_name_that_does_not_exist_is_an_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: object, **kwargs: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    provider = make("http://parley.invalid/v1")
    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    reading = read(provider)
    assert isinstance(reading.fault, UpstreamError)
    assert "by its name" in reading.fault.message


def test_an_address_is_not_looked_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*args: object, **kwargs: object) -> list[Any]:
        raise AssertionError("it is no name")

    with FakeUpstream(answer(["a"])) as upstream:
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        assert upstream.base_url.startswith("http://127.0.0.1:")
        assert read(make(upstream.base_url)).text == "a"


def test_the_zone_of_an_address_is_looked_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(answer(["a"])) as upstream:
        hosts: list[str] = []

        def lookup(host: str, *_: object, **__: object) -> list[Any]:
            hosts.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", upstream.port))]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        assert read(make(f"http://[fe80::1%25eth0]:{upstream.port}/v1")).text == "a"
        assert hosts == ["fe80::1%eth0"]


def test_the_next_address_of_a_name_is_tried(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(answer(["a"])) as upstream, never_accepting() as silent:
        ports = [int(silent.split(":")[2][:-3]), upstream.port]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        provider = make("http://two.invalid/v1", connect_s=0.4)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        assert read(provider).text == "a"


# Time limits.


def test_each_time_limit_has_its_own_sentence_and_variable(make: Make) -> None:
    trickle: Script = [head(), *[step for n in range(99) for step in (chunk(f"t{n}"), delay(0.02))]]
    dripping: Script = [step for letter in b"HTTP/1.1 200 OK" for step in (raw(bytes([letter])), delay(0.02))]
    cases: list[tuple[Script, dict[str, float], str, int]] = [
        ([stall()], {"first_byte_s": 0.15}, "UPSTREAM_FIRST_BYTE_S", 0),
        ([head(), stall()], {"first_byte_s": 0.15, "between_s": 9}, "UPSTREAM_FIRST_BYTE_S", 0),
        (dripping, {"first_byte_s": 0.15}, "UPSTREAM_FIRST_BYTE_S", 0),
        ([head(), chunk("a"), stall()], {"between_s": 0.15}, "UPSTREAM_BETWEEN_S", 1),
        (trickle, {"total_s": 0.15, "between_s": 0.1}, "UPSTREAM_TOTAL_S", 4),
    ]
    for script, limits, variable, entries in cases:
        with FakeUpstream(script) as upstream:
            started_s = time.monotonic()
            reading = read(make(upstream.base_url, **limits))
            assert 0.1 < time.monotonic() - started_s < 0.6
            assert isinstance(reading.fault, UpstreamTimeout)
            assert variable in reading.fault.message
            assert len(reading.entries) >= entries
            assert upstream.calls == 1
            upstream.closed_within(0.5)


def test_a_silence_before_the_first_byte_may_be_longer_than_one_between_two(make: Make) -> None:
    script = [head(), delay(0.2), chunk("a"), finish(), DONE, end()]
    assert read_from(make, script, between_s=0.1)[0].text == "a"


def test_a_connection_that_does_not_come_about_is_a_timeout(make: Make) -> None:
    with never_accepting() as url:
        reading = read(make(url, connect_s=0.15))
    assert isinstance(reading.fault, UpstreamTimeout)
    assert "UPSTREAM_CONNECT_S" in reading.fault.message


def test_a_tls_handshake_that_stalls_is_a_connect_timeout(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reading = read(make(f"https://127.0.0.1:{silent.getsockname()[1]}/v1", connect_s=0.15))
    assert isinstance(reading.fault, UpstreamTimeout)
    assert "UPSTREAM_CONNECT_S" in reading.fault.message


# Stopping.

FLOOD: Script = [head(), *[chunk(f"t{n} ") for n in range(20_000)], stall()]


@pytest.mark.parametrize(
    ("script", "entries"),
    [
        ([stall()], 0),
        ([head(), stall()], 0),
        ([head(), chunk("a"), stall()], 1),
        (answer(500, gap_s=0.01), 3),
        (FLOOD, 3),
    ],
    ids=["before the headers", "after the headers", "silent", "paced", "flooding"],
)
def test_a_stop_closes_the_upstream_at_once_and_ends_the_answer(
    make: Make, script: Script, entries: int
) -> None:
    with FakeUpstream(script) as upstream:
        reading = Reading(make(upstream.base_url)).start()
        upstream.asked()
        eventually(lambda: len(reading.entries) >= entries)
        stopped_s = time.monotonic()
        reading.stop.request("stopped")
        reading.thread.join(1)
        assert time.monotonic() - stopped_s < 0.25
        assert upstream.closed_within(1) - stopped_s < 0.25
    assert (reading.ended, reading.fault) == (None, None)
    assert upstream.calls == 1


def test_a_stop_while_connecting_ends_at_once(make: Make) -> None:
    with never_accepting() as url:
        assert_a_stop_ends(Reading(make(url)))


def test_a_stop_in_a_tls_handshake_ends_at_once(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert_a_stop_ends(Reading(make(f"https://127.0.0.1:{silent.getsockname()[1]}/v1")))


def test_a_stop_in_the_pause_before_another_attempt_ends_at_once(make: Make) -> None:
    with FakeUpstream(rate_limited("4")) as upstream:
        assert_a_stop_ends(Reading(make(upstream.base_url)), upstream.asked)
        assert upstream.calls == 1


def assert_a_stop_ends(reading: Reading, begun: Callable[[], None] = lambda: None) -> None:
    reading.start()
    begun()
    reading.thread.join(0.1)
    assert reading.thread.is_alive()
    stopped_s = time.monotonic()
    reading.stop.request("stopped")
    reading.thread.join(5)
    assert time.monotonic() - stopped_s < 1.0  # a quarter of that, with room for a slow machine
    assert (reading.batches, reading.ended, reading.fault) == ([], None, None)


def test_a_stop_that_came_first_asks_nobody(make: Make) -> None:
    stop = new_stop()
    stop.request("stopped")
    with FakeUpstream() as upstream:
        reading = Reading(make(upstream.base_url), stop).run()
        assert upstream.connections == 0
    assert (reading.batches, reading.ended, reading.fault) == ([], None, None)


def test_a_reader_that_goes_away_closes_the_upstream(make: Make) -> None:
    with FakeUpstream(answer(500, gap_s=0.01)) as upstream:
        pieces = make(upstream.base_url).stream(PROMPT, new_stop())
        next(pieces)
        closed_s = time.monotonic()
        pieces.close()
        assert upstream.closed_within(1) - closed_s < 0.25


def test_stops_at_any_moment_never_touch_another_answer(make: Make) -> None:
    def some_answers(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            reading = Reading(provider)
            timer = threading.Timer(chance.uniform(0, 0.004), reading.stop.request, ["stopped"])
            stopped = chance.random() < 0.5
            if stopped:
                timer.start()
            reading.run()
            timer.cancel()
            if not stopped:
                whole.append(reading.text == "t0 t1 t2 t3 t4 " and reading.ended is not None)
            elif reading.fault:
                whole.append(False)

    whole: list[bool] = []
    with FakeUpstream() as upstream:
        provider = make(upstream.base_url)
        threads = [threading.Thread(target=some_answers, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert all(whole)
    assert len(whole) > 50


# Connections.


def test_a_connection_serves_answer_after_answer(make: Make) -> None:
    with FakeUpstream() as upstream:
        provider = make(upstream.base_url)
        for _ in range(5):
            assert read(provider).ended
        assert (upstream.calls, upstream.connections) == (5, 1)


def test_answers_at_once_have_a_connection_each_and_leave_them_for_the_next(make: Make) -> None:
    with FakeUpstream(answer(3, gap_s=0.05)) as upstream:
        provider = make(upstream.base_url)
        for _ in range(2):
            readings = [Reading(provider).start() for _ in range(10)]
            for reading in readings:
                reading.thread.join(5)
            assert all(reading.text == "t0 t1 t2 " for reading in readings)
        assert upstream.calls == 20
        assert upstream.connections == 10


def test_only_so_many_connections_are_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE", 2)
    with FakeUpstream(answer(2, gap_s=0.1)) as upstream:
        provider = make(upstream.base_url)
        for reading in [Reading(provider).start() for _ in range(5)]:
            reading.thread.join(5)
        upstream.until(lambda: sum(request.closed_s is not None for request in upstream.requests) == 3)


@pytest.mark.parametrize(
    "script",
    [
        answer(["a"], framing="close"),
        [head(headers={"Connection": "close"}), chunk("a"), DONE, end()],
        [head(), chunk("a"), DONE, raw(b"0\r\n\r\nsurplus")],
        [head(), chunk("a"), DONE, stall()],
        [head(), chunk("a"), finish(), close()],
    ],
)
def test_a_connection_that_is_not_clean_is_not_used_again(make: Make, script: Script) -> None:
    with FakeUpstream(script) as upstream:
        provider = make(upstream.base_url)
        assert read(provider).text == "a"
        upstream.closed_within(1)
        assert read(provider).text == "a"
        assert upstream.connections == 2


def test_an_end_that_lags_behind_done_does_not_hold_up_the_answer(make: Make) -> None:
    with FakeUpstream([head(), chunk("a"), DONE, delay(0.5), end()]) as upstream:
        assert read(make(upstream.base_url)).ended
        assert time.monotonic() - upstream.requests[0].at_s < 0.3


def test_an_idle_connection_that_was_closed_is_replaced(make: Make) -> None:
    with FakeUpstream([*answer(["a"]), close()], answer(["b"])) as upstream:
        provider = make(upstream.base_url)
        assert read(provider).text == "a"
        time.sleep(0.02)
        assert read(provider).text == "b"
        assert (upstream.calls, upstream.connections) == (2, 2)


@pytest.mark.parametrize("last", [close(), rst()])
def test_an_idle_connection_that_closes_under_the_request_is_replaced(make: Make, last: Any) -> None:
    with FakeUpstream(answer(["a"]), [last], answer(["b"])) as upstream:
        provider = make(upstream.base_url, retries=0)
        assert read(provider).text == "a"
        assert read(provider).text == "b"
        assert (upstream.calls, upstream.connections) == (3, 2)


def test_an_idle_connection_grows_too_old(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream() as upstream:
        provider = make(upstream.base_url)
        assert read(provider).ended
        monkeypatch.setattr(connections, "MAX_IDLE_S", 0.0)
        assert read(provider).ended
        assert upstream.connections == 2


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=fake"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {path} -out {path}.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls_streams_and_keeps_its_connection(
    make: Make, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with FakeUpstream(answer(3), answer(3), [head(), chunk("a"), stall()], tls=tls) as upstream:
        provider = make(upstream.base_url)
        assert [read(provider).text, read(provider).text] == ["t0 t1 t2 "] * 2
        assert upstream.connections == 1
        reading = Reading(provider).start()
        eventually(lambda: reading.text == "a")
        stopped_s = time.monotonic()
        reading.stop.request("stopped")
        assert upstream.closed_within(1) - stopped_s < 0.25
        reading.thread.join(1)
        assert (reading.ended, reading.fault) == (None, None)


def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent(
    make: Make, tls: ssl.SSLContext
) -> None:
    with FakeUpstream(tls=tls) as upstream:
        reading = read(make(upstream.base_url))
        assert (upstream.calls, upstream.connections) == (0, 1)
    assert isinstance(reading.fault, UpstreamError)
    assert "prove who it is" in reading.fault.message


@pytest.mark.parametrize("reason", [{"a": 1}, "x" * 1000, "a\nb", 5])
def test_what_is_no_finish_reason_is_an_ordinary_end(make: Make, reason: object) -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": reason}]}
    reading, _ = read_from(make, [head(), event(said), end()])
    assert reading.ended
    assert reading.ended.finish_reason == "stop"


# Foreign exceptions.


def subclasses_in(module: Any, base: type[BaseException]) -> list[type[BaseException]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    return [kind for kind in found if not issubclass(kind, Warning) and kind.__module__ != "email.errors"]


FOREIGN = [
    *subclasses_in(http.client, http.client.HTTPException),
    *subclasses_in(ssl, OSError),
    *subclasses_in(socket, OSError),
    *subclasses_in(orjson, orjson.JSONDecodeError),
    *(ConnectionResetError, BrokenPipeError, TimeoutError, EOFError, UnicodeError),
]


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_foreign_exception_has_its_translation(kind: type[Exception]) -> None:
    fault = translated(kind.__new__(kind))
    assert isinstance(fault, UpstreamError | UpstreamTimeout)
    assert fault.message


def test_a_fault_of_our_own_is_not_blamed_on_the_upstream() -> None:
    assert translated(AttributeError("ours")) is None


# The same under green threads.

GREEN = """
import os
from pathlib import Path
from backend import runtime
runtime.start(os.environ, Path("/nowhere"))
import json, sys, time
from backend.providers.openai import OpenAI, TimeLimits, Upstream
from tests.providers.test_openai import Reading, eventually

def read_twenty(provider):
    readings = [Reading(provider).start() for _ in range(20)]
    for reading in readings:
        reading.thread.join(5)
        assert reading.text == "t0 t1 t2 t3 t4 " and reading.ended, reading.fault

def stop_after(reading, ready):
    reading.start()
    eventually(ready)
    assert reading.thread.is_alive(), reading.fault
    stopped_s = time.monotonic()
    reading.stop.request("stopped")
    reading.thread.join(2)
    assert (reading.ended, reading.fault) == (None, None)
    return time.monotonic() - stopped_s

urls = json.loads(sys.argv[1])
found = {}
for name in ("plain", "tls"):
    provider = OpenAI(Upstream(name, urls[name]))
    read_twenty(provider)
    started_s = time.monotonic()
    read_twenty(provider)
    found[name] = time.monotonic() - started_s
    halted = Reading(OpenAI(Upstream(name, urls[name + "_halting"])))
    found[name + "_stop"] = stop_after(halted, lambda: halted.text == "a")
for name in ("stalled", "connecting", "handshake"):
    ready_s = time.monotonic() + 0.1
    found[name + "_stop"] = stop_after(
        Reading(OpenAI(Upstream(name, urls[name]))), lambda: time.monotonic() > ready_s
    )
    fault = Reading(OpenAI(Upstream(name, urls[name], None, TimeLimits(0.1, 0.1)))).run().fault
    found[name + "_fault"] = fault.message
print(json.dumps(found))
"""


def test_it_streams_pools_and_stops_on_green_threads(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, runtime_name: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("RUNTIME", runtime_name)
    halting = [head(), chunk("a"), stall()]
    with contextlib.ExitStack() as stack:
        fakes = {
            "plain": FakeUpstream(gap_s=0.05),
            "tls": FakeUpstream(gap_s=0.05, tls=tls),
            "plain_halting": FakeUpstream(halting),
            "tls_halting": FakeUpstream(halting, tls=tls),
            "stalled": FakeUpstream([stall()]),
        }
        urls = {name: stack.enter_context(fake).base_url for name, fake in fakes.items()}
        urls["connecting"] = stack.enter_context(never_accepting())
        urls["handshake"] = urls["stalled"].replace("http:", "https:")
        command = [sys.executable, "-c", GREEN, json.dumps(urls)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout.splitlines()[-1])
        for name in ("plain", "tls"):
            assert (fakes[name].calls, fakes[name].connections) == (40, 20)
            assert 0.2 <= found[name] < 1.0
    assert max(seconds for name, seconds in found.items() if name.endswith("_stop")) < 0.25
    assert "UPSTREAM_FIRST_BYTE_S" in found["stalled_fault"]
    assert "UPSTREAM_CONNECT_S" in found["connecting_fault"]
    assert "UPSTREAM_CONNECT_S" in found["handshake_fault"]
