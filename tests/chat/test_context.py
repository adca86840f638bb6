from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.context import (
    MEDIA_TOKENS,
    TURN_OVERHEAD,
    Turn,
    count_prompt,
    estimate_tokens,
    estimate_turns,
    fit,
    media_in,
    text_of_prompt,
)
from backend.chat.sessions import Message, title_from


def exchange(n: int, question: str = "why", answer: str = "so") -> list[Message]:
    return [
        Message(f"q{n}", "user", f"{question} {n}", "done", ""),
        Message(f"a{n}", "assistant", f"{answer} {n}" if answer else "", "done", ""),
    ]


def test_everything_goes_when_it_fits() -> None:
    turns, dropped = fit("be kind", [*exchange(1), *exchange(2)], "and now", 1000)
    assert [turn.content for turn in turns] == ["be kind", "why 1", "so 1", "why 2", "so 2", "and now"]
    assert dropped == 0


def test_the_newest_whole_exchanges_stay_when_not_all_fit() -> None:
    history = [message for n in range(1, 4) for message in exchange(n)]
    enough_for_one = estimate_turns([Turn("user", "now"), Turn("user", "why 3"), Turn("assistant", "so 3")])
    turns, dropped = fit(None, history, "now", enough_for_one)
    assert [turn.content for turn in turns] == ["why 3", "so 3", "now"]
    assert dropped == 4


def test_the_system_prompt_and_the_question_go_even_without_room() -> None:
    turns, dropped = fit("be kind", exchange(1), "now", 0)
    assert [turn.role for turn in turns] == ["system", "user"]
    assert dropped == 2


def test_a_question_that_got_no_text_is_left_out_so_that_roles_alternate() -> None:
    turns, dropped = fit(None, [*exchange(1, answer=""), *exchange(2)], "now", 1000)
    assert [turn.content for turn in turns] == ["why 2", "so 2", "now"]
    assert dropped == 0


def test_the_text_of_a_broken_answer_is_part_of_the_history() -> None:
    broken = [exchange(1)[0], Message("a", "assistant", "half an", "interrupted", "")]
    turns, _ = fit(None, broken, "go on", 1000)
    assert [turn.content for turn in turns] == ["why 1", "half an", "go on"]


@given(st.integers(0, 400), st.integers(0, 12))
def test_what_is_kept_never_exceeds_the_budget_and_is_the_newest(budget: int, exchanges: int) -> None:
    history = [message for n in range(exchanges) for message in exchange(n)]
    turns, dropped = fit(None, history, "now", budget)
    kept = turns[:-1]
    assert len(kept) + dropped == len(history)
    assert [turn.content for turn in kept] == [message.content for message in history[dropped:]]
    assert not kept or estimate_turns(turns) <= budget


def test_an_estimate_counts_bytes_so_that_other_scripts_are_not_short_changed() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("four") == 1
    assert estimate_tokens("fourx") == 2
    assert estimate_tokens("日本語") == 3


def test_a_title_is_the_first_line_cut_at_a_word() -> None:
    assert title_from("  Hello   there\nmore") == "Hello there"
    long = title_from("word " * 40)
    assert len(long) <= 60
    assert long.endswith("word…")
    assert len(title_from("x" * 500)) == 60


def test_a_prompt_is_the_text_a_model_is_given_to_read() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [
        {"type": "text", "text": "data: what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
    ]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "4"},
        {"role": "user", "content": 5},
    ]
    options = {"tools": [{"function": {"name": "f", "parameters": {"type": "object"}}}], "user": "me"}
    text = text_of_prompt(messages, options)
    for said in ("be brief", "data: what is this?", "{}", "4", "parameters", "object"):
        assert said in text
    for unsaid in ("AAAA", "BBBB", "me"):
        assert unsaid not in text.split("\n")


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ({"name": "long words"}, {}),
        ({"reasoning_content": "long words"}, {}),
        ({"function_call": {"name": "f", "arguments": "long words"}}, {}),
        ({"content": [{"type": "text", "text": "long words"}]}, {}),
        ({}, {"functions": [{"name": "f", "description": "long words"}]}),
        ({}, {"prediction": {"type": "content", "content": "long words"}}),
        ({}, {"unheard_of": ["long words"]}),
    ],
)
def test_a_prompt_is_counted_wherever_its_text_stands(
    message: dict[str, object], options: dict[str, object]
) -> None:
    asked = {"role": "user", "content": "", **message}
    assert "long words" in text_of_prompt([asked], options)
    assert media_in([asked]) == 0


def test_what_is_no_text_counts_as_pictures_do() -> None:
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:AAAA"}},
        {"type": "file", "file": {"file_data": "BBBB"}},
    ]
    messages = [{"role": "user", "content": parts}]
    assert media_in(messages) == 2
    assert count_prompt(messages, {}, len) == len("what?") + TURN_OVERHEAD + 2 * MEDIA_TOKENS
