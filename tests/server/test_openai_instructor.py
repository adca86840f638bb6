"""Instructor, which makes Pydantic models of answers, on OpenAI's SDK against the real server."""

from __future__ import annotations

from typing import Any, TypeAlias

import instructor
import openai
import pytest
from instructor.core.exceptions import InstructorRetryException
from pydantic import BaseModel

from tests.fakes.questions import Question, Questions, calls, said
from tests.fakes.upstream import Step, chunk, end, head, status
from tests.sdks import Async, Sync
from tests.servers import Server

pytestmark = pytest.mark.server

RUNTIMES = ("eventlet",)
"""What it is made of, OpenAI's SDK, meets both in test_openai_sdk."""

WARM = {"city": "Zürich", "degrees": 21}
ZURICH = '{"city": "Zürich", "degrees": 21}'
HOT = '{"city": "Zürich", "degrees": "hot"}'
BOTH = '{"tasks": [{"city": "Zürich", "degrees": 21}, {"city": "Paris", "degrees": 25}]}'

Mode: TypeAlias = instructor.Mode


class Weather(BaseModel):
    """How warm it is somewhere."""

    city: str
    degrees: int


@pytest.fixture(params=[Mode.TOOLS, Mode.JSON_SCHEMA], ids=lambda mode: mode.name)
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def structured(sdk: Sync, mode: Mode) -> Any:
    return instructor.from_openai(sdk.client, mode=mode)


def wanted(question: Question, **fields: Any) -> dict[str, Any]:
    return {"model": "fake", "messages": question.messages, "response_model": Weather, **fields}


def written(mode: Mode, text: str) -> list[Step]:
    """An answer by the character, as it comes in this mode."""
    if mode is Mode.TOOLS:
        return said(*calls("Weather", [*text]), reason="tool_calls")
    return said(*map(chunk, text))


def test_an_answer_is_a_model(sdk: Sync, structured: Any, mode: Mode, questions: Questions) -> None:
    question = questions.new(written(mode, ZURICH))
    assert sdk.wait(structured.create(**wanted(question))).model_dump() == WARM
    if mode is Mode.TOOLS:
        assert question.body["tool_choice"] == {"type": "function", "function": {"name": "Weather"}}
        (tool,) = question.body["tools"]
        assert tool["function"]["parameters"]["required"] == ["city", "degrees"]
    else:
        assert question.body["response_format"]["json_schema"]["name"] == "Weather"


def test_the_completion_comes_with_it(sdk: Sync, structured: Any, mode: Mode, questions: Questions) -> None:
    question = questions.new(written(mode, ZURICH))
    weather, completion = sdk.wait(structured.create_with_completion(**wanted(question)))
    assert weather.degrees == 21
    assert completion.id.startswith("chatcmpl-")
    assert completion.choices[0].finish_reason == ("tool_calls" if mode is Mode.TOOLS else "stop")
    assert completion.usage.total_tokens == 5


def test_a_model_grows_as_it_is_written(sdk: Sync, structured: Any, mode: Mode, questions: Questions) -> None:
    question = questions.new(written(mode, ZURICH))
    growing = list(sdk.each(sdk.wait(structured.create_partial(**wanted(question)))))
    cities = list(dict.fromkeys(part.city for part in growing))
    assert cities == [None, "", "Z", "Zü", "Zür", "Züri", "Züric", "Zürich"]
    assert list(dict.fromkeys(part.degrees for part in growing)) == [None, 2, 21]
    assert growing[-1].model_dump() == WARM
    assert question.calls == 1


def test_several_models_come_one_after_the_other(
    sdk: Sync, structured: Any, mode: Mode, questions: Questions
) -> None:
    question = questions.new(written(mode, BOTH))
    came = list(sdk.each(sdk.wait(structured.create_iterable(**wanted(question)))))
    assert came == [Weather(city="Zürich", degrees=21), Weather(city="Paris", degrees=25)]
    assert question.calls == 1


def test_a_wrong_answer_is_asked_about_again(
    sdk: Sync, structured: Any, mode: Mode, questions: Questions
) -> None:
    question = questions.new(written(mode, HOT), written(mode, ZURICH))
    weather = sdk.wait(structured.create(**wanted(question, max_retries=2)))
    assert weather.model_dump() == WARM
    assert question.calls == 2
    _, answered, complaint = question.body["messages"]
    assert answered["role"] == "assistant"
    if mode is Mode.TOOLS:
        assert answered["tool_calls"][0]["function"]["arguments"] == HOT
        assert (complaint["role"], complaint["tool_call_id"]) == ("tool", "call_0")
    else:
        assert answered["content"] == HOT
    assert "valid integer" in complaint["content"]


def test_a_request_that_is_refused_is_asked_once(sdk: Sync, structured: Any, questions: Questions) -> None:
    question = questions.new(status(400, {"error": {"message": "too long", "code": "too_long"}}))
    with pytest.raises(InstructorRetryException) as caught:
        sdk.wait(structured.create(**wanted(question, max_retries=3)))
    assert isinstance(caught.value.__cause__, openai.BadRequestError)
    assert caught.value.__cause__.code == "too_long"
    assert question.calls == 1


def test_an_answer_that_breaks_off_is_no_model(
    sdk: Sync, structured: Any, mode: Mode, questions: Questions
) -> None:
    start = '{"city": "Zü'
    pieces = calls("Weather", [start]) if mode is Mode.TOOLS else [chunk(start)]
    question = questions.new([head(), *pieces, end()])
    with pytest.raises((openai.APIError, InstructorRetryException)) as caught:
        list(sdk.each(sdk.wait(structured.create_partial(**wanted(question, max_retries=1)))))
    error = caught.value if isinstance(caught.value, openai.APIError) else caught.value.__cause__
    assert type(error) is openai.APIError
    assert error.code == "upstream_error"
    assert question.calls == 1


def test_a_model_is_had_by_the_name_of_its_provider(
    sdk: Sync, mode: Mode, questions: Questions, relay: Server
) -> None:
    question = questions.new(written(mode, ZURICH))
    named = instructor.from_provider(
        "openai/fake",
        mode=mode,
        base_url=f"{relay.url}/v1",
        api_key="anonymous",
        async_client=isinstance(sdk, Async),
    )
    weather = sdk.wait(named.create(messages=question.messages, response_model=Weather))
    sdk.wait(named.client.close())
    assert weather.model_dump() == WARM
    assert question.body["model"] == "fake"
