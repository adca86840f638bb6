"""The answers this process gives: let in, written, settled, saved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from backend.chat.errors import Internal, ParleyError, Refused, Unavailable
from backend.chat.events import Closing, Failed, Finished, Header
from backend.chat.keeper import Keeper, named
from backend.chat.live import DETACHED, LiveAnswers
from backend.chat.log import Log, TakenOver
from backend.chat.news import News
from backend.chat.ports import Admission, Asking, Meter, Runtime, StreamStore, TokenCounter
from backend.chat.rooms import Rooms
from backend.chat.tasks import Task
from backend.chat.writer import INTERRUPTED, Writer

logger = logging.getLogger(__name__)


class Answering:
    """`stop_elsewhere` is called with an answer that another process goes on with, and why it was to be
    stopped."""

    def __init__(
        self,
        streams: StreamStore,
        keeper: Keeper,
        live: LiveAnswers,
        runtime: Runtime,
        rooms: Rooms,
        admissions: Sequence[Admission],
        meter: Meter,
        count_tokens: TokenCounter,
        stop_elsewhere: Callable[[Log, str], None],
    ) -> None:
        self._streams = streams
        self._keeper = keeper
        self._live = live
        self._runtime = runtime
        self._rooms = rooms
        self._admissions = admissions
        self._meter = meter
        self._count_tokens = count_tokens
        self._stop_elsewhere = stop_elsewhere

    def begin(self, asking: Asking, check: Callable[[], None], prepare: Callable[[], Task]) -> None:
        """Have it written; what `prepare` gives is to be done, once the `check` and then every admission are
        passed. Raises what these raise, and an admission's refusal; then nothing is left of it."""
        log = asking.log
        writer = self._writer(log, runs_on=asking.request.runs_on)
        try:
            check()
            task = self._admitted(asking, prepare)
        except Exception as exc:
            self._live.let_go(log)
            self._withdraw(log, exc)
            raise
        self._live.began(log)
        self._tell(log, log)
        self._runtime.spawn(lambda: self._run(writer, task))

    def go_on(self, log: Log, left: Header, task: Task) -> bool:
        """Write the rest of an answer that was left behind with this header, if there is room for it and the
        store lets it be taken over. Raises TakenOver and Unavailable."""
        if not self._resumed(log, left):
            return False
        log.size = len(log.text)
        writer = self._writer(log, runs_on=True)
        self._live.began(log)
        self._runtime.spawn(lambda: self._run(writer, task))
        return True

    def _writer(self, log: Log, *, runs_on: bool) -> Writer:
        """From here on it is this process's, and can be stopped."""
        tally = self._meter.began(log.header)
        writer = Writer(log, self._streams, self._runtime, self._ended, tally, self._count_tokens)
        self._live.add(writer, runs_on=runs_on)
        return writer

    def _admitted(self, asking: Asking, prepare: Callable[[], Task]) -> Task:
        with ExitStack() as undoing:
            for admission in self._admissions:
                admission.admit(asking)
                undoing.callback(admission.withdraw, asking.log)
            task = prepare()
            self._streams.affirm(asking.log)
            undoing.pop_all()
        return task

    def _resumed(self, log: Log, left: Header) -> bool:
        with ExitStack() as undoing:
            try:
                for admission in self._admissions:
                    admission.resume(left)
                    undoing.callback(admission.let_go, log)
            except Refused as exc:
                logger.warning("an answer, left behind, is too much for this process: %s", exc)
                return False
            taken = self._streams.take_over(log, left)
            if taken:
                undoing.pop_all()
        return taken

    def _withdraw(self, log: Log, exc: Exception) -> None:
        """Whoever joined it in between is told why."""
        refusal = (
            exc if isinstance(exc, ParleyError) else Internal("The answer could not be started; ask again")
        )
        log.close(Failed.because(refusal, tokens=0, at=self._runtime.now()))
        self._streams.discard(log)

    def _run(self, writer: Writer, task: Task) -> None:
        log = writer.log
        try:
            writer.run(task)
        finally:
            self._live.let_go(log)
        wanted = writer.stop.reason
        if log.closing is None and wanted and wanted not in (DETACHED, INTERRUPTED.type):
            self._stop_elsewhere(log, wanted)
        header = log.header
        if header.session_id is not None:
            self._tell(log, self._running(header.owner, header.session_id))

    def _ended(self, log: Log, closing: Closing) -> Closing:
        """An answer came to its end: its log is sealed, it is settled, it is saved; each is tried whatever
        became of the others. Gives the closing that stands: whoever else ended it does not know what it took,
        its writer does. Raises TakenOver: for us it is settled."""
        try:
            stands = self._keeper.seal(log, closing)
        except TakenOver:
            self._each(log, lambda admission: admission.let_go(log))
            raise
        self._each(log, lambda admission: admission.settle(log, with_usage(stands, closing)))
        self._keeper.save(log, stands)
        return stands

    def _each(self, log: Log, told: Callable[[Admission], None]) -> None:
        for admission in self._admissions:
            try:
                told(admission)
            except Exception:
                logger.exception("an answer could not be settled", extra=named(log.header))

    def _running(self, owner: str, session_id: str) -> Log | None:
        """The answer the session is giving now, as far as can be seen."""
        try:
            return self._streams.running(owner, session_id)
        except Unavailable:
            return None

    def _tell(self, log: Log, live: Log | None) -> None:
        """Its session has a new message: the question as it begins, the answer when it has ended."""
        if log.header.session_id is not None:
            self._rooms.tell(log.header.owner, News(log.header.session_id, "message", live))


def with_usage(stands: Closing, own: Closing) -> Closing:
    """The closing that stands, with what the writer's own says was used if it does not say that itself."""
    if isinstance(stands, Finished) or stands.usage is not None:
        return stands
    return replace(stands, usage=own.usage)
