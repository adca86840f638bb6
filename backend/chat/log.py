"""One answer as a log: appended to by one writer, followed by any number of readers from any offset."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from threading import Lock

from backend.chat.events import TAIL_LOST, Batch, Closing, Delta, Entry, Failed, Header, Route
from backend.chat.signals import Signal

BATCH_ENTRIES = 64
"""What a reader is handed at once: enough to be cheap, not so much that writing it holds up others."""


class LogClosed(Exception):
    """The log has its closing; nothing can follow it."""


class TakenOver(LogClosed):
    """Another process goes on with the log; nothing of this one can follow."""


class Log:
    """Entries 1, 2, 3 … and then one closing; kept whole, so there is no half-gone case.

    The lock guards `_sealed` against appends: after it is set nothing is generated. Readers take no lock:
    entries only ever grow, and who sees the closing sees all of them.

    `route` is who answers, from the first entry on; None where that is not known. `size` is how many
    characters its writer has counted in the entries.
    """

    __slots__ = (
        "__weakref__",
        "_blanks",
        "_entries",
        "_lock",
        "_sealed",
        "_signal",
        "closing",
        "header",
        "route",
        "size",
    )

    def __init__(self, header: Header, signal: Signal) -> None:
        self.header = header
        self.closing: Closing | None = None
        self.route: Route | None = None
        self.size = 0
        self._entries: list[Entry] = []
        self._blanks: list[int] = []  # offsets of the entries without text
        self._signal = signal
        self._sealed = False
        self._lock = Lock()

    @property
    def offset(self) -> int:
        return len(self._entries)

    @property
    def count(self) -> int:
        return len(self._entries) - len(self._blanks)

    @property
    def state(self) -> str:
        return self.closing.state if self.closing else "running"

    @property
    def sealed(self) -> bool:
        """Whether it takes no more entries."""
        return self._sealed

    @property
    def text(self) -> str:
        """All text so far."""
        return self.text_until(self.offset)

    def text_until(self, offset: int) -> str:
        """The text of the first `offset` entries."""
        return "".join(texts_of(self._entries[:offset]))

    @property
    def closing_number(self) -> int | None:
        """What the chat doors number the closing: one past the last text piece, where readers can hold
        no more than there is. None while the log is open."""
        if self.closing is None:
            return None
        return self.count + 1 + self.lost

    @property
    def lost(self) -> int:
        """How many numbers are left out before the closing's, since readers may hold pieces that are not
        kept."""
        return TAIL_LOST - 1 if isinstance(self.closing, Failed) and self.closing.tail_lost else 0

    def append(self, entries: list[Entry]) -> None:
        """Add what was generated. Raises LogClosed."""
        with self._lock:
            if self._sealed:
                raise LogClosed(self.header.stream_id)
            self._extend(entries)
        self._signal.notify()

    def complete(self, entries: list[Entry]) -> None:
        """Add what its store has had of it all along: also when it is sealed, but not past its closing."""
        with self._lock:
            if self.closing is None:
                self._extend(entries)
        self._signal.notify()

    def _extend(self, entries: list[Entry]) -> None:
        start = len(self._entries)
        # Blanks first: a reader between the two lines counts too few pieces rather than too many.
        self._blanks += [n for n, text in enumerate(texts_of(entries), start + 1) if not text]
        self._entries.extend(entries)

    def seal(self) -> None:
        """Take no more entries: what there is, is the answer. Readers wait on for the closing."""
        with self._lock:
            self._sealed = True

    def reopen(self) -> None:
        """Take entries again: others go on with it."""
        with self._lock:
            self._sealed = False

    def close(self, closing: Closing) -> bool:
        """End it. False if it had ended before: the first closing stays."""
        with self._lock:
            if self.closing is not None:
                return False
            self._sealed = True
            self.closing = closing
        self._signal.notify()
        return True

    def read(self, after: int, at_most: int | None = None) -> Batch:
        """Everything past offset `after`, or so many entries of it; the closing only if they are the
        last."""
        closing = self.closing  # before the entries: with a closing they are complete
        entries = self._entries[after : None if at_most is None else after + at_most]
        if after + len(entries) < len(self._entries):
            closing = None
        return Batch(after, self.count_at(after), entries, closing)

    def wait(self, after: int, timeout_s: float) -> bool:
        """Block until there is something past offset `after`, or the time is over."""
        entries = self._entries
        return self._signal.wait_for(lambda: len(entries) > after or self.closing is not None, timeout_s)

    def wait_closed(self, timeout_s: float) -> bool:
        return self._signal.wait_for(lambda: self.closing is not None, timeout_s)

    def wait_while(self, behind: Callable[[], bool], timeout_s: float) -> bool:
        """Block for as long as that is so, the log is open, and the time is not over."""
        return self._signal.wait_for(lambda: not behind() or self.closing is not None, timeout_s)

    def tail(self, after: int, heartbeat_s: float) -> Iterator[Batch | None]:
        """Batches from offset `after` on, the last one with the closing; None after each `heartbeat_s`
        of silence. A slow reader gets larger batches, up to BATCH_ENTRIES: it lags, and holds no queue."""
        while True:
            if not self.wait(after, heartbeat_s):
                yield None
                continue
            batch = self.read(after, BATCH_ENTRIES)
            yield batch
            if batch.closing is not None:
                return
            after = batch.end

    def count_at(self, offset: int) -> int:
        """How many of the first `offset` entries have text."""
        return offset - bisect_right(self._blanks, offset)

    def offset_of(self, count: int) -> int:
        """The offset of text piece number `count`, which must be stored; 0 for 0."""
        offset = count
        for blank in self._blanks:
            if blank > offset:
                break
            offset += 1
        return offset if count else 0


def text_of(entry: Entry) -> str:
    """An entry's text, empty when it has none."""
    return entry.text if isinstance(entry, Delta) else entry


def texts_of(entries: list[Entry]) -> list[str]:
    """The same of each. Most entries are a plain text: it is told apart without a call."""
    return [entry if entry.__class__ is str else text_of(entry) for entry in entries]
