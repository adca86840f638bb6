"""OpenAI's official Python SDK against the real server, synchronous and asynchronous: all that it does with
chat completions and models."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.access import signing
from tests.clients import call, get
from tests.fakes.questions import Question, Questions, calls, said
from tests.fakes.upstream import (
    CHUNK,
    DONE,
    Step,
    answer,
    chunk,
    close,
    delay,
    end,
    event,
    finish,
    head,
    stall,
    status,
    usage,
)
from tests.sdks import SDKS, Sync, connected, text_of
from tests.servers import Server, servers

pytestmark = pytest.mark.server

FAKE = "fake"
DEMO = {"model": "demo", "messages": [{"role": "user", "content": "[[demo echo]] one two three"}]}
PARTS = ["one", " two", " three"]
WEATHER = '{"city": "Zürich", "unit": "C"}'
BUSY = status(503, {"error": {"message": "busy"}}, headers={"Retry-After": "9"})
"""So long a pause the server does not make itself: it asks the upstream once, and hands the wait on."""
SLOW_DOWN = status(429, {"error": {"message": "slow down", "type": "requests"}}, headers={"Retry-After": "7"})
LAST_ERROR = {"error": {"message": "the graphics card is gone", "type": "server_error", "code": "gpu_lost"}}


class Weather(BaseModel):
    """Where to look for the weather."""

    city: str
    unit: Literal["C", "F"]


TOOL: Any = openai.pydantic_function_tool(Weather, name="get_weather")


@pytest.fixture(scope="module")
def frugal(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server that answers each caller twice an hour, and one at a time."""
    folder = tmp_path_factory.mktemp("frugal")
    with servers(folder) as started:
        env = {"RUNTIME": runtime_name, "JWT_SECRET": signing.SECRET, "DEMO_TOKENS_PER_SECOND": "0"}
        started.append(Server(folder, {**env, "RATE_LIMIT": "2/hour", "MAX_STREAMS": "1"}))
        yield started[0]


@pytest.fixture(params=SDKS)
def frugal_sdk(request: pytest.FixtureRequest, frugal: Server) -> Iterator[Sync]:
    """Of a caller who has not asked yet."""
    with connected(request.param, frugal) as sdk:
        sdk.client.api_key = signing.token(sub=request.node.name)
        yield sdk


def completing(question: Question, **fields: Any) -> dict[str, Any]:
    """What to complete, in the SDK's words."""
    return {"model": FAKE, "messages": question.messages, **fields}


def events_of(sdk: Sync, **fields: Any) -> tuple[list[Any], Any]:
    """The events of the SDK's `stream()`, and its final completion."""
    with sdk.entered(sdk.client.chat.completions.stream(**fields)) as stream:
        return list(sdk.each(stream)), sdk.wait(stream.get_final_completion())


def of_type(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event.type == name]


def logprob(token: str) -> dict[str, Any]:
    rival = {"token": "no", "logprob": -2.5, "bytes": [110, 111]}
    return {"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": [rival]}


