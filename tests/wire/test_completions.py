"""What OpenAI's SDKs send: passed on, or refused with the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.chat.errors import InvalidRequest
from backend.chat.requests import ChatRequest
from backend.wire.body import read_body
from backend.wire.completions import CompletionBounds, completion_request, is_completion

BOUNDS = CompletionBounds(max_answer_tokens=4096, max_messages=100, max_choices=16)
HI = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def read(**fields: Any) -> ChatRequest:
    body = read_body(json.dumps({"messages": HI, **fields}).encode())
    return completion_request(body, None, BOUNDS, runs_on=False)


def test_everything_that_is_not_ours_is_passed_on_as_it_is() -> None:
    options = {
        "temperature": 0.5,
        "top_p": 1,
        "max_completion_tokens": 7,
        "stop": ["\n"],
        "n": 2,
        "seed": 3,
        "presence_penalty": -1.5,
        "frequency_penalty": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"50256": -100},
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "user": "u",
        "metadata": {"a": "b"},
        "of_tomorrow": [{"x": None}],
    }
    request = read(model="m", stream=True, stream_options={"include_usage": True}, **options)
    completion = request.completion
    assert completion is not None
    assert completion.options == {**options, "stream_options": {"include_usage": True}}
    assert completion.messages == HI
    assert (completion.choices, completion.include_usage) == (2, True)
    assert (request.model, request.max_tokens, request.keep, request.runs_on) == ("m", 7, False, False)


def test_null_is_as_good_as_nothing() -> None:
    request = read(model=None, n=None, stream=None, stream_options=None, tools=None, temperature=None)
    assert request.completion is not None
    assert request.completion.options == {}
    assert (request.completion.choices, request.max_tokens) == (1, 4096)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": HI * 101}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [*HI, {"content": "x"}]}, "messages[1]"),
        ({"messages": [{"role": 1, "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": True}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 4097}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
        *[({name: "x"}, name) for name in ("api_key", "api_base", "base_url", "extra_headers")],
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert refused.value.extras == {"param": param}
    assert param.partition("[")[0] in refused.value.message


def test_whole_numbers_may_be_written_with_a_point() -> None:
    request = read(max_tokens=5.0, n=2.0)
    assert request.completion is not None
    assert request.max_tokens == 5
    assert request.completion.options == {"max_tokens": 5, "n": 2}


def test_a_conversation_may_hold_what_it_holds_with_openai() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief"},
        {"role": "user", "name": "ada", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
        {"role": "assistant", "refusal": "no"},
    ]
    request = read(messages=messages)
    assert request.completion is not None
    assert request.completion.messages == messages


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"messages": HI}, True),
        ({"messages": HI, "prompt": "Hi"}, False),
        ({"prompt": "Hi"}, False),
        ({}, False),
    ],
)
def test_the_two_dialects_are_told_apart_by_their_fields(fields: dict[str, Any], meant: bool) -> None:
    assert is_completion(read_body(json.dumps(fields).encode())) is meant
