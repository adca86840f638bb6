"""Who of a group is asked, in what order, and what becomes of who failed."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from backend.chat.errors import Broken, Complaint, UpstreamError, UpstreamTimeout
from backend.chat.events import Price, Route, Try
from backend.chat.ports import Ended, Prompt
from backend.chat.stop import Stop
from backend.providers.groups import MAX_PAUSE_S, Group, Member
from tests.fakes.provider import Scripted, Step, said, until_stopped
from tests.fakes.runtime import ThreadSignal

PROMPT = Prompt("group", [said("user", "hi")], 50)
FINE: tuple[Step, ...] = (["fine"], Ended("stop"))
DOWN = UpstreamError("down", Complaint(500))


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def member(name: str, *steps: Step, **fields: Any) -> Member:
    return Member(name, Scripted(*steps), f"{name}-model", **fields)


def group(*members: Member, clock: Clock | None = None, **options: Any) -> Group:
    return Group(members, options.pop("cooldown_s", 30.0), clock or Clock(), **options)


def asked(*members: Member) -> list[int]:
    """How often each was."""
    return [len(each.provider.prompts) for each in members]  # type: ignore[attr-defined]


def read(group: Group, stop: Stop | None = None) -> tuple[list[Any], Broken | None]:
    """What came, and the fault it ended with."""
    pieces: list[Any] = []
    try:
        for piece in group.stream(PROMPT, stop or Stop(ThreadSignal())):
            pieces.append(piece)
    except Broken as fault:
        return pieces, fault
    return pieces, None


def test_the_first_answers_and_is_told_the_name_it_knows() -> None:
    first, second = member("a", *FINE, rank=0), member("b", *FINE, rank=1)
    assert read(group(first, second)) == ([Route((Try("a"),)), ["fine"], Ended("stop")], None)
    assert asked(first, second) == [1, 0]
    assert first.provider.prompts[0].model == "a-model"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "fault",
    [
        UpstreamError("cannot be reached"),
        UpstreamError("slow down", Complaint(429)),
        UpstreamError("down", Complaint(503)),
        UpstreamError("our key is bad", Complaint(401)),
        UpstreamTimeout("too slow"),
    ],
    ids=str,
)
def test_a_failure_before_the_first_piece_goes_to_the_next(fault: Broken) -> None:
    first, second = member("a", fault, rank=0), member("b", *FINE, rank=1)
    pieces, ended_with = read(group(first, second))
    assert ended_with is None
    assert pieces == [Route((Try("a", fault.type), Try("b"))), ["fine"], Ended("stop")]
    assert asked(first, second) == [1, 1]


def test_an_answer_that_just_stops_before_its_first_piece_goes_to_the_next() -> None:
    pieces, fault = read(group(member("a", rank=0), member("b", *FINE, rank=1)))
    assert (pieces[0], fault) == (Route((Try("a", "upstream_error"), Try("b"))), None)


def test_a_failure_after_the_first_piece_is_the_answers() -> None:
    first, second = member("a", ["half"], DOWN, rank=0), member("b", *FINE, rank=1)
    both = group(first, second)
    assert read(both) == ([Route((Try("a"),)), ["half"]], DOWN)
    assert asked(first, second) == [1, 0]
    assert read(both)[1] is None
    assert asked(first, second) == [1, 1], "but it is left alone then"


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_what_is_about_the_request_is_not_asked_elsewhere(status: int) -> None:
    fault = UpstreamError("no", Complaint(status))
    first, second = member("a", fault, rank=0), member("b", *FINE, rank=1)
    both = group(first, second)
    assert read(both) == ([Route((Try("a", "refused"),))], fault)
    read(both)
    assert asked(first, second) == [2, 0], "nor is that held against who said it"


def test_when_all_fail_the_last_failure_is_told_with_all_that_were_tried() -> None:
    last = UpstreamTimeout("too slow")
    pieces, fault = read(group(member("a", DOWN, rank=0), member("b", last, rank=1)))
    assert fault is last
    assert pieces == [Route((Try("a", "upstream_error"), Try("b", "upstream_timeout")))]


def test_who_failed_is_left_alone_until_its_time_is_over() -> None:
    clock = Clock()
    first, second = member("a", DOWN, rank=0), member("b", *FINE, rank=1)
    both = group(first, second, clock=clock)
    read(both)
    read(both)
    assert asked(first, second) == [1, 2]
    clock.now_s += 30.0
    read(both)
    assert asked(first, second) == [2, 3]


def test_who_asks_for_a_pause_gets_it_and_no_more_than_the_most() -> None:
    clock = Clock()
    first = member("a", UpstreamError("slow down", Complaint(429, 90.0)), rank=0)
    second = member("b", UpstreamError("slow down", Complaint(429, 1e9)), rank=1)
    third = member("c", *FINE, rank=2)
    all_three = group(first, second, third, clock=clock)
    for at_s, expected in ((0, [1, 1, 1]), (89, [1, 1, 2]), (90, [2, 1, 3]), (MAX_PAUSE_S, [3, 2, 4])):
        clock.now_s = 100.0 + at_s
        read(all_three)
        assert asked(first, second, third) == expected


def test_when_nobody_is_well_the_soonest_well_is_asked_all_the_same() -> None:
    clock = Clock()
    first, second = member("a", DOWN, rank=0), member("b", DOWN, rank=1)
    both = group(first, second, clock=clock)
    read(both)
    clock.now_s += 1
    assert read(both)[0] == [Route((Try("a", "upstream_error"), Try("b", "upstream_error")))]


def test_but_not_who_asked_for_the_pause() -> None:
    clock = Clock()
    only = member("a", UpstreamError("slow down", Complaint(429, 20.0)))
    alone = group(only, clock=clock)
    read(alone)
    clock.now_s += 5
    pieces, fault = read(alone)
    assert asked(only) == [1]
    assert pieces == [Route(())]
    assert isinstance(fault, UpstreamError)
    assert fault.complaint == Complaint(429, 15.0)
    assert "15 s" in str(fault)


def test_of_one_rank_each_comes_first_as_often_as_its_weight_says() -> None:
    random = Random(7)
    members = [member("a", *FINE, weight=3), member("b", *FINE, weight=1), member("c", *FINE, rank=1)]
    here = group(*members, draw=random.random)
    first = Counter(read(here)[0][0].tries[0].upstream for _ in range(2000))
    assert 0.70 < first["a"] / 2000 < 0.80
    assert first["c"] == 0


def test_weights_may_be_as_small_as_they_like() -> None:
    random = Random(7)
    here = group(
        member("a", *FINE, weight=3e-9), member("b", *FINE, weight=1e-9), draw=lambda: random.random() ** 50
    )
    first = Counter(read(here)[0][0].tries[0].upstream for _ in range(2000))
    assert 0.70 < first["a"] / 2000 < 0.80


def test_the_name_and_the_price_are_those_of_who_answers() -> None:
    price = Price(1, 2, 1)
    dear = member("a", Route((Try("x"),)), *FINE, price=price, known_as="big")
    assert read(group(dear))[0][0] == Route((Try("a"),), price, "big")


def test_a_stop_ends_it_and_nobody_else_is_asked() -> None:
    stop = Stop(ThreadSignal())
    first = member("a", lambda held: stop.request("stopped"), until_stopped, rank=0)
    second = member("b", *FINE, rank=1)
    assert read(group(first, second), stop) == ([], None)
    assert asked(first, second) == [1, 0]
    assert first.provider.closed.is_set()  # type: ignore[attr-defined]
