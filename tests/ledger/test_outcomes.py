from __future__ import annotations

import pytest

from backend.chat.errors import Interrupted, UpstreamError
from backend.chat.events import Closing, Failed, Finished, Price, Usage
from backend.ledger.outcomes import outcome_of
from backend.ledger.records import Outcome

PRICE = Price(prompt=1_000_000, completion=2_000_000, cached=0)
USAGE = Usage(10, 5, 15)
AT = "2026-11-20T12:00:00.000000+00:00"


def finished(reason: str, usage: Usage = USAGE) -> Finished:
    return Finished(reason, 5, 1.2345, 99.6, usage, AT)


@pytest.mark.parametrize(
    ("closing", "state"),
    [
        (finished("stop"), "done"),
        (finished("length"), "done"),
        (finished("stopped"), "stopped"),
        (finished("detached"), "cut"),
        (Failed.because(UpstreamError("broke off"), tokens=5, at=AT, usage=USAGE), "failed"),
        (Failed.because(Interrupted("gone"), tokens=5, at=AT, usage=USAGE), "interrupted"),
    ],
)
def test_every_way_to_end_has_its_state_and_what_was_generated_counts(closing: Closing, state: str) -> None:
    outcome = outcome_of("s", closing, PRICE)
    assert (outcome.state, outcome.prompt_tokens, outcome.completion_tokens) == (state, 10, 5)
    assert (outcome.micro_usd, outcome.basis) == (20, "usage")


def test_it_is_told_in_whole_numbers() -> None:
    assert outcome_of("s", finished("stop"), PRICE, "big") == Outcome(
        "s", "done", 10, 5, 20, "usage", latency_ms=1234, ttft_ms=100, error=None, model="big"
    )


def test_what_we_counted_ourselves_is_an_estimate() -> None:
    assert outcome_of("s", finished("stopped", Usage(1, 1, 2, estimated=True)), None).basis == "estimate"


def test_a_failure_before_any_token_took_nothing() -> None:
    closing = Failed.because(UpstreamError("x" * 5000), tokens=0, at=AT)
    outcome = outcome_of("s", closing, PRICE)
    assert (outcome.prompt_tokens, outcome.completion_tokens, outcome.micro_usd) == (0, 0, 0)
    assert (outcome.error, outcome.ttft_ms) == ("x" * 1000, None)
