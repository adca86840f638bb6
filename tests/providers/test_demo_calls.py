"""The built-in model where JSON is asked of it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from backend.chat.errors import Complaint, UpstreamError
from backend.chat.events import Delta
from backend.chat.log import text_of
from backend.chat.ports import Ended, Prompt
from backend.chat.stop import Stop
from backend.providers.demo import Demo
from backend.wire.assembly import choices_of
from tests.fakes.provider import said
from tests.fakes.runtime import ThreadSignal

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASKED = [said("user", "Who is Ada Lovelace?")]


def tool(name: str, parameters: Any = PERSON) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def answer(*messages: dict[str, Any], **options: Any) -> tuple[list[Any], Ended]:
    """The entries, and the end."""
    prompt = Prompt("demo", messages or ASKED, options.pop("max_tokens", 4096), options)
    *batches, ended = Demo(0).stream(prompt, Stop(ThreadSignal()))
    assert isinstance(ended, Ended)
    return [entry for batch in batches if isinstance(batch, list) for entry in batch], ended


def call_in(entries: list[Any]) -> tuple[str, Any]:
    """The one call's name and arguments."""
    (choice,) = choices_of(entries, "tool_calls")
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    return call["function"]["name"], json.loads(call["function"]["arguments"])


def is_person(value: Any) -> bool:
    return jsonschema_rs.validator_for(PERSON).is_valid(value)


def test_a_schema_gets_an_instance_of_it_in_pieces() -> None:
    described = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    entries, ended = answer(response_format=described)
    assert len(entries) > 1
    assert is_person(json.loads("".join(map(text_of, entries))))
    assert ended.finish_reason == "stop"
    assert answer(response_format=described)[0] == entries


def test_a_json_object_is_one_about_the_prompt() -> None:
    said_ = json.loads("".join(map(text_of, answer(response_format={"type": "json_object"})[0])))
    assert "Ada Lovelace" in said_["about"]


def test_text_is_text() -> None:
    assert len("".join(map(text_of, answer(response_format={"type": "text"})[0]))) >= 1376


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("auto", "first"),
        ("required", "first"),
        ({"type": "function", "function": {"name": "second"}}, "second"),
    ],
    ids=str,
)
def test_a_tool_that_is_to_be_called_is_called(choice: Any, name: str) -> None:
    entries, ended = answer(tools=[tool("first"), tool("second")], tool_choice=choice)
    assert ended.finish_reason == "tool_calls"
    called, arguments = call_in(entries)
    assert called == name
    assert is_person(arguments)
    assert len(entries) > 2
    assert not any(isinstance(entry, str) for entry in entries)


def test_a_tool_without_parameters_is_called_with_none() -> None:
    described = {"type": "function", "function": {"name": "now"}}
    assert call_in(answer(tools=[described])[0]) == ("now", {})


def test_the_results_of_a_call_get_a_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "first", "arguments": "{}"}}
    history: list[dict[str, Any]] = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "36"},
    ]
    entries, ended = answer(*history, tools=[tool("first")])
    assert (ended.finish_reason, isinstance(entries[0], str)) == ("stop", True)
    assert answer(*history, tools=[tool("first")], tool_choice="required")[1].finish_reason == "tool_calls"


def test_no_tool_is_called_against_the_will_of_who_asks() -> None:
    assert answer(tools=[tool("first")], tool_choice="none")[1].finish_reason == "stop"
    assert answer(said("user", "[[demo echo]] Hi"), tools=[tool("first")])[0] == ["Hi"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": False}}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [tool("f", {"type": "integer", "minimum": 2, "maximum": 1})]}, "tools"),
        (
            {"tools": [tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_as_openai_would(options: dict[str, Any], param: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        answer(**options)
    complaint = refused.value.complaint
    assert isinstance(complaint, Complaint)
    assert (complaint.status, complaint.fields["param"]) == (400, param)


@pytest.mark.parametrize(
    "options",
    [
        {"tools": 5, "response_format": 5, "stop": 5, "tool_choice": 5},
        {"tools": [5, {}, {"function": {"name": 5}}], "response_format": {"type": 5}},
        {"tools": [{"function": {"name": "f", "parameters": 5}}]},
        {"stop": ["", 5, None]},
    ],
    ids=str,
)
def test_options_of_the_wrong_kind_break_nothing(options: dict[str, Any]) -> None:
    try:
        answer(**options)
    except UpstreamError as refused:
        assert refused.complaint  # noqa: PT017


def test_every_choice_gets_the_answer_and_its_end() -> None:
    entries, ended = answer(said("user", "[[demo echo]] one two"), n=3)
    choices = choices_of(entries, ended.finish_reason)
    assert [choice["message"]["content"] for choice in choices] == ["one two"] * 3
    assert [choice["finish_reason"] for choice in choices] == ["stop"] * 3
    assert ended.usage
    assert ended.usage.completion_tokens == 6
    called = choices_of(answer(tools=[tool("first")], n=2)[0], "tool_calls")
    assert [choice["message"]["tool_calls"][0]["function"]["name"] for choice in called] == ["first"] * 2


@pytest.mark.parametrize("stop", [" three", ["x", " three", "four"]])
def test_a_stop_sequence_ends_the_text(stop: Any) -> None:
    entries, ended = answer(said("user", "[[demo echo]] one two three four"), stop=stop)
    assert ("".join(entries), ended.finish_reason) == ("one two", "stop")


def test_a_call_may_be_cut_as_any_answer() -> None:
    entries, ended = answer(tools=[tool("first")], max_tokens=2)
    assert (len(entries), ended.finish_reason) == (2, "length")
    assert all(isinstance(entry, Delta) for entry in entries)
