"""The answers that are being written here, and who follows each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from backend.chat.log import Log
from backend.chat.ports import Runtime
from backend.chat.writer import Writer

DETACHED = "detached"
ALONE_S = 1.0
STOP_PATIENCE_S = 1.0


@dataclass(slots=True)
class Live:
    """An answer this process is writing, and since when nobody follows it; None before it begins, which may
    have to wait. One that does not run on ends with its last follower."""

    writer: Writer
    runs_on: bool
    alone_since_s: float | None = None


class LiveAnswers:
    """By the ids of their streams. Followers are counted of all answers: one that another process writes may
    be written here later. The lock guards `_live` and the counts."""

    def __init__(self, runtime: Runtime, followed_elsewhere: Callable[[Log], bool]) -> None:
        self._runtime = runtime
        self._followed_elsewhere = followed_elsewhere
        self._live: dict[str, Live] = {}
        self._followers: Counter[str] = Counter()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._live)

    @property
    def writers(self) -> list[Writer]:
        return [live.writer for live in list(self._live.values())]

    def add(self, writer: Writer, *, runs_on: bool) -> None:
        """From here on it can be stopped."""
        with self._lock:
            self._live[writer.log.header.stream_id] = Live(writer, runs_on)

    def began(self, log: Log) -> None:
        """From here on it wants to be followed."""
        with self._lock:
            if live := self._live.get(log.header.stream_id):
                live.alone_since_s = self._runtime.monotonic()

    def let_go(self, log: Log) -> None:
        with self._lock:
            self._live.pop(log.header.stream_id, None)

    def writer_of(self, stream_id: str) -> Writer | None:
        """None for an answer that has ended, or is written elsewhere."""
        live = self._live.get(stream_id)
        return live.writer if live else None

    def stop(self, stream_id: str, reason: str) -> bool:
        """Have the answer end; its end may be a moment away. False if it is not written here."""
        writer = self.writer_of(stream_id)
        if writer is not None:
            self._stop([writer], reason)
        return writer is not None

    def stop_all(self, reason: str, patience_s: float, but: Callable[[Log], bool]) -> None:
        """Have them all end `but` these, and wait for that as long as the patience with them all lasts."""
        writers = [writer for writer in self.writers if not but(writer.log)]
        self._stop(writers, reason)
        self._open_after(patience_s, writers)

    @contextmanager
    def following(self, log: Log) -> Iterator[None]:
        """While inside, one more follows the answer."""
        stream_id = log.header.stream_id
        with self._lock:
            self._followers[stream_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._followers[stream_id] -= 1
                alone = not self._followers[stream_id]
                if alone:
                    del self._followers[stream_id]
                live = self._live.get(stream_id)
                if live:
                    live.alone_since_s = self._runtime.monotonic()
            ends = alone and live is not None and not live.runs_on and log.closing is None
            if live and ends and not self._followed_elsewhere(log):
                live.writer.request_stop(DETACHED)

    def stop_alone(self, grace_s: float | None) -> None:
        """Stop those that nobody has followed for so long; those that do not run on a moment after their last
        follower has left, wherever that was."""
        now_s = self._runtime.monotonic()
        for live in list(self._live.values()):
            patience_s = grace_s if live.runs_on else ALONE_S
            if self._followed_elsewhere(live.writer.log):
                live.alone_since_s = now_s
            elif patience_s is None or self._followers[live.writer.log.header.stream_id]:
                continue
            elif live.alone_since_s is not None and now_s - live.alone_since_s >= patience_s:
                live.writer.request_stop(DETACHED)

    def _stop(self, writers: Sequence[Writer], reason: str) -> None:
        """Ask, and give up on those whose providers have not let go in time."""
        for writer in writers:
            writer.request_stop(reason)
        for writer in self._open_after(STOP_PATIENCE_S, writers):
            self._runtime.spawn(writer.give_up)

    def _open_after(self, patience_s: float, writers: Sequence[Writer]) -> Sequence[Writer]:
        """Those whose answers have not ended when the time is over."""
        until_s = self._runtime.monotonic() + patience_s
        return [
            writer
            for writer in writers
            if not writer.log.wait_closed(max(0.0, until_s - self._runtime.monotonic()))
        ]
