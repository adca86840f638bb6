"""The rest of an answer, from upstreams that say more, or want less, than that."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.events import Delta, Route, Try
from backend.chat.log import text_of
from backend.chat.ports import Ended, Piece, Prompt
from backend.providers.partials import asked, rest
from tests.fakes.provider import said

TEXTS = st.text(alphabet="ab \n", max_size=6)


def text_from(pieces: list[Piece]) -> str:
    return "".join(text_of(entry) for piece in pieces if isinstance(piece, list) for entry in piece)


def cut(text: str, at: list[int]) -> list[Piece]:
    """In pieces of one or two entries."""
    places = sorted({0, len(text), *(n % (len(text) + 1) for n in at)})
    entries = [text[a:b] for a, b in pairwise(places)]
    return [[*entries[n : n + 2]] for n in range(0, len(entries), 2)]


@given(TEXTS, TEXTS, st.lists(st.integers(0, 20), max_size=5))
def test_a_beginning_that_comes_again_is_left_out(partial: str, more: str, at: list[int]) -> None:
    end = Ended("stop")
    found = list(rest("repeated_prefix", partial, iter([*cut(partial + more, at), end])))
    assert text_from(found) == more
    assert found[-1] is end
    assert [] not in found


@given(TEXTS, TEXTS, st.lists(st.integers(0, 20), max_size=5))
def test_white_space_that_was_not_given_may_come_again(partial: str, more: str, at: list[int]) -> None:
    trimmed = partial[len(partial.rstrip()) :]
    assert text_from(list(rest("prefill", partial, iter(cut(trimmed + more, at))))) == more


def test_what_is_another_text_is_kept_whole() -> None:
    pieces: list[Piece] = [Route((Try("x"),)), ["ab"], ["c", "x"], ["d"]]
    assert list(rest("repeated_prefix", "abcd", iter(pieces))) == [pieces[0], ["ab", "c", "x"], ["d"]]
    delta = Delta("", {"refusal": "no"})
    assert list(rest("repeated_prefix", "abcd", iter([["ab"], [delta]]))) == [["ab", delta]]


@pytest.mark.parametrize("way", ["prefix", "continue_final_message", None])
def test_others_say_the_rest_and_nothing_else(way: str | None) -> None:
    pieces: list[Piece] = [["ab"], ["ab"]]
    assert list(rest(way, "ab", iter(pieces))) == pieces


def test_an_answer_that_is_only_white_space_yet_is_asked_for_from_its_beginning() -> None:
    messages = [said("user", "hi")]
    assert asked("prefill", Prompt("m", messages, 5, partial=" \n")) == {}
    assert asked("prefill", Prompt("m", messages, 5)) == {}
    assert asked("prefill", Prompt("m", messages, 5, partial="a \n"))["messages"][-1]["content"] == "a"
    assert asked("prefix", Prompt("m", messages, 5, partial="a \n"))["messages"][-1]["content"] == "a \n"
