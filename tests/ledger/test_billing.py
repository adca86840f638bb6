from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.events import Price, Usage
from backend.ledger.billing import cost_of, due, most_of, to_hold, usd
from backend.ledger.records import Most, Terms
from tests.ledger.world import TOKENS, USD

PRICE = Price(prompt=3_000_000, completion=15_000_000, cached=300_000)
TERMS = [Terms(), USD, TOKENS]


@pytest.mark.parametrize(
    ("terms", "tokens", "micro_usd", "credits"),
    [
        (Terms(), 10**9, 10**9, 1),
        (USD, 0, 0, 1),
        (USD, 0, 10_000, 1),
        (USD, 0, 10_001, 2),
        (USD, 0, 1_000_000, 100),
        (TOKENS, 0, 0, 1),
        (TOKENS, 1000, 0, 1),
        (TOKENS, 1001, 0, 2),
    ],
)
def test_a_job_is_due_what_it_consumed_rounded_up_and_1_at_least(
    terms: Terms, tokens: int, micro_usd: int, credits: int
) -> None:
    assert due(terms, tokens, micro_usd) == credits


@given(
    st.sampled_from(TERMS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**7)), min_size=1, max_size=20),
    st.randoms(),
)
def test_calls_that_take_no_more_than_their_most_never_cost_more_than_they_hold(terms, mosts, random) -> None:
    held = 0
    for tokens, micro_usd in mosts:
        held += to_hold(terms, Most(tokens, micro_usd), held)
    used = [(random.randint(0, tokens), random.randint(0, micros)) for tokens, micros in mosts]
    assert due(terms, sum(t for t, _ in used), sum(m for _, m in used)) <= held


def test_a_further_call_of_a_job_that_pays_by_the_job_holds_nothing() -> None:
    assert [to_hold(Terms(), Most(10**6, 10**6), held) for held in (0, 1)] == [1, 0]


def test_the_most_is_every_choice_at_its_longest_and_a_prompt_that_was_never_read_before() -> None:
    assert most_of(1000, 500, PRICE, choices=2) == Most(2000, 3000 + 15_000)
    assert most_of(1000, 500, None) == Most(1500, 0)


@pytest.mark.parametrize(
    ("said", "micro_usd"),
    [
        (0.00014, 140),
        (1e-9, 1),
        (0, 0),
        (2, 2_000_000),
        (0.1 + 0.2, 300_001),  # what is written 0.30000000000000004 is more than 0.3
    ],
)
def test_the_upstreams_own_cost_counts_rounded_up(said: float, micro_usd: int) -> None:
    assert cost_of(Usage(1000, 100, 1100, details={"cost": said}), PRICE) == micro_usd


@pytest.mark.parametrize("said", [None, True, "0.1", -1, float("nan"), float("inf"), 1e300, {"usd": 1}])
def test_a_cost_that_is_none_leaves_it_to_the_price(said: object) -> None:
    assert cost_of(Usage(1000, 100, 1100, details={"cost": said}), PRICE) == 3000 + 1500


def test_what_has_neither_cost_nor_price_costs_nothing() -> None:
    assert cost_of(Usage(1000, 100, 1100), None) == 0


def test_dollars_are_written_exactly() -> None:
    assert [usd(n) for n in (0, 1, 1_000_000, 12_345_678)] == [
        "0.000000",
        "0.000001",
        "1.000000",
        "12.345678",
    ]
