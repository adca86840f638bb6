"""What an answer's closing says of the call that it was."""

from __future__ import annotations

from backend.chat.events import Closing, Failed, Price
from backend.ledger.billing import cost_of
from backend.ledger.records import Outcome

ERROR_CHARS = 1000


def outcome_of(stream_id: str, closing: Closing, price: Price | None, model: str | None = None) -> Outcome:
    """How it ended and what it took, to the token and the micro-dollar. `price` and `model` are those of who
    answered, `model` None if that is who was asked. An answer without usage generated nothing."""
    usage = closing.usage
    ttft_ms = None if isinstance(closing, Failed) else closing.ttft_ms
    return Outcome(
        stream_id=stream_id,
        state=_state(closing),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        micro_usd=cost_of(usage, price) if usage else 0,
        basis="usage" if usage and not usage.estimated else "estimate",
        latency_ms=round(closing.duration_s * 1000),
        ttft_ms=None if ttft_ms is None else round(ttft_ms),
        error=closing.error[:ERROR_CHARS] if isinstance(closing, Failed) else None,
        model=model,
    )


def _state(closing: Closing) -> str:
    """`cut` is an answer that was stopped because nobody followed it any more."""
    if isinstance(closing, Failed):
        return closing.state
    return "cut" if closing.finish_reason == "detached" else closing.state