def likely(text: str) -> bytes:
    """The chunk of a token with its log probability."""
    logprobs = {"content": [logprob(text)], "refusal": None}
    choice = {"index": 0, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": None}
    return event({**CHUNK, "choices": [choice]})


def test_a_completion_comes_whole(sdk: Sync, relay: Server) -> None:
    before = int(time.time())
    completion = sdk.create(**DEMO)
    assert completion.id.startswith("chatcmpl-")
    assert completion.object == "chat.completion"
    assert before <= completion.created <= time.time()
    assert completion.model == "demo"
    (choice,) = completion.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert choice.message.model_dump(exclude_none=True) == {"role": "assistant", "content": "one two three"}
    assert completion.usage.completion_tokens == len(PARTS)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + len(PARTS)
    stream_id = completion.id.removeprefix("chatcmpl-")
    assert get(relay, f"/api/chat/streams/{stream_id}", Accept="application/json")["text"] == "one two three"


def test_a_stream_is_chunks_of_one_completion_with_one_end(sdk: Sync) -> None:
    chunks = sdk.chunks(**DEMO)
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"
    assert [chunk.choices[0].delta.content for chunk in chunks] == [*PARTS, None]
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_every_text_comes_as_it_was(sdk: Sync, questions: Questions) -> None:
    texts = [
        "\n",
        "\r\n",
        "\r",
        "\n\ndata: [DONE]\n\n",
        "\u2028",
        "\u2029",
        "\u0085",
        " ",
        "é",
        "\N{GRINNING FACE}",
    ]
    question = questions.new(answer(texts))
    chunks = sdk.chunks(**completing(question))
    assert [chunk.choices[0].delta.content for chunk in chunks[:-1]] == texts
    assert sdk.create(**completing(question)).choices[0].message.content == "".join(texts)


def test_the_helper_tells_of_each_piece_and_of_the_whole(sdk: Sync) -> None:
    events, completion = events_of(sdk, **DEMO)
    deltas = of_type(events, "content.delta")
    assert [(event.delta, event.snapshot) for event in deltas] == [
        ("one", "one"),
        (" two", "one two"),
        (" three", "one two three"),
    ]
    (done,) = of_type(events, "content.done")
    assert done.content == "one two three"
    assert completion.choices[0].message.content == "one two three"
    assert completion.choices[0].finish_reason == "stop"


def test_an_answer_without_a_word_is_an_empty_text(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer([]))
    assert sdk.create(**completing(question)).choices[0].message.content == ""
    (last,) = sdk.chunks(**completing(question))
    assert last.choices[0].delta.role == "assistant"
    assert (last.choices[0].delta.content, last.choices[0].finish_reason) == ("", "stop")


def test_an_answer_that_is_too_long_says_so(sdk: Sync) -> None:
    completion = sdk.create(**DEMO, max_tokens=2)
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == "one two"
    assert sdk.chunks(**DEMO, max_completion_tokens=2)[-1].choices[0].finish_reason == "length"


def test_usage_is_in_the_last_chunk_if_it_was_asked_for(sdk: Sync, questions: Questions) -> None:
    cached = usage(30, 2, prompt_tokens_details={"cached_tokens": 20}, completion_tokens_details=None)
    question = questions.new(said(chunk("Hi"), used=cached))
    chunks = sdk.chunks(**completing(question), stream_options={"include_usage": True})
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices == []
    used = chunks[-1].usage
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == (30, 2, 32)
    assert used.prompt_tokens_details.cached_tokens == 20
    plain = sdk.chunks(**completing(question))
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    assert sdk.create(**completing(question)).usage.prompt_tokens_details.cached_tokens == 20
    _, completion = events_of(sdk, **completing(question), stream_options={"include_usage": True})
    assert completion.usage.total_tokens == 32


def test_twenty_streams_at_once_do_not_mix(relay: Server) -> None:
    async def text_of_each(sdk: Sync) -> list[str]:
        async def text(number: int) -> str:
            asked = f"[[demo echo tps=200]] I am number {number} of twenty"
            messages = [{"role": "user", "content": asked}]
            stream = await sdk.client.chat.completions.create(model="demo", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        return await asyncio.gather(*map(text, range(20)))

    with connected("async", relay) as sdk:
        texts = sdk.wait(text_of_each(sdk))
    assert texts == [f"I am number {number} of twenty" for number in range(20)]


def test_all_that_the_sdk_can_send_reaches_the_upstream(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer())
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    fields = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            *question.messages,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "21 °C"},
            {"role": "user", "name": "alice", "content": [{"type": "text", "text": "And this?"}, image]},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 77,
        "stop": ["END"],
        "n": 2,
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 3,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "verbosity": "low",
        "service_tier": "flex",
        "store": True,
        "metadata": {"team": "blue"},
        "user": "u-1",
        "prediction": {"type": "content", "content": "21"},
    }
    sdk.create(model=FAKE, **fields, extra_body={"top_k": 40, "chat_template_kwargs": {"thinking": False}})
    sent = question.body
    assert {name: sent[name] for name in fields} == fields
    assert (sent["top_k"], sent["chat_template_kwargs"]) == (40, {"thinking": False})
    assert sent["model"] == FAKE
    assert question.requests[-1].headers["authorization"] == "Bearer sk-test-0123456789"


def test_a_field_that_is_none_is_one_not_sent(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer())
    sdk.create(**completing(question), temperature=None, stop=None, max_tokens=None, n=None)
    assert {"temperature", "stop", "n"}.isdisjoint(question.body)


@pytest.mark.parametrize("pieces", [[*WEATHER], [WEATHER]], ids=["by the character", "in one piece"])
def test_a_tool_call_is_put_together(sdk: Sync, questions: Questions, pieces: list[str]) -> None:
    question = questions.new(said(*calls("get_weather", pieces), reason="tool_calls"))
    asked = completing(question, tools=[TOOL])
    completion = sdk.create(**asked)
    (tool_call,) = completion.choices[0].message.tool_calls
    assert (tool_call.id, tool_call.type) == ("call_0", "function")
    assert (tool_call.function.name, tool_call.function.arguments) == ("get_weather", WEATHER)
    assert tool_call.model_extra == {}
    assert completion.choices[0].message.content is None
    assert completion.choices[0].finish_reason == "tool_calls"
    chunks = sdk.chunks(**asked)
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert (deltas[0].id, deltas[0].type, deltas[0].function.name) == ("call_0", "function", "get_weather")
    assert {delta.index for delta in deltas} == {0}
    assert [delta.function.arguments for delta in deltas] == ["", *pieces]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("pieces", [[*WEATHER], [WEATHER]], ids=["by the character", "in one piece"])
