from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.errors import UpstreamError
from backend.chat.log import text_of
from backend.chat.ports import Ended, Prompt
from backend.chat.stop import Stop
from backend.providers.demo import Demo, Script, read_script
from backend.providers.demo_text import compose
from tests.fakes.provider import said
from tests.fakes.runtime import ThreadSignal


def answer(
    question: str, max_tokens: int = 4096, earlier: tuple[dict[str, str], ...] = ()
) -> tuple[list[str], Ended | None]:
    """The tokens of an answer, and its end."""
    prompt = Prompt("demo", [*earlier, said("user", question)], max_tokens)
    tokens: list[str] = []
    for piece in Demo(0).stream(prompt, Stop(ThreadSignal())):
        if isinstance(piece, Ended):
            return tokens, piece
        tokens += map(text_of, piece)
    return tokens, None


@given(st.text(max_size=300))
def test_every_prompt_gets_enough_text_in_enough_pieces_and_always_the_same(question: str) -> None:
    tokens, ended = answer(question.replace("[[demo", ""))
    assert len("".join(tokens)) >= 1376
    assert len(tokens) >= 6
    assert all(tokens)
    assert ended
    assert ended.finish_reason == "stop"
    assert answer(question.replace("[[demo", ""))[0] == tokens


def test_the_answer_is_about_the_prompt() -> None:
    text = compose("How do hummingbirds hover in strong wind?", [])
    assert "hummingbirds" in text
    assert "How do hummingbirds hover in strong wind" in text
    assert compose("Why?", ["What is a log?"]).count("What is a log?") == 1


def test_markup_in_a_prompt_does_not_break_the_answers_own() -> None:
    text = compose("</script><img src=x onerror=alert(1)> | `code` ```\n# heading", [])
    assert "<" not in text.replace("<=", "")
    assert text.count("```") == 2


def test_the_answer_is_cut_at_the_tokens_asked_for() -> None:
    tokens, ended = answer("hello", max_tokens=7)
    assert len(tokens) == 7
    assert ended
    assert ended.finish_reason == "length"
    assert ended.usage
    assert ended.usage.completion_tokens == 7
    assert not ended.usage.estimated


def test_a_script_in_the_prompt_sets_length_echo_and_failures() -> None:
    assert len(answer("[[demo tokens=1000]] hello")[0]) == 1000
    assert "".join(answer("[[demo echo]]  <b>\u2028 exactly\r\n")[0]) == "<b>\u2028 exactly\r\n"
    with pytest.raises(UpstreamError):
        answer("[[demo fail=0]] hello")


def test_a_failure_comes_after_as_many_tokens_as_the_script_says() -> None:
    prompt = Prompt("demo", [said("user", "[[demo fail=40]] hello")], 4096)
    tokens: list[str] = []
    with pytest.raises(UpstreamError):
        for piece in Demo(0).stream(prompt, Stop(ThreadSignal())):
            assert not isinstance(piece, Ended)
            tokens += map(text_of, piece)
    assert len(tokens) == 40


@pytest.mark.parametrize(
    ("text", "script", "rest"),
    [
        ("[[demo tokens=5 tps=0.5]] hi", Script(tokens=5, tps=0.5), "hi"),
        ("say [[demo hang=2]]hi", Script(hang=2), "say hi"),
        ("[[demo]] hi", Script(), "hi"),
        ("[[demo tokens=x]] hi", Script(), "[[demo tokens=x]] hi"),
        (
            "[[demo tokens= ttft=. tps=1.2.3 what=1]] hi",
            Script(),
            "[[demo tokens= ttft=. tps=1.2.3 what=1]] hi",
        ),
        ("[[demo ttft=. tps=1.2.3 what=1]] hi", Script(), "hi"),
        ("plain", Script(), "plain"),
    ],
)
def test_scripts_are_read_and_what_is_none_is_left_alone(text: str, script: Script, rest: str) -> None:
    assert read_script(text) == (script, rest)


def test_a_hanging_answer_is_ended_by_a_stop() -> None:
    stop = Stop(ThreadSignal())
    prompt = Prompt("demo", [said("user", "[[demo hang=1]] hello")], 4096)
    pieces = Demo(0).stream(prompt, stop)
    assert next(pieces)
    stop.request("stopped")
    assert list(pieces) == []


def test_a_paced_answer_ends_with_its_last_token() -> None:
    prompt = Prompt("demo", [said("user", "[[demo tokens=1 tps=0.1]] hello")], 4096)
    began_s = time.monotonic()
    *_, ended = Demo(0).stream(prompt, Stop(ThreadSignal()))
    assert isinstance(ended, Ended)
    assert time.monotonic() - began_s < 5, "the next one would have come after 10 s"


def test_a_slow_reader_gets_all_that_is_due_at_once() -> None:
    prompt = Prompt("demo", [said("user", "[[demo tokens=100]] hello")], 4096)
    pieces = Demo(500).stream(prompt, Stop(ThreadSignal()))
    next(pieces)
    time.sleep(0.1)
    late = next(pieces)
    assert isinstance(late, list)
    assert len(late) >= 40


@given(st.integers(0, 60), st.sampled_from(["", " fail=40", " hang=40"]))
def test_the_rest_of_an_answer_is_what_stands_behind_its_beginning(begun: int, ends: str) -> None:
    message = f"[[demo tokens=50 tps=0{ends}]] go on"

    def give(before: list[str]) -> list[str]:
        stop, found = Stop(ThreadSignal()), [*before]
        prompt = Prompt("demo", [said("user", message)], 100, partial="".join(before))

        def stop_if_it_hangs() -> None:
            if ends == " hang=40" and len(found) >= 40:
                stop.request("stopped")

        stop_if_it_hangs()
        try:
            for piece in Demo(0).stream(prompt, stop):
                if isinstance(piece, list):
                    found += [text_of(entry) for entry in piece]
                stop_if_it_hangs()
        except UpstreamError:
            assert ends == " fail=40"
        return found

    whole = give([])
    assert len(whole) == (40 if ends else 50)
    assert give(whole[:begun]) == whole
