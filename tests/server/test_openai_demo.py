"""The built-in model's structured answers and tool calls, as the official clients read them."""

from __future__ import annotations

from typing import Any, Literal

import instructor
import openai
import pytest
from pydantic import BaseModel

from tests.sdks import Sync

pytestmark = pytest.mark.server


class Weather(BaseModel):
    """Where to look for the weather."""

    city: str
    unit: Literal["C", "F"]


TOOL: Any = openai.pydantic_function_tool(Weather, name="get_weather")
ZURICH = {"model": "demo", "messages": [{"role": "user", "content": "How warm is it in Zürich?"}]}


def events_of(sdk: Sync, **fields: Any) -> tuple[list[Any], Any]:
    """The events of the SDK's `stream()`, and its final completion."""
    with sdk.entered(sdk.client.chat.completions.stream(**fields)) as stream:
        return list(sdk.each(stream)), sdk.wait(stream.get_final_completion())


def of_type(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event.type == name]


def test_the_built_in_model_fills_in_a_pydantic_model(sdk: Sync) -> None:
    asked = {**ZURICH, "response_format": Weather}
    completion = sdk.wait(sdk.client.chat.completions.parse(**asked))
    (choice,) = completion.choices
    assert isinstance(choice.message.parsed, Weather)
    assert choice.message.parsed.city
    assert (choice.finish_reason, choice.message.refusal, choice.message.tool_calls) == ("stop", None, None)
    events, streamed = events_of(sdk, **asked)
    assert len(of_type(events, "content.delta")) > 1
    (done,) = of_type(events, "content.done")
    assert done.parsed == streamed.choices[0].message.parsed == choice.message.parsed
    assert completion.usage.completion_tokens > 0


def test_the_built_in_model_calls_the_tool_it_must_call_and_answers_with_what_it_gave(sdk: Sync) -> None:
    asked = {**ZURICH, "tools": [TOOL], "tool_choice": "required"}
    completion = sdk.wait(sdk.client.chat.completions.parse(**asked))
    (choice,) = completion.choices
    (tool_call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert (tool_call.type, tool_call.function.name) == ("function", "get_weather")
    assert tool_call.id
    assert isinstance(tool_call.function.parsed_arguments, Weather)
    events, streamed = events_of(sdk, **asked)
    (done,) = of_type(events, "tool_calls.function.arguments.done")
    assert done.parsed_arguments == tool_call.function.parsed_arguments
    assert streamed.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": tool_call.id, "content": "21 °C"}
    called = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
    for call in called["tool_calls"]:
        del call["function"]["parsed_arguments"]
    answered = sdk.create(**{**ZURICH, "tools": [TOOL], "messages": [*ZURICH["messages"], called, result]})
    assert answered.choices[0].finish_reason == "stop"
    assert answered.choices[0].message.content
    assert answered.choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    "mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA], ids=lambda mode: mode.name
)
def test_the_built_in_model_serves_instructor(sdk: Sync, mode: instructor.Mode) -> None:
    structured: Any = instructor.from_openai(sdk.client, mode=mode)
    asked = {**ZURICH, "response_model": Weather, "max_retries": 1}
    weather = sdk.wait(structured.create(**asked))
    assert isinstance(weather, Weather)
    assert weather.city
    growing = list(sdk.each(sdk.wait(structured.create_partial(**asked))))
    assert len(growing) > 1
    assert growing[-1].model_dump() == weather.model_dump()
    several = list(sdk.each(sdk.wait(structured.create_iterable(**asked))))
    assert several
    assert all(isinstance(one, Weather) for one in several)