def test_the_helper_reads_a_tool_call(sdk: Sync, questions: Questions, pieces: list[str]) -> None:
    question = questions.new(said(*calls("get_weather", pieces), reason="tool_calls"))
    events, completion = events_of(sdk, **completing(question, tools=[TOOL]))
    deltas = of_type(events, "tool_calls.function.arguments.delta")
    assert [event.arguments_delta for event in deltas] == ["", *pieces]
    (done,) = of_type(events, "tool_calls.function.arguments.done")
    assert (done.name, done.index, done.arguments) == ("get_weather", 0, WEATHER)
    assert done.parsed_arguments == Weather(city="Zürich", unit="C")
    assert not of_type(events, "content.done")
    (tool_call,) = completion.choices[0].message.tool_calls
    assert tool_call.function.parsed_arguments == Weather(city="Zürich", unit="C")
    assert completion.choices[0].finish_reason == "tool_calls"


def test_two_tool_calls_after_a_word_stay_two(sdk: Sync, questions: Questions) -> None:
    paris = '{"city": "Paris", "unit": "F"}'
    both = [*calls("get_weather", [*WEATHER]), *calls("get_weather", [*paris], index=1)]
    question = questions.new(said(chunk("Let me look."), *both, reason="tool_calls"))
    message = sdk.create(**completing(question, tools=[TOOL])).choices[0].message
    assert message.content == "Let me look."
    assert [tool_call.id for tool_call in message.tool_calls] == ["call_0", "call_1"]
    assert [tool_call.function.arguments for tool_call in message.tool_calls] == [WEATHER, paris]
    events, completion = events_of(sdk, **completing(question, tools=[TOOL]))
    done = of_type(events, "tool_calls.function.arguments.done")
    assert [(event.index, event.parsed_arguments.city) for event in done] == [(0, "Zürich"), (1, "Paris")]
    assert [event.content for event in of_type(events, "content.done")] == ["Let me look."]
    again = completion.choices[0].message.tool_calls
    assert [tool_call.function.arguments for tool_call in again] == [WEATHER, paris]


def test_a_whole_round_of_a_tool_works(sdk: Sync, questions: Questions) -> None:
    question = questions.new(
        said(*calls("get_weather", [WEATHER]), reason="tool_calls"), answer(["It is ", "21 °C."])
    )
    message = sdk.create(**completing(question, tools=[TOOL])).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21 °C"}
    asked = completing(question, tools=[TOOL]) | {"messages": [*question.messages, message, result]}
    assert sdk.create(**asked).choices[0].message.content == "It is 21 °C."
    told = question.body["messages"][1]
    assert (told["role"], told.get("content")) == ("assistant", None)
    assert told["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": WEATHER}
    assert question.body["messages"][2] == result


def test_an_answer_is_parsed_into_a_pydantic_model(sdk: Sync, questions: Questions) -> None:
    question = questions.new(said(*map(chunk, WEATHER)))
    asked = completing(question, response_format=Weather)
    for parse in (sdk.client.chat.completions.parse, sdk.client.beta.chat.completions.parse):
        completion = sdk.wait(parse(**asked))
        assert completion.choices[0].message.parsed == Weather(city="Zürich", unit="C")
        assert completion.choices[0].message.content == WEATHER
    wanted = question.body["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", "Weather")
    assert wanted["json_schema"]["strict"] is True
    assert wanted["json_schema"]["schema"]["required"] == ["city", "unit"]
    events, completion = events_of(sdk, **asked)
    assert of_type(events, "content.delta")[-2].parsed == {"city": "Zürich", "unit": "C"}
    (done,) = of_type(events, "content.done")
    assert done.parsed == completion.choices[0].message.parsed == Weather(city="Zürich", unit="C")


def test_a_tool_call_is_parsed_into_a_pydantic_model(sdk: Sync, questions: Questions) -> None:
    question = questions.new(said(*calls("get_weather", [*WEATHER]), reason="tool_calls"))
    completion = sdk.wait(sdk.client.chat.completions.parse(**completing(question, tools=[TOOL])))
    (tool_call,) = completion.choices[0].message.tool_calls
    assert tool_call.function.parsed_arguments == Weather(city="Zürich", unit="C")


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("length", openai.LengthFinishReasonError),
        ("content_filter", openai.ContentFilterFinishReasonError),
    ],
)
def test_what_is_not_whole_is_not_parsed(
    sdk: Sync, questions: Questions, reason: str, error: type[Exception]
) -> None:
    question = questions.new(said(chunk('{"city": "Zü'), reason=reason))
    asked = completing(question, response_format=Weather)
    with pytest.raises(error):
        sdk.wait(sdk.client.chat.completions.parse(**asked))
    with pytest.raises(error):
        events_of(sdk, **asked)


