"""What arrives: who asks, and what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """`owner` is empty for an anonymous caller; `address` is where the request came from.

    Whoever shows a team's key is that team, which may have a `rate_limit` of its own (such as `30/minute`,
    or `off`) and be held to some `models`. `admin`: they may manage teams.
    """

    owner: str
    address: str
    team_id: str | None = None
    rate_limit: str | None = None
    models: frozenset[str] | None = None
    admin: bool = False

    @property
    def anonymous(self) -> bool:
        return not self.owner

    def may_ask(self, model: str) -> bool:
        return self.models is None or model in self.models


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A key is known within `scope` only; `fingerprint` is a digest of the body it came with."""

    scope: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer in a session was asked for besides its question: all that is needed to go on with it."""

    system: str | None
    temperature: float | None
    max_tokens: int


MAX_TOKENS_FIELDS = ("max_completion_tokens", "max_tokens")
"""What OpenAI and others call the bound on an answer."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole conversation in the terms of OpenAI's chat completions: passed on as it is, with all `options`
    that were given. `include_usage`: its stream is to end with the usage."""

    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    choices: int = 1
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class JobCall:
    """What a team's question is billed as: a call of the job `job_id`, or, without one, all that there is of
    a job of its own, which ends with it. `job_type`, `user_id` and `job_metadata` are that job's."""

    job_id: str | None = None
    purpose: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    job_type: str = "completion"
    user_id: str | None = None
    job_metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parent:
    """Where in its session a question goes: after this message, or, None, at the very beginning."""

    message_id: str | None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question, checked. `session_id` None asks for the session `fallback_session_id`, without that
    for a new one, or for none when `keep` is off. Without a `parent` it goes after the newest message.

    `fingerprint` is a digest of what was asked, for `idempotency_key`. A `completion` stands for the message
    and what belongs to it. `runs_on`: the answer is given to its end, whoever leaves. `call` says what a
    team pays for.
    """

    message: str
    session_id: str | None = None
    fallback_session_id: str | None = None
    parent: Parent | None = None
    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    keep: bool = True
    completion: Completion | None = None
    runs_on: bool = True
    idempotency_key: str | None = None
    fingerprint: str = ""
    call: JobCall = JobCall()

    @property
    def target_session_id(self) -> str | None:
        return self.session_id or self.fallback_session_id

    def idempotency(self, caller: Caller) -> Idempotency | None:
        """The key in its scope: an owner's keys are the owner's; an anonymous caller's hold for one
        address and the session it named, if any."""
        if self.idempotency_key is None:
            return None
        scope = f"owner {caller.owner}"
        if caller.anonymous:
            scope = f"address {caller.address} session {self.session_id or ''}"
        return Idempotency(scope, self.idempotency_key, self.fingerprint)
