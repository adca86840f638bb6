"""What a log holds: its header, its entries, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from backend.chat.errors import Broken, Complaint, ParleyError
from backend.chat.requests import Asked, Idempotency


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of an answer before its first token.

    `session_id` is None for an answer outside any session. `question_id` and `message_id` are the ids
    that question and answer have there, so that saving one twice saves it once. Times are ISO 8601 UTC.
    `include_usage`: whoever streams it as OpenAI's chunks wants the usage, too. `writer` is the process that
    writes it, as `Peers.name`, and `epoch` how many have written it before. `asked` is there for those that
    another process may go on with.
    """

    stream_id: str
    owner: str
    session_id: str | None
    question_id: str
    message_id: str
    model: str
    created_at: str
    address: str = ""
    idempotency: Idempotency | None = None
    include_usage: bool = False
    writer: str = ""
    epoch: int = 0
    asked: Asked | None = None

    def age_s(self, now: str) -> float:
        return (datetime.fromisoformat(now) - datetime.fromisoformat(self.created_at)).total_seconds()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer that is more than text: `extra` holds what the upstream said besides
    (`tool_calls`, `refusal`, `reasoning_content` …), as it said it. Of the choice it belongs to: `index`,
    where that is not 0, `logprobs`, and the `finish_reason` of any but choice 0, whose is the closing's."""

    text: str
    extra: Mapping[str, Any]


Entry: TypeAlias = str | Delta
"""One item of a log; a plain, non-empty `str` is by far the most common and the cheapest."""

NOT_SAID = ("index", "logprobs", "finish_reason")
"""What stands beside a piece in `Delta.extra`, and is not generated."""


def texts_in(value: Any, *, keys: bool = False) -> Iterator[str]:
    """Every text in a JSON value, which is not nested deeper than JSON readers go; `keys` too, if asked."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if keys:
                yield key
            yield from texts_in(item, keys=keys)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item, keys=keys)


def size_of(entry: Entry) -> int:
    """The characters in an entry; of what stands beside the piece, those of texts alone."""
    if isinstance(entry, str):
        return len(entry)
    beside = {key: entry.extra[key] for key in NOT_SAID if key in entry.extra}
    said = {key: value for key, value in entry.extra.items() if key not in beside}
    return len(entry.text) + sum(map(len, [*texts_in(said, keys=True), *texts_in(beside)]))


def generated_in(entry: Entry) -> str:
    """All that a model wrote of an entry: its text, and what calls, refusals and reasoning say."""
    if isinstance(entry, str):
        return entry
    said = {key: value for key, value in entry.extra.items() if key not in NOT_SAID}
    return "".join([entry.text, *texts_in(said)])


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written; `estimated` when the upstream did not say and we counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost, in picodollars each; USD 1 per million tokens is 1,000,000 of them. `cached` is for
    those of the prompt that the upstream had read before."""

    prompt: int
    completion: int
    cached: int

    def micro_usd(self, usage: Usage) -> int:
        """What was used, in millionths of a dollar, rounded up."""
        details = usage.details.get("prompt_tokens_details")
        said = details.get("cached_tokens") if isinstance(details, Mapping) else None
        cached = min(said, usage.prompt_tokens) if type(said) is int and said > 0 else 0
        fresh = usage.prompt_tokens - cached
        pico = fresh * self.prompt + cached * self.cached + usage.completion_tokens * self.completion
        return -(-pico // 1_000_000)


@dataclass(frozen=True, slots=True)
class Try:
    """An upstream that was asked, and the `outcome` of the error it failed with; None if it answers."""

    upstream: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The upstreams that were asked, in their order; the last one answers, unless all failed. `price` is
    what its tokens cost, `model` which one of a group's it is, where that is known."""

    tries: tuple[Try, ...]
    price: Price | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer ended as intended. `finish_reason` is the model's (`stop`, `length`, `tool_calls`,
    `content_filter`) or ours: `stopped` by a person, `detached` because nobody followed.

    `tokens` counts text pieces. `upstream_closed_ms` is the time from a stop to the upstream
    connection's end, None if nothing was stopped or the upstream had not let go in time.
    """

    finish_reason: str
    tokens: int
    duration_s: float
    ttft_ms: float | None
    usage: Usage
    at: str
    history_dropped: int = 0
    upstream_closed_ms: float | None = None

    @property
    def state(self) -> str:
        return "stopped" if self.finish_reason in ("stopped", "detached") else "done"


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke off; what had been generated by then stays. Fields as in `ParleyError`.

    `tail_lost`: its writer died, so readers may hold more of it than is kept. `usage` is what it took
    all the same, `complaint` the upstream's refusal, if that was why.
    """

    type: str
    code: int
    error: str
    tokens: int
    at: str
    duration_s: float = 0.0
    tail_lost: bool = False
    usage: Usage | None = None
    complaint: Complaint | None = None

    @classmethod
    def because(
        cls, exc: ParleyError, *, tokens: int, at: str, duration_s: float = 0.0, usage: Usage | None = None
    ) -> Failed:
        complaint = exc.complaint if isinstance(exc, Broken) else None
        said = exc.type, exc.status, exc.message
        return cls(*said, tokens, at, duration_s, usage=usage, complaint=complaint)

    @property
    def state(self) -> str:
        return "interrupted" if self.type == "interrupted" else "failed"


Closing: TypeAlias = Finished | Failed

TAIL_LOST = 1_000_000
"""How far past the last piece a closing is numbered when the tail was lost, so that no reader's last
piece is taken for it."""


@dataclass(slots=True)
class Batch:
    """Everything past a reader's cursor: `entries` are those after `offset`, the first of their texts
    is number `count` + 1; `closing` is there when nothing can follow."""

    offset: int
    count: int
    entries: list[Entry]
    closing: Closing | None

    @property
    def end(self) -> int:
        return self.offset + len(self.entries)