def test_a_refusal_is_a_refusal_and_no_text(sdk: Sync, questions: Questions) -> None:
    opening = chunk(role="assistant", content="", refusal=None)
    question = questions.new(said(opening, chunk(refusal="I'm sorry, "), chunk(refusal="but no.")))
    message = sdk.create(**completing(question)).choices[0].message
    assert (message.refusal, message.content) == ("I'm sorry, but no.", None)
    parsed = sdk.wait(sdk.client.chat.completions.parse(**completing(question, response_format=Weather)))
    assert parsed.choices[0].message.parsed is None
    assert parsed.choices[0].message.refusal == "I'm sorry, but no."
    deltas = [chunk.choices[0].delta for chunk in sdk.chunks(**completing(question))]
    assert [delta.refusal for delta in deltas] == ["I'm sorry, ", "but no.", None]
    assert not any(delta.content for delta in deltas)
    events, completion = events_of(sdk, **completing(question, response_format=Weather))
    assert [event.refusal for event in of_type(events, "refusal.done")] == ["I'm sorry, but no."]
    assert completion.choices[0].message.refusal == "I'm sorry, but no."


def test_log_probabilities_are_those_of_each_token(sdk: Sync, questions: Questions) -> None:
    question = questions.new(said(likely("Yes"), likely(" ✓")))
    asked = completing(question, logprobs=True, top_logprobs=1)
    content = sdk.create(**asked).choices[0].logprobs.content
    assert [token.model_dump() for token in content] == [logprob("Yes"), logprob(" ✓")]
    chunks = sdk.chunks(**asked)
    assert [chunk.choices[0].logprobs.content[0].token for chunk in chunks[:-1]] == ["Yes", " ✓"]
    assert chunks[-1].choices[0].logprobs is None
    events, completion = events_of(sdk, **asked)
    (done,) = of_type(events, "logprobs.content.done")
    assert [token.token for token in done.content] == ["Yes", " ✓"]
    assert completion.choices[0].logprobs.content[1].top_logprobs[0].token == "no"


def test_two_choices_that_come_mixed_are_told_apart(sdk: Sync, questions: Questions) -> None:
    opening = [chunk(role="assistant", content="", index=index) for index in (0, 1)]
    mixed = [chunk("a1"), chunk("b1", index=1), chunk(" b2", index=1), chunk(" a2")]
    question = questions.new(said(*opening, *mixed, finish("length", index=1), chunk(" a3")))
    choices = sdk.create(**completing(question, n=2)).choices
    assert [(choice.index, choice.message.content) for choice in choices] == [(0, "a1 a2 a3"), (1, "b1 b2")]
    assert [choice.finish_reason for choice in choices] == ["stop", "length"]
    chunks = sdk.chunks(**completing(question, n=2))
    assert [text_of(chunks, index) for index in (0, 1)] == ["a1 a2 a3", "b1 b2"]
    spoken = [choice for chunk in chunks for choice in chunk.choices]
    ends = [(choice.index, choice.finish_reason) for choice in spoken if choice.finish_reason]
    assert sorted(ends) == [(0, "stop"), (1, "length")]
    assert [choice.index for choice in spoken if choice.delta.role == "assistant"] == [0, 1]
    question = questions.new(said(*opening, *mixed, finish(index=1), chunk(" a3")))
    _, completion = events_of(sdk, **completing(question, n=2))
    assert [choice.message.content for choice in completion.choices] == ["a1 a2 a3", "b1 b2"]
    assert [choice.finish_reason for choice in completion.choices] == ["stop", "stop"]


def test_reasoning_is_there_for_who_asks_for_it(sdk: Sync, questions: Questions) -> None:
    question = questions.new(
        said(chunk(reasoning_content="Let me "), chunk(reasoning_content="think."), chunk("4"))
    )
    message = sdk.create(**completing(question)).choices[0].message
    assert message.content == "4"
    assert message.reasoning_content == message.model_extra["reasoning_content"] == "Let me think."
    deltas = [chunk.choices[0].delta for chunk in sdk.chunks(**completing(question))]
    assert [delta.model_extra.get("reasoning_content") for delta in deltas[:2]] == ["Let me ", "think."]
    assert [delta.content for delta in deltas] == [None, None, "4", None]
    _, completion = events_of(sdk, **completing(question))
    assert completion.choices[0].message.model_extra["reasoning_content"] == "Let me think."
    assert completion.choices[0].message.content == "4"


def test_an_answer_says_whose_it_is(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer(["Hi"]))
    mine = {"X-Request-Id": "my-own.id_1"}
    completion = sdk.create(**completing(question), extra_headers=mine)
    assert completion._request_id == "my-own.id_1"
    raw = sdk.wait(sdk.client.chat.completions.with_raw_response.create(**completing(question)))
    completion = raw.parse()
    assert completion._request_id == raw.request_id == raw.headers["X-Request-Id"]
    assert raw.headers["X-Stream-Id"] == completion.id.removeprefix("chatcmpl-")
    assert (raw.headers["X-Upstream"], raw.headers["X-Upstream-Tried"]) == ("openai", "1")
    assert (raw.status_code, raw.retries_taken) == (200, 0)
    asked = completing(question, stream=True)
    raw = sdk.wait(sdk.client.chat.completions.with_raw_response.create(**asked))
    chunks = list(sdk.each(raw.parse()))
    assert text_of(chunks) == "Hi"
    assert raw.headers["X-Stream-Id"] == chunks[0].id.removeprefix("chatcmpl-")
    assert (raw.headers["X-Upstream"], raw.headers["X-Upstream-Tried"]) == ("openai", "1")


