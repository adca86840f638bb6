"""Open an answer, follow it, stop it: what every door does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from backend.chat.answering import Answering
from backend.chat.context import estimate_tokens
from backend.chat.errors import Forbidden, Unavailable
from backend.chat.events import Batch, Header
from backend.chat.ids import new_id
from backend.chat.keeper import Keeper
from backend.chat.live import LiveAnswers
from backend.chat.log import BATCH_ENTRIES, Log
from backend.chat.peers import Alone, Peers
from backend.chat.ports import (
    Admission,
    Asking,
    Meter,
    Models,
    Runtime,
    SessionStore,
    StreamStore,
    TokenCounter,
    Uncounted,
)
from backend.chat.requests import Caller, ChatRequest
from backend.chat.rooms import Rooms
from backend.chat.sessions import Session
from backend.chat.tasks import Limits, Task, Tasks
from backend.chat.writer import INTERRUPTED

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
STOP_AGAIN_S = 2.0
SAVE_PATIENCE_S = 10.0
BEHIND_S = 1.0
DRAIN_POLL_S = 0.05


class Engine:
    """A question goes in, a log comes out."""

    def __init__(
        self,
        models: Models,
        sessions: SessionStore,
        streams: StreamStore,
        runtime: Runtime,
        rooms: Rooms,
        limits: Limits,
        admissions: Sequence[Admission],
        meter: Meter | None = None,
        count_tokens: TokenCounter = estimate_tokens,
        peers: Peers | None = None,
    ) -> None:
        self.draining = False
        self._peers = peers or Alone()
        self._models = models
        self._sessions = sessions
        self._streams = streams
        self._runtime = runtime
        self._limits = limits
        self._live = LiveAnswers(runtime, self._peers.followed)
        self._tasks = Tasks(models, sessions, limits)
        self._keeper = Keeper(sessions, streams, runtime)
        self._answering = Answering(
            streams,
            self._keeper,
            self._live,
            runtime,
            rooms,
            admissions,
            meter or Uncounted(),
            count_tokens,
            self._stop_elsewhere,
        )

    @property
    def live_count(self) -> int:
        return len(self._live)

    @property
    def handing_over(self) -> bool:
        """Whether this process is about to stop and there are others to go to."""
        return self.draining and self._peers.shared

    def open(self, caller: Caller, request: ChatRequest) -> Log:
        """Begin to answer, or join the answer this idempotency key began.

        Raises what refuses it: IdempotencyMismatch, ModelNotFound, Forbidden, SessionBusy, NotFound (of what
        it is to come after), Unavailable, or an admission's own refusal; then nothing is left of it.
        """
        idempotency = request.idempotency(caller)
        if idempotency and (known := self._streams.by_key(idempotency)):
            return known
        if self.draining:
            raise Unavailable("This server is about to stop; ask again and another will answer")
        session = self._session(caller, request)
        model = self._models.find(request.model or (session.model if session else None))
        if not caller.may_ask(model.name):
            raise Forbidden(f"Your team may not use {model.name}; use one of its own model groups")
        header = Header(
            stream_id=new_id(),
            owner=caller.owner,
            session_id=session.session_id if session else None,
            question_id=new_id(),
            message_id=new_id(),
            model=model.name,
            created_at=self._runtime.now(),
            address=caller.address,
            idempotency=idempotency,
            include_usage=bool(request.completion and request.completion.include_usage),
            writer=self._peers.name,
            asked=self._tasks.asked(session, model, request),
        )
        log = self._streams.create(header)
        if log.header is not header:
            return log
        asking = Asking(log, caller, request, model)
        self._answering.begin(
            asking,
            lambda: self._tasks.check(session, request),
            lambda: self._tasks.begin(header, session, model, request),
        )
        return log

    def find(self, caller: Caller, stream_id: str) -> Log:
        """Raises NotFound and StreamExpired."""
        return self._streams.get(caller.owner, stream_id)

    def catch_up(self, log: Log, behind: Callable[[], bool]) -> None:
        """Wait a moment while the log is `behind` what its reader has: who comes from another process can
        have pieces of which their writer has yet to hear that they are kept."""
        if self._peers.shared:
            log.wait_while(behind, BEHIND_S)

    def follow(
        self, log: Log, after: int = 0, heartbeat_s: float = HEARTBEAT_S, *, comes_back: bool = True
    ) -> Iterator[Batch | None]:
        """Batches from offset `after` on, the last one with the closing; None after so much silence, for
        the door to see whether its client is still there.

        A reader who `comes_back` where an answer ends without a closing is let go early when this process
        hands over: the others have the rest. Who has come since then stays.
        """
        stays = not comes_back or self.draining
        with self.following(log):
            for batch in log.tail(after, heartbeat_s):
                yield batch
                if batch is not None and len(batch.entries) == BATCH_ENTRIES:
                    self._runtime.sleep(0)  # a reader who is far behind lets others run
                if self.handing_over and not stays:
                    return

    def following(self, log: Log) -> AbstractContextManager[None]:
        """While inside, one more follows the answer."""
        return self._live.following(log)

    def stop(self, caller: Caller, stream_id: str, reason: str = "stopped") -> Log:
        """Stop the answer and wait for its end; one that has ended stays as it is. Raises as `find`."""
        log = self.find(caller, stream_id)
        if self._live.stop(stream_id, reason):
            log.wait_closed(SAVE_PATIENCE_S)
        elif log.closing is None:
            self._stop_elsewhere(log, reason)
        return log

    def stop_here(self, stream_id: str, reason: str) -> None:
        """A peer wants it: stop the answer if it is written here, without waiting for its end."""
        self._live.stop(stream_id, reason)

    def _stop_elsewhere(self, log: Log, reason: str) -> None:
        """Have its writer stop it, who may miss being told; for a while."""
        until_s = self._runtime.monotonic() + SAVE_PATIENCE_S
        while self._runtime.monotonic() < until_s:
            self._peers.stop(log, reason)
            if log.wait_closed(STOP_AGAIN_S):
                return

    def recover(self) -> None:
        """End what servers that are gone left behind, or go on with it. Call once before any question; where
        there are peers, every second or so as well: to them it is left by one that is about to stop."""
        self._keeper.recover(self._go_on, by_others=not self.handing_over)

    def tend(self) -> None:
        """What must be done every second or so: stop the abandoned, save what could not be saved, drop
        the outdated."""
        self._live.stop_alone(self._limits.detach_grace_s)
        self._keeper.save_unsaved()
        self._streams.sweep()
        self._sessions.sweep()

    def drain(self, patience_s: Callable[[], float]) -> None:
        """Take no new questions and wait for the running answers; interrupt what is left when the
        patience, which may run out meanwhile, is over, unless others go on with it when we are gone."""
        self.draining = True
        started_s = self._runtime.monotonic()
        while self._busy() and self._runtime.monotonic() - started_s < patience_s():
            self._runtime.sleep(DRAIN_POLL_S)
        self._live.stop_all(INTERRUPTED.type, SAVE_PATIENCE_S, but=self._tasks.goes_on)

    def _session(self, caller: Caller, request: ChatRequest) -> Session | None:
        """The session the answer goes into: the kept one, else a new one that is not kept yet."""
        if not request.keep:
            return None
        named = request.target_session_id
        if named:
            kept = self._sessions.get(caller.owner, named)
            if kept is not None:
                return kept
        now = self._runtime.now()
        session_id = named or new_id()
        return Session(caller.owner, session_id, None, request.model, request.system, now, now)

    def _go_on(self, log: Log, left: Header) -> bool:
        """Write the rest of an answer that was left behind, if that can be done. Raises TakenOver."""
        task = None if self.draining else self._planned(log)
        return task is not None and self._answering.go_on(log, left, task)

    def _planned(self, log: Log) -> Task | None:
        """What is to be done; None if that cannot be, for whatever reason. Raises Unavailable."""
        try:
            return self._tasks.again(log, self._runtime.now())
        except Unavailable:
            raise
        except Exception:
            extra = {"stream_id": log.header.stream_id}
            logger.exception("an answer, left behind, cannot be gone on with", extra=extra)
            return None

    def _busy(self) -> bool:
        """Whether an answer runs, or waits for the store to take it."""
        return not self._keeper.save_unsaved() or len(self._live) > 0
