"""The one writer of an answer: from the provider's first piece to the closing, whatever fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing as closed_after
from dataclasses import dataclass
from threading import Lock

from backend.chat.context import estimate_turns, fit
from backend.chat.errors import Internal, Interrupted, ParleyError, UpstreamError
from backend.chat.events import Closing, Entry, Failed, Finished, Usage
from backend.chat.log import BATCH_ENTRIES, Log, LogClosed, text_of, texts_of
from backend.chat.ports import Ended, Model, Prompt, Runtime, StreamStore, Tally
from backend.chat.sessions import Message
from backend.chat.stop import Stop

logger = logging.getLogger(__name__)

INTERRUPTED = Interrupted("The server went away while answering; what it had generated is kept. Ask again")


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a writer needs, as plain data. `max_tokens` bounds the entries, `max_chars` the text."""

    model: Model
    system: str | None
    history: Sequence[Message]
    question: str
    temperature: float | None
    max_tokens: int
    max_chars: int


class Writer:
    """Runs one answer; it can be stopped before it runs. `on_end` is called once, before readers see
    the closing.

    The lock guards `_ended`: of a writer that comes to its end and a stop that lost patience with it,
    one closes the answer.
    """

    def __init__(
        self,
        log: Log,
        streams: StreamStore,
        runtime: Runtime,
        on_end: Callable[[Log, Closing], None],
        tally: Tally,
    ) -> None:
        self.log = log
        self.stop = Stop(runtime.signal())
        self._streams = streams
        self._runtime = runtime
        self._on_end = on_end
        self._tally = tally
        self._lock = Lock()
        self._begun = False
        self._ended = False
        self._started_s = runtime.monotonic()
        self._stopped_s = 0.0
        self._first_s: float | None = None
        self._prompt_tokens = 0
        self._dropped = 0
        self._unshared = BATCH_ENTRIES  # whoever waits for the first piece has it before the next

    def run(self, task: Task) -> None:
        """Write the answer to its end. Never raises."""
        self._begun = True
        named = {"stream_id": self.log.header.stream_id}
        try:
            closing = self._closing(self._write(task))
        except LogClosed:
            logger.warning("an answer was closed under its writer", extra=named)
            return
        except Exception as exc:  # noqa: BLE001  (every answer is closed, whatever fails)
            closing = self._closing_after(exc)
        try:
            self._end(closing)
        except Exception:
            logger.exception("an answer could not be closed", extra=named)

    def request_stop(self, reason: str) -> None:
        """Have the provider let go; the writer then closes the log with this `finish_reason`, or as
        interrupted if the reason is `interrupted`."""
        if not self.stop.requested:
            self._stopped_s = self._runtime.monotonic()
        self.stop.request(reason)

    def give_up(self) -> None:
        """Close a stopped answer whose provider has not let go in time. One that is still being opened
        has no provider: it ends by itself as soon as it runs."""
        if self._begun:
            self._end(self._closing_of_stop(None))

    def _write(self, task: Task) -> Ended | None:
        """Append what comes until the model ends or a cap is passed; None when stopped."""
        if self.stop.requested:
            return None
        # The answer may fill half the context at most, or a small model would remember nothing.
        room = task.model.context_tokens - min(task.max_tokens, task.model.context_tokens // 2)
        turns, self._dropped = fit(task.system, task.history, task.question, room)
        self._prompt_tokens = estimate_turns(turns)
        prompt = Prompt(task.model.upstream_name, turns, task.max_tokens, task.temperature)
        tokens_left, chars_left = task.max_tokens, task.max_chars
        with closed_after(task.model.provider.stream(prompt, self.stop)) as pieces:
            for piece in pieces:
                if isinstance(piece, Ended):
                    return piece
                if self.stop.requested:
                    return None
                if self._first_s is None:
                    self._first_s = self._runtime.monotonic()
                chars = sum(map(len, texts_of(piece)))
                if len(piece) > tokens_left or chars > chars_left:
                    self._append(within(piece[:tokens_left], chars_left))
                    return Ended("length")
                self._append(piece)
                tokens_left -= len(piece)
                chars_left -= chars
                self._take_turns(len(piece))
        if self.stop.requested:
            return None
        raise UpstreamError("The model's answer broke off before its end; ask again")

    def _take_turns(self, entries: int) -> None:
        """Let others run after as many entries as one of them is handed at once: a model that is never
        waited for would not let them."""
        self._unshared += entries
        if self._unshared >= BATCH_ENTRIES:
            self._unshared = 0
            self._runtime.sleep(0)

    def _append(self, entries: list[Entry]) -> None:
        if entries:
            self._streams.append(self.log, entries)
            self._tally.wrote(len(entries))

    def _end(self, closing: Closing) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self.log.seal()
        try:
            self._tally.ended(closing)
            self._on_end(self.log, closing)
        finally:
            self._streams.close(self.log, closing)

    def _closing(self, ended: Ended | None) -> Closing:
        if ended is None:
            return self._closing_of_stop(self._runtime.monotonic() - self._stopped_s)
        return self._finished(ended.finish_reason, ended.usage)

    def _closing_after(self, exc: Exception) -> Closing:
        """A provider that broke because it was stopped did as it was told."""
        if self.stop.requested:
            return self._closing_of_stop(self._runtime.monotonic() - self._stopped_s)
        if isinstance(exc, ParleyError):
            return self._failed(exc)
        logger.error("an answer broke", exc_info=exc, extra={"stream_id": self.log.header.stream_id})
        return self._failed(Internal("The server failed while answering; ask again"))

    def _closing_of_stop(self, upstream_closed_s: float | None) -> Closing:
        reason = self.stop.reason or "stopped"
        if reason == INTERRUPTED.type:
            return self._failed(INTERRUPTED)
        closed_ms = None if upstream_closed_s is None else round(upstream_closed_s * 1000, 1)
        return self._finished(reason, None, closed_ms)

    def _finished(self, reason: str, usage: Usage | None, upstream_ms: float | None = None) -> Finished:
        ttft_ms = None if self._first_s is None else round((self._first_s - self._started_s) * 1000, 1)
        return Finished(
            finish_reason=reason,
            tokens=self.log.count,
            duration_s=self._runtime.monotonic() - self._started_s,
            ttft_ms=ttft_ms,
            usage=usage or self._estimate(),
            at=self._runtime.now(),
            history_dropped=self._dropped,
            upstream_closed_ms=upstream_ms,
        )

    def _failed(self, exc: ParleyError) -> Failed:
        duration_s = self._runtime.monotonic() - self._started_s
        return Failed.because(exc, tokens=self.log.count, at=self._runtime.now(), duration_s=duration_s)

    def _estimate(self) -> Usage:
        """What was used when the upstream did not say: an entry is at least a token."""
        written = self.log.offset
        return Usage(self._prompt_tokens, written, self._prompt_tokens + written, estimated=True)


def within(entries: list[Entry], max_chars: int) -> list[Entry]:
    """As many whole entries as fit into `max_chars` of text."""
    kept = []
    for entry in entries:
        max_chars -= len(text_of(entry))
        if max_chars < 0:
            break
        kept.append(entry)
    return kept
