"""What is in an entry, and what it costs."""

from __future__ import annotations

import pytest

from backend.chat.events import Delta, Price, Usage, generated_in, size_of

LOGPROBS = {"content": [{"token": "four", "logprob": -0.1}]}


def test_the_size_of_an_entry_is_all_its_text() -> None:
    assert size_of("four") == 4
    assert size_of(Delta("four", {"logprobs": LOGPROBS, "index": 2})) == 8


def test_what_stands_beside_a_piece_was_not_generated() -> None:
    extra = {"reasoning_content": "why", "logprobs": LOGPROBS, "index": 1, "finish_reason": "stop"}
    assert generated_in(Delta("four", extra)) == "fourwhy"
    assert generated_in("four") == "four"


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        (Usage(0, 0, 0), 0),
        (Usage(1_000_000, 0, 1_000_000), 150_000),
        (Usage(1, 0, 1), 1),
        (Usage(100, 10, 110), 21),
        (Usage(100, 10, 110, details={"prompt_tokens_details": {"cached_tokens": 40}}), 18),
        (Usage(100, 0, 100, details={"prompt_tokens_details": {"cached_tokens": 999}}), 8),
        (Usage(100, 0, 100, details={"prompt_tokens_details": {"cached_tokens": -5}}), 15),
        (Usage(100, 0, 100, details={"prompt_tokens_details": "many"}), 15),
    ],
    ids=str,
)
def test_a_price_is_paid_in_whole_millionths_of_a_dollar_rounded_up(usage: Usage, micro_usd: int) -> None:
    assert Price(150_000, 600_000, 75_000).micro_usd(usage) == micro_usd
