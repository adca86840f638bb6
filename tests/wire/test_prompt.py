"""The prompt dialect, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.errors import (
    Internal,
    InvalidRequest,
    ParleyError,
    Unavailable,
    UpstreamError,
    UpstreamTimeout,
)
from backend.chat.events import Batch, Delta, Failed
from backend.chat.requests import ChatRequest
from backend.wire import prompt
from backend.wire.body import Body, read_body

AT = "2026-01-01T00:00:01+00:00"
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1) | st.sampled_from(
    ["\n", "\r\n", "\r", "\u2028", "\u0085", "\0", "\n\ndata: [DONE]\n\n", "\\", '"']
)


def asked(**fields: Any) -> ChatRequest:
    return prompt.prompt_request(Body({"prompt": "Hi", "stream": True, **fields}, "print"), None, 4096)


def test_a_chunk_is_one_delta() -> None:
    assert prompt.chunks(Batch(0, 0, ["Based on ", "this"], None)) == (
        b'data: {"choices": [{"delta": {"content": "Based on "}}]}\n\n'
        b'data: {"choices": [{"delta": {"content": "this"}}]}\n\n'
    )


def test_the_end_is_a_chunk_that_is_no_json() -> None:
    assert prompt.DONE == b"data: [DONE]\n\n"


def test_an_entry_without_text_is_no_chunk() -> None:
    assert prompt.chunks(Batch(0, 0, [Delta("", {"refusal": "no"})], None)) == b""


@given(st.lists(TEXTS))
def test_what_a_reader_joins_is_the_text_and_no_text_adds_a_line(texts: list[str]) -> None:
    written = prompt.chunks(Batch(0, 0, list(texts), None))
    assert b"\r" not in written
    lines = written.split(b"\n\n")
    assert lines.pop() == b""
    assert not any(b"\n" in line for line in lines)
    read = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in read] == texts


@pytest.mark.parametrize(
    ("body", "golden"),
    [
        (b"", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b" \n", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"hello", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"{", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"\xff\xfe{", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"prompt=Hi&stream=true", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"null", b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b'["prompt"]', b'data: {"error": "No JSON body provided", "code": 400}\n\n'),
        (b"{}", b'data: {"error": "Prompt cannot be empty", "code": 400}\n\n'),
        (b'{"stream": true}', b'data: {"error": "Prompt cannot be empty", "code": 400}\n\n'),
        (b'{"prompt": ""}', b'data: {"error": "Prompt cannot be empty", "code": 400}\n\n'),
        (
            b'{"prompt": " \\t\\r\\n\\u2003", "stream": true}',
            b'data: {"error": "Prompt cannot be empty", "code": 400}\n\n',
        ),
        (
            b'{"prompt": "' + b"a" * 5001 + b'", "stream": true}',
            b'data: {"error": "Prompt exceeds maximum length of 5000 chars", "code": 400}\n\n',
        ),
        (b'{"prompt": "Hi"}', b'data: {"error": "stream parameter must be true", "code": 400}\n\n'),
        (
            b'{"prompt": "Hi", "stream": false}',
            b'data: {"error": "stream parameter must be true", "code": 400}\n\n',
        ),
        (
            b'{"prompt": "Hi", "stream": null}',
            b'data: {"error": "stream parameter must be true", "code": 400}\n\n',
        ),
        (
            b'{"prompt": "Hi", "stream": "true"}',
            b'data: {"error": "stream parameter must be true", "code": 400}\n\n',
        ),
        (
            b'{"prompt": "Hi", "stream": 1}',
            b'data: {"error": "stream parameter must be true", "code": 400}\n\n',
        ),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_each_refusal_has_its_sentence_word_for_word(body: bytes, golden: bytes) -> None:
    with pytest.raises(ParleyError) as caught:
        prompt.prompt_request(prompt.read_prompt_body(body), None, 4096)
    assert prompt.error_event(caught.value) == golden
    assert prompt.error_status(caught.value) == 400


def test_a_prompt_of_exactly_5_000_characters_is_taken() -> None:
    assert len(asked(prompt="ä" * 5000).message) == 5000


def test_a_prompt_is_not_trimmed() -> None:
    assert asked(prompt=" Hi\n").message == " Hi\n"


def test_an_answer_of_this_dialect_is_kept_in_no_session() -> None:
    assert not asked().keep


def test_fields_we_do_not_know_are_let_be() -> None:
    assert asked(user="me", top_p=0.5, anything={"at": ["all"]}).message == "Hi"


@pytest.mark.parametrize("name", ["api_key", "api_base", "base_url"])
def test_credentials_and_addresses_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        asked(**{name: "http://169.254.169.254/"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", 5),
        ("prompt", ["Hi"]),
        ("prompt", None),
        ("prompt", {"text": "Hi"}),
        ("model", 5),
        ("model", ["demo"]),
        ("temperature", "1"),
        ("temperature", True),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", [1]),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", "5"),
        ("max_tokens", True),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest):
        asked(**{name: value})


@pytest.mark.parametrize(
    ("given_tokens", "taken"), [(None, 4096), (1, 1), (7.0, 7), (4096, 4096), (10**18, 4096)]
)
def test_max_tokens_is_bounded_by_the_servers(given_tokens: float | None, taken: int) -> None:
    assert asked(max_tokens=given_tokens).max_tokens == taken


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_has_1_to_255_characters(key: str) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        prompt.prompt_request(read_body(b'{"prompt": "Hi", "stream": true}'), key, 4096)


@pytest.mark.parametrize(
    ("error", "golden"),
    [
        (UpstreamError("It broke"), b'data: {"error": "It broke", "code": 502}\n\n'),
        (UpstreamTimeout("Too slow"), b'data: {"error": "Too slow", "code": 502}\n\n'),
        (Internal("Ours"), b'data: {"error": "Ours", "code": 500}\n\n'),
        (Unavailable("Full"), b'data: {"error": "Full", "code": 503}\n\n'),
        (Failed("upstream_timeout", 504, "Too slow", 3, AT), b'data: {"error": "Too slow", "code": 502}\n\n'),
        (Failed("internal", 500, "Ours", 3, AT), b'data: {"error": "Ours", "code": 500}\n\n'),
    ],
)
def test_an_upstreams_faults_are_502_and_ours_500(error: ParleyError | Failed, golden: bytes) -> None:
    assert prompt.error_event(error) == golden
    assert f'"code": {prompt.error_status(error)}}}'.encode() in golden


@given(TEXTS)
def test_no_sentence_breaks_out_of_its_event(sentence: str) -> None:
    event = prompt.error_event(UpstreamError(sentence))
    assert event.count(b"\n") == 2
    assert b"\r" not in event
    assert json.loads(event.removeprefix(b"data: "))["error"] == sentence
