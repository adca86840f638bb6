"""The one writer of an answer: from the provider's first piece to the closing, whatever fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing as closed_after
from dataclasses import replace
from threading import Lock

from backend.chat.context import count_prompt, estimate_tokens, fit
from backend.chat.errors import BROKE_OFF, Internal, Interrupted, ParleyError, UpstreamError
from backend.chat.events import (
    Closing,
    Entry,
    Failed,
    Finished,
    Price,
    Route,
    Usage,
    generated_in,
    size_of,
)
from backend.chat.log import BATCH_ENTRIES, Log, LogClosed, TakenOver
from backend.chat.ports import Ended, Prompt, Runtime, StreamStore, Tally, TokenCounter
from backend.chat.stop import Stop
from backend.chat.tasks import Task

logger = logging.getLogger(__name__)

INTERRUPTED = Interrupted("The server went away while answering; what it had generated is kept. Ask again")


class Writer:
    """Runs one answer, from its beginning or from where another writer left it; it can be stopped before it
    runs. `on_end` is called once, before readers see the closing, and gives the one that stands.

    The lock guards `_ended`: of a writer that comes to its end and a stop that lost patience with it,
    one closes the answer.
    """

    def __init__(
        self,
        log: Log,
        streams: StreamStore,
        runtime: Runtime,
        on_end: Callable[[Log, Closing], Closing],
        tally: Tally,
        count_tokens: TokenCounter,
    ) -> None:
        self.log = log
        self.stop = Stop(runtime.signal())
        self._streams = streams
        self._runtime = runtime
        self._on_end = on_end
        self._tally = tally
        self._count_tokens = count_tokens
        self._lock = Lock()
        self._begun = False
        self._ended = False
        self._begun_at = log.offset
        self._spent = max(log.offset, estimate_tokens(log.text)) if log.offset else 0
        age_s = max(0.0, log.header.age_s(runtime.now())) if self._begun_at else 0.0
        self._started_s = runtime.monotonic() - age_s
        self._stopped_s = 0.0
        self._first_s: float | None = None
        self._prompt: Prompt | None = None
        self._dropped = 0
        self._unshared = BATCH_ENTRIES  # whoever waits for the first piece has it before the next

    def run(self, task: Task) -> None:
        """Write the answer to its end. Never raises."""
        self._begun = True
        named = {"stream_id": self.log.header.stream_id}
        try:
            closing = self._closing(self._write(task))
        except LogClosed:
            # Whoever did it says how it ends; what it holds here must be let go all the same.
            logger.warning("an answer was taken from its writer", extra=named)
            closing = self._failed(INTERRUPTED)
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
        if self.stop.requested and not self._begun_at:
            return None
        self._prompt = prompt = self._prompt_of(task)
        if self.stop.requested:
            return None  # it was read by whoever began
        entries_left, chars_left = task.max_entries - self._spent, task.max_chars - self.log.size
        if entries_left <= 0:
            return Ended("length")
        with closed_after(task.model.provider.stream(prompt, self.stop)) as pieces:
            for piece in pieces:
                if isinstance(piece, Ended):
                    return piece
                if isinstance(piece, Route):
                    self._routed(piece, task.model.price)
                    continue
                if self.stop.requested:
                    return None
                if self._first_s is None:
                    self._first_s = self._runtime.monotonic()
                chars = sum([len(entry) if entry.__class__ is str else size_of(entry) for entry in piece])
                if len(piece) > entries_left or chars > chars_left:
                    self._append(within(piece[:entries_left], chars_left))
                    return Ended("length")
                self.log.size += chars
                self._append(piece)
                entries_left -= len(piece)
                chars_left -= chars
                self._take_turns(len(piece))
        if self.stop.requested:
            return None
        raise UpstreamError(BROKE_OFF)

    def _routed(self, route: Route, price: Price | None) -> None:
        """Who answers; in a group each has a price of its own."""
        self.log.route = route if route.price else replace(route, price=price)
        self._tally.routed(self.log.route)

    def _prompt_of(self, task: Task) -> Prompt:
        name = task.model.upstream_name
        if task.completion is not None:
            return Prompt(name, task.completion.messages, task.max_tokens, task.completion.options)
        # The answer may fill half the context at most, or a small model would remember nothing.
        room = task.model.context_tokens - min(task.max_tokens, task.model.context_tokens // 2)
        turns, self._dropped = fit(task.system, task.history, task.question, room)
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        options = {} if task.temperature is None else {"temperature": task.temperature}
        return Prompt(name, messages, task.max_tokens - self._spent, options, self.log.text)

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
            closing = self._on_end(self.log, closing)
        except TakenOver:
            self._streams.let_go(self.log)
        except Exception:
            self._close(closing)
            raise
        else:
            self._close(closing)

    def _close(self, closing: Closing) -> None:
        self._tally.ended(closing)
        self._streams.close(self.log, closing)

    def _closing(self, ended: Ended | None) -> Closing:
        if ended is None:
            return self._closing_of_stop(self._runtime.monotonic() - self._stopped_s)
        return self._finished(ended.finish_reason, ended.usage)

    def _closing_after(self, exc: Exception) -> Closing:
        """A provider that broke because it was stopped did as it was told."""
        if self.stop.requested:
            return self._closing_of_stop(self._runtime.monotonic() - self._stopped_s)
        named = {"stream_id": self.log.header.stream_id}
        if self._begun_at and self.log.offset == self._begun_at:
            logger.warning("an answer could not be gone on with: %s", exc, extra=named)
            return self._failed(INTERRUPTED)
        if isinstance(exc, ParleyError):
            return self._failed(exc)
        logger.error("an answer broke", exc_info=exc, extra=named)
        return self._failed(Internal("The server failed while answering; ask again"))

    def _closing_of_stop(self, upstream_closed_s: float | None) -> Closing:
        reason = self.stop.reason or "stopped"
        if reason == INTERRUPTED.type:
            return self._failed(INTERRUPTED)
        closed_ms = None if upstream_closed_s is None else round(upstream_closed_s * 1000, 1)
        return self._finished(reason, None, closed_ms)

    def _finished(self, reason: str, usage: Usage | None, upstream_ms: float | None = None) -> Finished:
        first_s = None if self._begun_at else self._first_s
        ttft_ms = None if first_s is None else round((first_s - self._started_s) * 1000, 1)
        if self._begun_at:
            usage = None  # what was said is of the rest only
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
        usage = self._estimate() if self.log.offset else None
        at = self._runtime.now()
        return Failed.because(exc, tokens=self.log.count, at=at, duration_s=duration_s, usage=usage)

    def _estimate(self) -> Usage:
        """What was used when the upstream did not say."""
        prompt, entries = self._prompt, self.log.read(0).entries
        if prompt is None:
            return Usage(0, 0, 0, estimated=True)

        def counted(count: TokenCounter) -> tuple[int, int]:
            read = count_prompt(prompt.messages, prompt.options, count)
            return read, count("".join(map(generated_in, entries)))

        try:
            read, written = self._runtime.offload(lambda: counted(self._count_tokens))
        except Exception:
            extra = {"stream_id": self.log.header.stream_id}
            logger.exception("tokens could not be counted; they are estimated by their bytes", extra=extra)
            read, written = counted(estimate_tokens)
        return Usage(read, written, read + written, estimated=True)


def within(entries: list[Entry], max_chars: int) -> list[Entry]:
    """As many whole entries as fit into `max_chars` of text."""
    kept = []
    for entry in entries:
        max_chars -= size_of(entry)
        if max_chars < 0:
            break
        kept.append(entry)
    return kept
