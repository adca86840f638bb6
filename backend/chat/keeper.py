"""Answers that ended, on their way into their sessions; and those whose server died on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from backend.chat.errors import Unavailable
from backend.chat.events import Closing, Failed, Header
from backend.chat.log import Log, TakenOver
from backend.chat.ports import Runtime, SessionStore, StreamStore
from backend.chat.sessions import Message
from backend.chat.writer import INTERRUPTED

logger = logging.getLogger(__name__)

NOT_BEGUN = Unavailable("The server went away before it began to answer; ask again", 1)


def nobody(_log: Log, _left: Header) -> bool:
    """Goes on with it."""
    return False


class Keeper:
    """Log, message, closing: each step can be the last of a process, and done again changes nothing."""

    def __init__(self, sessions: SessionStore, streams: StreamStore, runtime: Runtime) -> None:
        self._sessions = sessions
        self._streams = streams
        self._runtime = runtime
        self._unsaved: dict[str, tuple[Header, Log, Closing]] = {}

    def seal(self, log: Log, closing: Closing) -> Closing:
        """The closing that stands. It comes first, so that a message is never more than its log. Raises
        TakenOver."""
        try:
            return self._streams.seal(log, closing)
        except Unavailable:
            logger.error("an answer could not be made durable; trying again", extra=named(log.header))
            self._save_later(log.header, log, closing)
            return closing

    def save(self, log: Log, closing: Closing) -> None:
        """Put the answer into its session, if it has one; later, when the store cannot write now, or has not
        sealed it."""
        if log.header.message_id in self._unsaved:
            return
        try:
            self._save(log, closing)
        except Unavailable:
            logger.error("an answer could not be saved; trying again", extra=named(log.header))
            self._save_later(log.header, log, closing)

    def save_unsaved(self) -> bool:
        """Try those again that the store would not take, from their seal on: others may have gone on with
        them since. False if some are left."""
        for message_id, (header, log, closing) in list(self._unsaved.items()):
            try:
                if log.header.epoch != header.epoch:
                    raise TakenOver(header.stream_id)
                self._save(log, self._streams.seal(log, closing))
            except Unavailable:
                continue
            except TakenOver:
                logger.info(
                    "an answer that could not be saved is gone on with elsewhere", extra=named(header)
                )
            self._unsaved.pop(message_id, None)
        return not self._unsaved

    def _save(self, log: Log, closing: Closing) -> None:
        """Raises Unavailable."""
        header = log.header
        if header.session_id is None:
            return
        answer = Message(
            id=header.message_id,
            role="assistant",
            content=log.text,
            status=closing.state,
            created_at=closing.at,
            model=header.model,
            tokens=log.count,
            stream_id=header.stream_id,
            closing=closing,
            parent_id=header.question_id,
        )
        self._sessions.answer(header.owner, header.session_id, answer)

    def _save_later(self, header: Header, log: Log, closing: Closing) -> None:
        if header.session_id is not None:
            self._unsaved[header.message_id] = (header, log, closing)

    def recover(self, go_on: Callable[[Log, Header], bool] = nobody, *, by_others: bool = True) -> None:
        """End what a writer that is gone left behind: as its saved message says, else as interrupted if there
        is nobody to `go_on` with it.

        One whose question was not saved never began, for its caller either: it is dropped with its key,
        so that asking again asks, and who joined it meanwhile is told to.
        """
        for log in self._streams.abandoned(by_others=by_others):
            try:
                self._end(log, log.header, go_on)
            except Unavailable:
                raise
            except TakenOver:
                logger.info("an answer, left behind, is gone on with elsewhere", extra=named(log.header))
            except Exception:  # the others are not to wait for it
                logger.exception("an answer, left behind, could not be ended", extra=named(log.header))

    def _end(self, log: Log, header: Header, go_on: Callable[[Log, Header], bool]) -> None:
        """Raises TakenOver as soon as it turns out to have another writer."""
        begun = header.session_id is None or log.closing is not None
        if not begun and self._saved(header, header.question_id) is None:
            log.close(Failed.because(NOT_BEGUN, tokens=0, at=self._runtime.now()))
            self._streams.discard(log)
            logger.info("an answer, left behind without its question, is dropped", extra=named(header))
            return
        closing = self._closing_of_saved(log)
        if closing is None:
            if log.closing is None and go_on(log, header):
                logger.info("an answer, left behind, is gone on with here", extra=named(header))
                return
            if log.header.epoch != header.epoch:
                raise TakenOver(header.stream_id)
            interrupted = Failed.because(INTERRUPTED, tokens=log.count, at=self._runtime.now())
            closing = self._streams.seal(log, log.closing or replace(interrupted, tail_lost=True))
            self.save(log, closing)
        self._streams.close(log, closing)
        logger.info("an answer, left behind, is closed as %s", closing.state, extra=named(header))

    def _closing_of_saved(self, log: Log) -> Closing | None:
        """How a saved answer ended; what its log lacks of it (the disk was full, and then the process
        died) is added."""
        answer = self._saved(log.header, log.header.message_id)
        if answer is None:
            return None
        if missing := answer.content.removeprefix(log.text):
            self._streams.append(log, [missing])
        return answer.closing

    def _saved(self, header: Header, message_id: str) -> Message | None:
        if header.session_id is None:
            return None
        return self._sessions.find_message(header.owner, header.session_id, message_id)


def named(header: Header) -> dict[str, str]:
    """What a log line says of the answer it tells of."""
    return {"stream_id": header.stream_id}
