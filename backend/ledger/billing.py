"""What is held and what is due, in whole credits."""

from __future__ import annotations

from decimal import Decimal

from backend.chat.events import Price, Usage
from backend.ledger.records import Most, Terms

MICROS = 1_000_000
MOST_MICRO_USD = 10**15


def consumed(terms: Terms, tokens: int, micro_usd: int) -> int:
    """So many credits, rounded up once, for all that was consumed. None in `job_based`."""
    if terms.budget_mode == "consumption_usd":
        return -(-micro_usd * terms.credits_per_dollar // MICROS)
    if terms.budget_mode == "consumption_tokens":
        return -(-tokens // terms.tokens_per_credit)
    return 0


def due(terms: Terms, tokens: int, micro_usd: int) -> int:
    """What a completed job costs: what its calls consumed together, and 1 at least."""
    return max(1, consumed(terms, tokens, micro_usd))


def to_hold(terms: Terms, most: Most, held: int) -> int:
    """What a call of a job that has `held` so much must hold besides: what it can consume at most, rounded up
    by itself, so that the holds of a job never come to less than its bill; 1 at least for a job with none."""
    return max(consumed(terms, most.tokens, most.micro_usd), 0 if held else 1)


def cost_of(usage: Usage, price: Price | None) -> int:
    """Micro-USD: what the upstream itself says it charged (`cost`, in dollars, beside the counts), rounded
    up; else by the price; 0 for a model without one."""
    said = usage.details.get("cost")
    if isinstance(said, int | float) and not isinstance(said, bool):
        micros = Decimal(str(said)) * MICROS
        if micros.is_finite() and 0 <= micros <= MOST_MICRO_USD:
            return int(micros.to_integral_value("ROUND_CEILING"))
    return price.micro_usd(usage) if price else 0


def most_of(prompt_tokens: int, max_tokens: int, price: Price | None, choices: int = 1) -> Most:
    """What a call can take at most, nothing of its prompt being cached."""
    usage = Usage(prompt_tokens, max_tokens * choices, prompt_tokens + max_tokens * choices)
    return Most(usage.total_tokens, price.micro_usd(usage) if price else 0)


def usd(micro_usd: int) -> str:
    """Dollars as people write them, exactly."""
    return f"{micro_usd // MICROS}.{micro_usd % MICROS:06d}"