def test_a_response_is_read_as_it_comes(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer(["Hi"]))
    streaming = sdk.client.chat.completions.with_streaming_response
    with sdk.entered(streaming.create(**completing(question))) as response:
        assert response.request_id == response.headers["X-Request-Id"]
        assert response.headers["X-Stream-Id"]
        assert response.headers["X-Upstream"] == "openai"
        assert sdk.wait(response.parse()).choices[0].message.content == "Hi"
    with sdk.entered(streaming.create(**completing(question, stream=True))) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        lines = [line for line in sdk.each(response.iter_lines()) if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "Hi"


def test_whoever_was_asked_in_vain_is_counted(sdk: Sync, questions: Questions) -> None:
    question = questions.new(status(404), answer(["Hi"]))
    asked = {"model": "either", "messages": question.messages}
    raw = sdk.wait(sdk.client.chat.completions.with_raw_response.create(**asked))
    assert raw.parse().choices[0].message.content == "Hi"
    assert raw.parse().model == "either"
    assert (raw.headers["X-Upstream"], raw.headers["X-Upstream-Tried"]) == ("second", "2")
    assert [request.body["model"] for request in question.requests] == ["weak", "strong"]
    question = questions.new(status(404))
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.create(model="either", messages=question.messages)
    assert caught.value.response.headers["X-Upstream-Tried"] == "2"
    assert "X-Upstream" not in caught.value.response.headers


def test_the_budget_is_in_the_headers(frugal_sdk: Sync) -> None:
    for left in ("1", "0"):
        raw = frugal_sdk.wait(frugal_sdk.client.chat.completions.with_raw_response.create(**DEMO))
        assert raw.headers["X-RateLimit-Limit"] == "2"
        assert raw.headers["X-RateLimit-Remaining"] == left
        assert 0 < int(raw.headers["X-RateLimit-Reset"]) - time.time() <= 3601


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "Hi"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 4097}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"extra_body": {"api_key": "sk-mine"}}, "api_key"),
        ({"extra_body": {"base_url": "http://169.254.169.254/"}}, "base_url"),
    ],
    ids=str,
)
def test_a_wrong_request_is_a_bad_request_and_names_the_field(
    sdk: Sync, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.create(**{**DEMO, **fields})
    error = caught.value
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", param)
    assert error.code == "invalid_request"
    assert param in error.body["message"]  # type: ignore[index]
    assert error.request_id == error.response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, openai.BadRequestError),
        (409, openai.ConflictError),
        (413, openai.APIStatusError),
        (422, openai.UnprocessableEntityError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_what_an_upstream_finds_wrong_with_the_request_is_passed_on(
    sdk: Sync, questions: Questions, code: int, error: type[openai.APIStatusError], streamed: bool
) -> None:
    said = {
        "message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    question = questions.new(status(code, {"error": said}))
    with pytest.raises(error) as caught:
        sdk.create(**completing(question, stream=streamed))
    assert caught.value.status_code == code
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "messages")
    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 8192 tokens" in caught.value.message
    assert question.calls == 1


def test_a_body_that_is_too_large_is_refused_however_much_of_it_is_left(sdk: Sync) -> None:
    for size in (1_100_000, 4_000_000):
        with pytest.raises(openai.APIStatusError) as caught:
            sdk.create(**{**DEMO, "messages": [{"role": "user", "content": "a" * size}]})
        assert (caught.value.status_code, caught.value.code) == (413, "payload_too_large")


def test_a_bad_key_is_an_authentication_error(relay: Server, sdk: Sync) -> None:
    client = sdk.client.with_options(api_key="sk-no-such-key-0123456789")
    for refused in (
        lambda: client.chat.completions.create(**DEMO),
        lambda: client.chat.completions.create(**DEMO, stream=True),
        client.models.list,
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk.wait(refused())
        assert caught.value.status_code == 401
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
        assert "sk-no-such-key" not in caught.value.message


def test_a_token_is_a_key_and_keeps_answers_to_its_owner(sdk: Sync) -> None:
    alice, bob = (sdk.client.with_options(api_key=signing.token(sub=name)) for name in ("alice", "bob"))
    mine = sdk.wait(alice.chat.completions.create(**DEMO))
    again = sdk.wait(alice.chat.completions.retrieve(mine.id))
    assert again.choices == mine.choices
    for other in (bob, sdk.client):
        with pytest.raises(openai.NotFoundError):
            sdk.wait(other.chat.completions.retrieve(mine.id))


def test_an_unknown_model_is_not_found(sdk: Sync) -> None:
    for streamed in (False, True):
        with pytest.raises(openai.NotFoundError) as caught:
            sdk.create(**{**DEMO, "model": "no-such"}, stream=streamed)
        assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
        assert "GET /v1/models" in caught.value.message


def test_what_is_not_here_is_not_found(sdk: Sync) -> None:
    for missing in (
        lambda: sdk.client.models.retrieve("no-such"),
        lambda: sdk.client.chat.completions.retrieve("chatcmpl-no-such"),
        lambda: sdk.client.responses.create(model="demo", input="Hi"),
        lambda: sdk.client.embeddings.create(model="demo", input="Hi"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            sdk.wait(missing())
        assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("code", [500, 501, 529])
def test_an_upstream_that_fails_is_a_server_error(sdk: Sync, questions: Questions, code: int) -> None:
    failing = status(code, {"error": {"message": "oh no"}}, headers={"Retry-After": "9"})
    question = questions.new(failing)
    for streamed in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            sdk.create(**completing(question, stream=streamed))
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
        assert caught.value.type == "server_error"
    assert question.calls == 2


@pytest.mark.parametrize("code", [401, 402, 403, 404])
def test_what_an_upstream_has_against_this_server_is_not_the_callers_fault(
    sdk: Sync, questions: Questions, code: int
) -> None:
    question = questions.new(status(code, {"error": {"message": "bad key sk-test-0123456789"}}))
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.create(**completing(question))
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
    assert "sk-test" not in caught.value.message


ENDINGS: dict[str, list[Step]] = {
    "an error": [event(LAST_ERROR), end()],
    "no JSON": [b"data: <html>\n\n", end()],
    "an early end": [end()],
    "a lost line": [close()],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_in_mid_stream_is_raised_after_what_came_before(
    sdk: Sync, questions: Questions, ending: str
) -> None:
    question = questions.new([head(), chunk("one"), chunk(" two"), delay(0.05), *ENDINGS[ending]])
    came = []
    with pytest.raises(openai.APIError) as caught:
        for piece in sdk.each(sdk.create(**completing(question, stream=True))):
            came.append(piece)
    assert text_of(came) == "one two"
    assert not any(piece.choices[0].finish_reason for piece in came)
    assert type(caught.value) is openai.APIError
    assert caught.value.code == ("gpu_lost" if ending == "an error" else "upstream_error")
    assert caught.value.type == "server_error"
    assert caught.value.message


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_in_mid_answer_is_never_a_whole_completion(
    sdk: Sync, questions: Questions, ending: str
) -> None:
    question = questions.new([head(), chunk("one"), chunk(" two"), *ENDINGS[ending]])
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.create(**completing(question))
    assert caught.value.status_code == 502
    with pytest.raises(openai.APIError):
        events_of(sdk, **completing(question))


def test_the_built_in_model_fails_on_demand(sdk: Sync) -> None:
    asked = {"model": "demo", "messages": [{"role": "user", "content": "[[demo fail=2]] Hi"}]}
    with pytest.raises(openai.InternalServerError):
        sdk.create(**asked)
    came = []
    with pytest.raises(openai.APIError) as caught:
        came += [piece.choices[0].delta.content for piece in sdk.each(sdk.create(**asked, stream=True))]
    assert caught.value.code == "upstream_error"


def test_without_retries_a_busy_upstream_is_asked_once(sdk: Sync, questions: Questions) -> None:
    for script, error in ((SLOW_DOWN, openai.RateLimitError), (BUSY, openai.InternalServerError)):
        question = questions.new(script)
        with pytest.raises(error):
            sdk.create(**completing(question))
        assert question.calls == 1


@pytest.mark.parametrize(
    ("script", "code", "wait"), [(SLOW_DOWN, 429, "7"), (BUSY, 502, "9")], ids=["429", "503"]
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_busy_upstream_is_asked_again_after_the_wait_it_asks_for(
    sdk: Sync, questions: Questions, script: list[Step], code: int, wait: str, streamed: bool
) -> None:
    patient = sdk.client.with_options(max_retries=2)
    question = questions.new(script, script, answer(["Hi"]))
    asked = completing(question, stream=streamed)
    raw = sdk.wait(patient.chat.completions.with_raw_response.create(**asked))
    assert (raw.status_code, raw.retries_taken) == (200, 2)
    answered = raw.parse()
    text = text_of(list(sdk.each(answered))) if streamed else answered.choices[0].message.content
    assert text == "Hi"
    assert question.calls == 3
    assert sdk.wire.waits == [wait, wait, None]
    assert [request.headers["X-Stainless-Retry-Count"] for request in sdk.wire.requests] == ["0", "1", "2"]
    question = questions.new(script)
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.wait(patient.chat.completions.create(**completing(question, stream=streamed)))
    assert caught.value.status_code == code
    assert question.calls == 3


def test_an_upstreams_rate_limit_is_a_rate_limit_error(sdk: Sync, questions: Questions) -> None:
    question = questions.new(SLOW_DOWN)
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.create(**completing(question))
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert caught.value.response.headers["Retry-After"] == "7"
    assert "X-Should-Retry" not in caught.value.response.headers


def test_a_spent_budget_is_a_rate_limit_error_that_is_not_tried_again(frugal_sdk: Sync) -> None:
    patient = frugal_sdk.client.with_options(max_retries=2)
    for _ in range(2):
        frugal_sdk.wait(patient.chat.completions.create(**DEMO))
    for streamed in (False, True):
        del frugal_sdk.wire.requests[:]
        with pytest.raises(openai.RateLimitError) as caught:
            frugal_sdk.wait(patient.chat.completions.create(**DEMO, stream=streamed))
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
        assert caught.value.response.headers["X-Should-Retry"] == "false"
        assert 3500 <= int(caught.value.response.headers["Retry-After"]) <= 3600
        assert len(frugal_sdk.wire.requests) == 1


def test_a_full_server_is_asked_again_until_there_is_room(frugal_sdk: Sync, frugal: Server) -> None:
    sdk = frugal_sdk
    hanging = [{"role": "user", "content": "[[demo hang=1]] Hi"}]
    first = sdk.create(model="demo", messages=hanging, stream=True)
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.wait(sdk.client.with_options(max_retries=2).chat.completions.create(**DEMO))
    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
    assert sdk.wire.waits[1:] == [caught.value.response.headers["Retry-After"]] * 3
    stream_id = next(sdk.each(first)).id.removeprefix("chatcmpl-")
    bearer = {"Authorization": f"Bearer {sdk.client.api_key}"}
    assert call(frugal, "POST", f"/api/chat/streams/{stream_id}/stop", **bearer)[0] == 200
    assert sdk.create(**DEMO).choices[0].message.content == "one two three"
    sdk.wait(first.close())


def test_a_wrong_request_is_not_tried_again(sdk: Sync) -> None:
    patient = sdk.client.with_options(max_retries=2)
    with pytest.raises(openai.BadRequestError):
        sdk.wait(patient.chat.completions.create(**{**DEMO, "messages": []}))
    with pytest.raises(openai.NotFoundError):
        sdk.wait(patient.chat.completions.create(**{**DEMO, "model": "no-such"}))
    assert len(sdk.wire.requests) == 2


def stalling(*pieces: bytes) -> list[Step]:
    return [head(), *pieces, stall()]


def test_who_waits_no_longer_has_a_timeout_and_the_upstream_is_let_go(
    sdk: Sync, questions: Questions
) -> None:
    hasty = sdk.client.with_options(timeout=0.3)
    for streamed, script in ((False, stalling(chunk("one"))), (True, stalling())):
        question = questions.new(script)
        with pytest.raises(openai.APITimeoutError):
            sdk.wait(hasty.chat.completions.create(**completing(question, stream=streamed)))
        gave_up_s = time.monotonic()
        assert question.closed_s() - gave_up_s < 1
        assert question.calls == 1


def test_who_waits_no_longer_in_mid_stream_has_what_came_and_the_upstream_is_let_go(
    sdk: Sync, questions: Questions
) -> None:
    question = questions.new(stalling(chunk("one")))
    came = []
    hasty = sdk.client.with_options(timeout=0.3)
    stream = sdk.wait(hasty.chat.completions.create(**completing(question, stream=True)))
    with pytest.raises(httpx2.ReadTimeout):
        for piece in sdk.each(stream):
            came.append(piece)
    gave_up_s = time.monotonic()
    assert text_of(came) == "one"
    assert question.closed_s() - gave_up_s < 1


def test_who_leaves_a_stream_lets_the_upstream_go(sdk: Sync, questions: Questions) -> None:
    question = questions.new(stalling(chunk("one")))
    with sdk.entered(sdk.create(**completing(question, stream=True))) as stream:
        assert next(sdk.each(stream)).choices[0].delta.content == "one"
    left_s = time.monotonic()
    assert question.closed_s() - left_s < 1
    question = questions.new(stalling(chunk("one")))
    with sdk.entered(sdk.client.chat.completions.stream(**completing(question))) as stream:
        assert next(sdk.each(stream)).type == "chunk"
    left_s = time.monotonic()
    assert question.closed_s() - left_s < 1


def test_a_cancelled_task_lets_the_upstream_go(relay: Server, questions: Questions) -> None:
    question = questions.new(stalling())
    with connected("async", relay) as sdk:

        async def cancelled() -> None:
            asking = asyncio.ensure_future(sdk.client.chat.completions.create(**completing(question)))
            await asyncio.to_thread(questions.upstream.until, lambda: question.calls == 1)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            assert asking.cancelled()

        sdk.wait(cancelled())
        assert question.closed_s() - time.monotonic() < 1


def test_the_models_are_listed_and_found_by_name(sdk: Sync) -> None:
    models = list(sdk.each(sdk.client.models.list()))
    owners = {model.id: model.owned_by for model in models}
    assert set(owners) == {
        FAKE,
        "maker/fake-1",
        "weak",
        "strong",
        "either",
        "demo",
        "chat-fast",
        "chat-smart",
    }
    assert owners[FAKE] == "openai"
    assert {model.object for model in models} == {"model"}
    assert {type(model.created) for model in models} == {int}
    for model in models:
        assert sdk.wait(sdk.client.models.retrieve(model.id)) == model


def test_a_completion_can_be_had_again_by_its_id(sdk: Sync, questions: Questions) -> None:
    question = questions.new(said(*calls("get_weather", [*WEATHER]), reason="tool_calls"))
    whole = sdk.create(**completing(question, tools=[TOOL]))
    again = sdk.wait(sdk.client.chat.completions.retrieve(whole.id))
    assert again.to_dict() == whole.to_dict()
    streamed = sdk.chunks(**completing(question, tools=[TOOL]))
    again = sdk.wait(sdk.client.chat.completions.retrieve(streamed[0].id))
    assert again.choices == whole.choices
    assert (again.id, again.created) == (streamed[0].id, streamed[0].created)
    assert question.calls == 2


def test_a_completion_that_runs_on_is_waited_for(sdk: Sync, questions: Questions) -> None:
    question = questions.new([head(), chunk("one"), delay(0.3), chunk(" two"), finish(), DONE, end()])
    asked = completing(question, stream=True, extra_headers={"X-Stream-Resume": "1"})
    with sdk.entered(sdk.create(**asked)) as stream:
        first = next(sdk.each(stream))
    again = sdk.wait(sdk.client.chat.completions.retrieve(first.id))
    assert again.choices[0].message.content == "one two"
    assert again.choices[0].finish_reason == "stop"
    assert question.calls == 1


def test_a_completion_that_failed_fails_again(sdk: Sync, questions: Questions) -> None:
    question = questions.new([head(), chunk("one"), event(LAST_ERROR), end()])
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.create(**completing(question))
    with pytest.raises(openai.InternalServerError) as again:
        sdk.wait(sdk.client.chat.completions.retrieve(caught.value.response.headers["X-Stream-Id"]))
    assert again.value.body == caught.value.body


def test_a_stream_with_ids_is_read_like_one_without(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer(PARTS))
    resumable = {"X-Stream-Resume": "1"}
    asked = completing(question, extra_headers=resumable)
    usage_too = {"stream_options": {"include_usage": True}}
    numbered, plain = sdk.chunks(**asked, **usage_too), sdk.chunks(**completing(question), **usage_too)
    assert [chunk.choices for chunk in numbered] == [chunk.choices for chunk in plain]
    assert [chunk.usage for chunk in numbered] == [chunk.usage for chunk in plain]
    _, completion = events_of(sdk, **asked)
    assert completion.choices[0].message.content == "one two three"
    with sdk.entered(sdk.client.chat.completions.with_streaming_response.create(**asked, stream=True)) as raw:
        stream_id = raw.headers["X-Stream-Id"]
        ids = [line for line in sdk.each(raw.iter_lines()) if line.startswith("id: ")]
    assert ids == [f"id: {stream_id}:{number}" for number in range(1, 6)]


def test_a_stream_goes_on_where_its_reader_was(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer(PARTS))
    whole = sdk.chunks(**completing(question), extra_headers={"X-Stream-Resume": "1"})
    stream_id = whole[0].id.removeprefix("chatcmpl-")
    for after in range(len(whole) + 2):  # past the last chunk is [DONE], past that is nothing
        rest = sdk.wait(
            sdk.client.get(
                f"/chat/completions/{stream_id}",
                cast_to=ChatCompletionChunk,
                options={"headers": {"Last-Event-ID": f"{stream_id}:{after}"}},
                stream=True,
                stream_cls=sdk.stream_type[ChatCompletionChunk],
            )
        )
        assert list(sdk.each(rest)) == whole[after:]
    assert question.calls == 1


def test_an_idempotency_key_is_asked_once(sdk: Sync, questions: Questions) -> None:
    question = questions.new(answer(["Hi"]))
    asked = completing(question, extra_headers={"Idempotency-Key": question.text})
    first, second = sdk.create(**asked), sdk.create(**asked)
    assert first.to_dict() == second.to_dict()
    assert question.calls == 1
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        sdk.create(**asked, temperature=0)
    assert caught.value.code == "idempotency_mismatch"
    keyed = {"extra_headers": {"Idempotency-Key": f"{question.text} streamed"}}
    streams = [sdk.chunks(**completing(question), **keyed) for _ in range(2)]
    assert streams[0] == streams[1]
    assert question.calls == 2


def test_a_stopped_stream_ends_as_a_whole_one(sdk: Sync, relay: Server) -> None:
    asked = {"model": "demo", "messages": [{"role": "user", "content": "[[demo hang=2]] Hi"}]}
    chunks = []
    for chunk_ in sdk.each(sdk.create(**asked, stream=True)):
        chunks.append(chunk_)
        if len(chunks) == 1:
            stream_id = chunk_.id.removeprefix("chatcmpl-")
            assert call(relay, "POST", f"/api/chat/streams/{stream_id}/stop")[0] == 200
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert sdk.wait(sdk.client.chat.completions.retrieve(chunks[0].id)).choices[0].finish_reason == "stop"
