"""A team's questions are calls of its jobs: begun before any upstream is asked, settled at their end."""

from __future__ import annotations

from collections.abc import Callable

from backend.chat.context import TURN_OVERHEAD, count_prompt, estimate_tokens, media_in
from backend.chat.errors import ModelNotFound, Unavailable
from backend.chat.events import Closing, Header, Price
from backend.chat.log import Log
from backend.chat.ports import Asking, Models, Runtime, TokenCounter
from backend.chat.requests import Caller
from backend.ledger.billing import most_of
from backend.ledger.desk import Desk
from backend.ledger.outcomes import outcome_of
from backend.ledger.records import NewCall, NewJob, Outcome
from backend.ledger.settler import Settler

OWNER = "team:"
"""How the owner of a team's streams begins."""


class Billing:
    """An admission. The id of a call is that of its stream; a job of one call has the same. Whoever shows no
    team's key pays nothing."""

    def __init__(
        self,
        desk: Desk,
        settler: Settler,
        models: Models,
        runtime: Runtime,
        count_tokens: TokenCounter,
        max_answer_tokens: int,
        check_room: Callable[[Caller], None],
    ) -> None:
        """`check_room` raises for a caller whom a later admission would refuse, so that the ledger is not
        troubled."""
        self._desk = desk
        self._settler = settler
        self._models = models
        self._runtime = runtime
        self._count_tokens = count_tokens
        self._max_answer_tokens = max_answer_tokens
        self._check_room = check_room

    def admit(self, asking: Asking) -> None:
        """Raises InsufficientCredits, NotFound for the job, Conflict if it has ended, and Unavailable."""
        team_id, stream_id = asking.caller.team_id, asking.log.header.stream_id
        if team_id is None:
            return
        self._check_room(asking.caller)
        call = self._call(asking, team_id)
        try:
            self._desk.ledger.begin_call(call, new_job(asking, team_id))
        except Unavailable:
            # It may have begun all the same.
            self._settler.settle(Outcome(stream_id, "withdrawn"), patience_s=0)
            raise
        self._settler.began(stream_id)

    def resume(self, header: Header) -> None:
        if header.owner.startswith(OWNER):
            self._settler.began(header.stream_id)

    def settle(self, log: Log, closing: Closing) -> None:
        if log.header.owner.startswith(OWNER):
            model, price = answered_by(self._models, log)
            self._settler.settle(outcome_of(log.header.stream_id, closing, price, model))

    def withdraw(self, log: Log) -> None:
        if log.header.owner.startswith(OWNER):
            self._settler.settle(Outcome(log.header.stream_id, "withdrawn"))

    def let_go(self, log: Log) -> None:
        self._settler.forget(log.header.stream_id)

    def _call(self, asking: Asking, team_id: str) -> NewCall:
        stream_id, request, model = asking.log.header.stream_id, asking.request, asking.model
        max_tokens = request.max_tokens or self._max_answer_tokens
        completion = request.completion
        if completion is None:
            prompt_tokens = estimate_tokens(request.message) + TURN_OVERHEAD
            at_most = max(prompt_tokens, model.context_tokens)
        else:
            messages, options = completion.messages, completion.options
            prompt_tokens = self._runtime.offload(lambda: count_prompt(messages, options, self._count_tokens))
            # What an image or a file takes only its model knows.
            at_most = max(prompt_tokens, model.context_tokens) if media_in(messages) else prompt_tokens
        choices = completion.choices if completion else 1
        return NewCall(
            call_id=stream_id,
            job_id=request.call.job_id or stream_id,
            team_id=team_id,
            stream_id=stream_id,
            model=model.name,
            most=most_of(at_most, max_tokens, model.dearest or model.price, choices),
            purpose=request.call.purpose,
            model_group=model.name,
            metadata=request.call.metadata,
            prompt_tokens=prompt_tokens,
        )


def new_job(asking: Asking, team_id: str) -> NewJob | None:
    """The job of one call that the question is; None for a call of a job that there is."""
    call = asking.request.call
    if call.job_id is not None:
        return None
    stream_id = asking.log.header.stream_id
    return NewJob(stream_id, team_id, call.job_type, call.user_id, call.job_metadata)


def answered_by(models: Models, log: Log) -> tuple[str, Price | None]:
    """The model that answers, as far as it is known, and what its tokens cost."""
    route, named = log.route, log.header.model
    model = (route and route.model) or named
    return model, (route and route.price) or price_of(models, model)


def price_of(models: Models, model: str) -> Price | None:
    """What its tokens cost, whoever it was of several that answered."""
    try:
        found = models.find(model)
    except ModelNotFound:
        return None
    return found.price or found.dearest
