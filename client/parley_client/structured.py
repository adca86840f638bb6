"""Structured output: what is asked of the model, what its answers are worth, what they cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from parley_client.completions import Usage
from parley_client.errors import InvalidOutput
from parley_client.jobs import CallResult, JobCosts
from parley_client.schema import response_format

M = TypeVar("M", bound=BaseModel)

RE_ASKS = 2
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call for a structured output. `error` is what was wrong with its text, None if nothing.

    `tokens` is None where the server did not say; `cost_usd` is None until the server has said.
    """

    text: str
    error: str | None = None
    call_id: str | None = None
    model: str | None = None
    tokens: int | None = None
    latency_ms: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Structured(Generic[M]):
    """A valid output, and all that was paid for it: the last attempt is the one it came from."""

    value: M
    attempts: tuple[Attempt, ...]

    @property
    def tokens(self) -> int:
        return sum(attempt.tokens or 0 for attempt in self.attempts)

    @property
    def cost_usd(self) -> float:
        return sum(attempt.cost_usd or 0.0 for attempt in self.attempts)


class Asking(Generic[M]):
    """The course of one structured output. It does no I/O: `messages` are what to send next, `judge` takes
    what came."""

    def __init__(self, model: type[M], messages: Sequence[Mapping[str, Any]], re_asks: int) -> None:
        self.messages: list[Mapping[str, Any]] = list(messages)
        self.attempts: list[Attempt] = []
        self.value: M | None = None
        self.model = model
        self.response_format = response_format(model)
        self._re_asks = re_asks

    @property
    def is_over(self) -> bool:
        """No more may be asked."""
        return len(self.attempts) > self._re_asks

    def judge(self, attempt: Attempt) -> M | None:
        """The model's instance if its text is one. Else the next messages tell the model what was wrong."""
        try:
            value = self.model.model_validate_json(_bare(attempt.text))
        except ValidationError as exc:
            said = complaint(exc)
            self.attempts.append(replace(attempt, error=said))
            self.messages += [
                {"role": "assistant", "content": attempt.text},
                {"role": "user", "content": _again(said)},
            ]
            return None
        self.attempts.append(attempt)
        self.value = value
        return value

    def gave_up(self) -> InvalidOutput:
        name, count = self.model.__name__, len(self.attempts)
        return InvalidOutput(f"No valid {name} in {count} attempts: {self.attempts[-1].error}", self.attempts)


def attempt_of(result: CallResult) -> Attempt:
    used = result.metadata
    total = result.usage.total_tokens if result.usage else None
    return Attempt(
        text=result.text or result.response.content or "",
        call_id=result.call_id,
        model=used.model or result.model,
        tokens=total if used.tokens_used is None else used.tokens_used,
        latency_ms=used.latency_ms,
        usage=result.usage,
        cost_usd=used.cost_usd,
    )


def priced(attempts: Sequence[Attempt], costs: JobCosts) -> tuple[Attempt, ...]:
    """The same with what the job's bill says of them."""
    calls = {call.call_id: call for call in costs.calls}
    found = [(attempt, calls.get(attempt.call_id or "")) for attempt in attempts]
    return tuple(
        attempt
        if call is None
        else replace(
            attempt,
            cost_usd=attempt.cost_usd if call.cost_usd is None else call.cost_usd,
            tokens=call.tokens if attempt.tokens is None else attempt.tokens,
            latency_ms=call.latency_ms if attempt.latency_ms is None else attempt.latency_ms,
        )
        for attempt, call in found
    )


def complaint(exc: ValidationError) -> str:
    """What is wrong, a line each, without what was sent."""
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    return "\n".join(
        f"{'.'.join(map(str, error['loc'])) or 'the answer'}: {error['msg']}" for error in errors[:20]
    )


def _again(said: str) -> str:
    return f"That does not fit the schema:\n{said}\nAnswer again, with the corrected JSON and nothing else."


def _bare(text: str) -> str:
    """Without the fence that some models put around JSON."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text
