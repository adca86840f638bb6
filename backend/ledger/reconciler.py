"""Calls whose process is gone: found, and settled from what there is of their streams."""

from __future__ import annotations

import logging

from backend.chat.errors import NotFound, StreamExpired, Unavailable
from backend.chat.events import Failed, Usage, generated_in
from backend.chat.log import Log
from backend.chat.ports import Models, Runtime, StreamStore, TokenCounter
from backend.ledger.admission import OWNER, answered_by, price_of
from backend.ledger.billing import cost_of
from backend.ledger.desk import Desk
from backend.ledger.outcomes import outcome_of
from backend.ledger.records import Call, Outcome
from backend.ledger.settler import Settler

logger = logging.getLogger(__name__)

EVERY_S = 30.0
"""How often it looks, and oftener where leases are short."""
GONE = "The server went away while answering"


class Reconciler:
    """Keeps the leases of this process's calls, fails jobs whose time is over, and settles calls that nobody
    else will."""

    def __init__(
        self,
        desk: Desk,
        settler: Settler,
        streams: StreamStore,
        models: Models,
        runtime: Runtime,
        count_tokens: TokenCounter,
        lease_s: float,
    ) -> None:
        self._desk = desk
        self._settler = settler
        self._streams = streams
        self._models = models
        self._runtime = runtime
        self._count_tokens = count_tokens
        self._every_s = min(EVERY_S, lease_s / 3)
        self._next_s = 0.0

    def tend(self) -> None:
        """To be called every second or so; looks at once when it is called first. Raises Unavailable."""
        now_s = self._runtime.monotonic()
        if now_s < self._next_s or not self._desk.in_use:
            return
        self._next_s = now_s + self._every_s
        if running := self._settler.running:
            self._desk.ledger.renew(running)
        for call in self._desk.ledger.sweep().overdue:
            try:
                self._settle(call)
            except Unavailable:
                raise
            except Exception:  # the others are not to wait for it
                logger.exception("a call, left behind, could not be settled", extra=named(call))

    def settle_left(self, team_id: str, job_id: str) -> None:
        """Settle those calls of a job whose answers were closed for a process that had died, without waiting
        for their leases to be over. Raises NotFound and Unavailable."""
        for call in self._desk.ledger.calls(team_id, job_id):
            log = self._log_of(call) if call.settled_at is None else None
            closing = log.closing if log else None
            if isinstance(closing, Failed) and closing.state == "interrupted":
                self._settle(call)

    def _settle(self, call: Call) -> None:
        log = self._log_of(call)
        if log is not None and log.closing is None:
            self._desk.ledger.renew([call.stream_id])
            return
        settled = self._desk.ledger.settle(self._outcome(call, log))
        logger.info("a call, left behind, is settled as %s", settled.state, extra=named(call))

    def _log_of(self, call: Call) -> Log | None:
        try:
            return self._streams.get(OWNER + call.team_id, call.stream_id)
        except (NotFound, StreamExpired):
            return None

    def _outcome(self, call: Call, log: Log | None) -> Outcome:
        """As its closing says; where that does not tell what was generated, it is counted here. Of a stream
        that is gone only the prompt is known."""
        closing = log.closing if log else None
        if log is not None:
            model, price = answered_by(self._models, log)
        else:
            model, price = call.model, price_of(self._models, call.model)
        if log is not None and closing is not None and (closing.usage is not None or not log.offset):
            return outcome_of(call.stream_id, closing, price, model)
        text = "".join(map(generated_in, log.read(0).entries)) if log else ""
        written = self._runtime.offload(lambda: self._count_tokens(text)) if text else 0
        usage = Usage(call.prompt_tokens, written, call.prompt_tokens + written, estimated=True)
        return Outcome(
            stream_id=call.stream_id,
            state=closing.state if isinstance(closing, Failed) else "interrupted",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            micro_usd=cost_of(usage, price),
            error=closing.error if isinstance(closing, Failed) else GONE,
            model=model,
        )


def named(call: Call) -> dict[str, str]:
    """What a log line says of it."""
    return {"stream_id": call.stream_id}
