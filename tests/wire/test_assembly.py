"""A whole message is what its pieces come to, as OpenAI's own SDK puts them together."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming._deltas import accumulate_delta

from backend.chat.events import Delta, Entry
from backend.wire.assembly import choices_of


def message_of(*entries: Entry) -> Any:
    (choice,) = choices_of(entries, "stop")
    return choice["message"]


def call(index: int, **fields: Any) -> Delta:
    return Delta("", {"tool_calls": [{"index": index, **fields}]})


def test_texts_follow_each_other() -> None:
    message = message_of(
        "a", "b", Delta("c", {"reasoning_content": "x"}), Delta("", {"reasoning_content": "y"})
    )
    assert message == {"role": "assistant", "content": "abc", "refusal": None, "reasoning_content": "xy"}


def test_nothing_said_is_an_empty_text() -> None:
    assert message_of() == {"role": "assistant", "content": "", "refusal": None}


def test_calls_grow_by_their_number_and_lose_it() -> None:
    message = message_of(
        call(1, id="b", type="function", function={"name": "g", "arguments": ""}),
        call(0, id="a", type="function", function={"name": "f", "arguments": "{"}),
        call(0, function={"arguments": "}"}),
        call(1, function={"name": None, "arguments": "[]"}),
    )
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[]"}},
    ]


def test_what_some_upstreams_repeat_with_every_piece_is_said_once() -> None:
    whole = {"id": "a", "type": "function"}
    message = message_of(*(call(0, **whole, function={"name": "f", "arguments": piece}) for piece in "{}"))
    assert message["tool_calls"] == [{**whole, "function": {"name": "f", "arguments": "{}"}}]


def test_what_is_fixed_is_so_with_the_first_piece_however_many_come() -> None:
    pieces = [call(0, id=f"call_{n}", type="function", function={"arguments": "x"}) for n in range(5000)]
    (said,) = message_of(*pieces)["tool_calls"]
    assert said == {"id": "call_0", "type": "function", "function": {"arguments": "x" * 5000}}


def test_logprobs_go_on() -> None:
    def said(token: str) -> Delta:
        return Delta(token, {"logprobs": {"content": [{"token": token}], "refusal": None}})

    (choice,) = choices_of([said("a"), said("b")], "stop")
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


def test_each_choice_has_its_own_message_and_end() -> None:
    other = {"index": 1, "content": "x", "finish_reason": "length"}
    assert choices_of(["a", Delta("", other), "b"], "stop") == [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": reason,
        }
        for index, text, reason in ((0, "ab", "stop"), (1, "x", "length"))
    ]


def test_the_log_is_left_as_it_is() -> None:
    entry = call(0, id="a", function={"name": "f", "arguments": "{"})
    message_of(entry, call(0, function={"arguments": "}"}))
    message_of(entry, call(0, function={"arguments": "}"}))
    assert entry == call(0, id="a", function={"name": "f", "arguments": "{"})


def test_pieces_of_changing_kinds_break_nothing() -> None:
    values: list[Any] = ["text", {"a": "b"}, [1], [{"index": 0}], 5, None, True]
    for first in values:
        for second in values:
            assert message_of(Delta("", {"odd": first}), Delta("", {"odd": second}))["role"] == "assistant"


texts = st.text('ab{}"é', min_size=1, max_size=3)
pieces = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.fixed_dictionaries({"refusal": texts}),
    st.fixed_dictionaries({"reasoning_content": texts}),
    st.builds(
        lambda index, text: {"tool_calls": [{"index": index, "function": {"arguments": text}}]},
        st.integers(0, 2),
        texts,
    ),
)


@given(st.lists(pieces, max_size=12))
def test_it_is_what_openais_sdk_makes_of_the_same_pieces(said: list[dict[str, Any]]) -> None:
    begun: list[int] = []
    for piece in said:
        for call in piece.get("tool_calls", ()):
            # The SDK takes calls for begun in the order of their numbers, as OpenAI begins them.
            if call["index"] not in begun:
                begun.append(call["index"])
            call["index"] = begun.index(call["index"])
    expected: dict[object, object] = {}
    for piece in said:
        expected = accumulate_delta(expected, deepcopy(piece))
    entries = [Delta(piece.pop("content", ""), piece) if len(piece) else "" for piece in map(dict, said)]
    message = message_of(*(entry for entry in entries if entry))
    for field in ("content", "refusal", "reasoning_content"):
        assert (message.get(field) or "") == expected.get(field, "")
    calls = expected.get("tool_calls", [])
    assert isinstance(calls, list)
    arguments = [call["function"]["arguments"] for call in sorted(calls, key=lambda call: call["index"])]
    assert [call["function"]["arguments"] for call in message.get("tool_calls", [])] == arguments
