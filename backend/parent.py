"""The parent of several workers: it starts them, replaces those that die, and ends them."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from socket import socket

from backend.child import Child, spawn

logger = logging.getLogger(__name__)

PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Before a worker is started again: after its first death, its second; the last one for all that follow."""
STEADY_S = 60.0
"""After so long a life a death counts as the first."""
CRASHES = 5
"""So many starts in a row that come to nothing, while no worker serves, are enough."""
MISCONFIGURED = 2
"""The exit code of a worker that said what to set."""
SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Parent:
    """Keeps `count` places filled until a signal.

    SIGTERM ends the workers patiently, SIGINT or a second signal at once. SIGHUP replaces them one by one:
    an old one goes when its successor serves. To a worker SIGTERM, however often, means a patient end,
    SIGHUP one that leaves new connections to others, and SIGINT an end now: whoever signals the whole
    group, as terminals and systemd do, does not hurry anybody.
    """

    def __init__(
        self, count: int, listener: socket, folder: str, start_s: float, pauses_s: Sequence[float]
    ) -> None:
        self._count = count
        self._listener = listener
        self._folder = folder
        self._start_s = start_s
        self._pauses_s = pauses_s
        self._terminal = _has_terminal()
        self._wake = _signal_pipe()
        self._children: dict[int, Child] = {}
        """By process id: all there are, also those that are ending."""
        self._holders: dict[int, Child] = {}
        """By number: who holds the place."""
        self._due_s: dict[int, float] = {}
        """By number: when an empty place is to be filled."""
        self._deaths: Counter[int] = Counter()
        self._failed_starts = 0
        self._begun = False
        """Whether a worker was ready: until then there is only the first, so that a setting it refuses is
        told once."""
        self._roll: deque[int] = deque()
        """The places that are still to get a successor."""
        self._successor: Child | None = None
        self._roll_asked = False
        self._ending = False
        self._exit_code = 0

    def run(self) -> int:
        """The exit code."""
        logger.info("starting %d workers", self._count)
        self._fill(1)
        while self._children or self._due_s:
            self._turn()
        return self._exit_code

    def _turn(self) -> None:
        """Wait until something happens, and see to it. What the pipe has is taken before the dead are
        looked for, or one who dies in between would be missed."""
        starting = {child.pipe: child for child in self._children.values() if child.pipe is not None}
        late_s = [child.born_s + self._start_s for child in starting.values()]
        until_s = min([*self._due_s.values(), *late_s], default=None)
        patience_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        readable = select.select([self._wake, *starting], [], [], patience_s)[0]
        for number in os.read(self._wake, 4096) if self._wake in readable else b"":
            self._obey(number)
        for pipe in readable:
            if pipe in starting:
                self._hear(starting[pipe])
        self._end_late()
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._bury(child, os.waitstatus_to_exitcode(status))
        for place in [place for place, due_s in self._due_s.items() if due_s <= time.monotonic()]:
            if self._due_s.pop(place, None):
                self._fill(place)
        self._roll_on()

    def _end_late(self) -> None:
        """A start that comes to nothing is a death: else a roll would wait for it, and a place stay empty."""
        for child in self._children.values():
            if child.pipe is not None and time.monotonic() - child.born_s >= self._start_s:
                logger.error("%s does not serve after %g s, and is killed", child, self._start_s)
                os.close(child.pipe)
                child.pipe = None
                os.kill(child.pid, signal.SIGKILL)

    def _obey(self, number: int) -> None:
        if number == signal.SIGHUP and self._terminal == _has_terminal():
            self._roll_asked = True
        elif number != signal.SIGCHLD:
            self._end(hurried=self._ending or number == signal.SIGINT)

    def _end(self, *, hurried: bool) -> None:
        if not self._ending:
            logger.info("ending: %d workers are running", len(self._children))
            self._ending = True
            self._due_s.clear()
            self._listener.close()
        for child in self._children.values():
            self._tell(child, signal.SIGINT if hurried else signal.SIGTERM)

    def _tell(self, child: Child, number: signal.Signals) -> None:
        child.told = True
        os.kill(child.pid, number)

    def _fill(self, place: int) -> None:
        """Start a worker for an empty place."""
        child = self._start(place)
        if child:
            self._holders[place] = child
        else:
            self._start_failed(place)

    def _start(self, place: int) -> Child | None:
        """None if there is no Python to start just now, or no memory."""
        try:
            pid, pipe = spawn(self._listener, self._folder)
        except OSError as exc:
            logger.error("worker %d could not be started: %s", place, exc)
            return None
        self._children[pid] = Child(place, pid, pipe, time.monotonic())
        return self._children[pid]

    def _hear(self, child: Child) -> None:
        """Whether it is ready, or will not be."""
        if child.pipe is None:
            return
        with suppress(BlockingIOError):
            child.ready = bool(os.read(child.pipe, 1))
        os.close(child.pipe)
        child.pipe = None
        if child.ready and not child.told:
            self._welcome(child)

    def _welcome(self, child: Child) -> None:
        self._failed_starts = 0
        logger.info("%s serves", child)
        if child is self._successor:
            self._successor = None
            predecessor = self._holders.get(child.number)
            self._holders[child.number] = child
            if predecessor:
                self._tell(predecessor, signal.SIGHUP)
            if not self._roll:
                logger.info("every worker has been replaced")
        if not self._begun:
            self._begun = True
            for place in range(2, self._count + 1):
                self._fill(place)

    def _bury(self, child: Child, code: int) -> None:
        self._hear(child)
        del self._children[child.pid]
        if child.told:
            self._note_end(child, code)
        elif child is self._successor:
            self._successor = None
            self._give_up_roll(f"{child} died ({_manner(code)}) before it served", child.number)
        else:
            del self._holders[child.number]
            self._replace(child, code)

    def _note_end(self, child: Child, code: int) -> None:
        """Who was not ready could not know how to end."""
        if code and child.ready:
            logger.warning("%s ended badly (%s)", child, _manner(code))
            self._exit_code = self._exit_code or int(self._ending)
        else:
            logger.info("%s ended", child)

    def _replace(self, child: Child, code: int) -> None:
        if code == MISCONFIGURED and not self._begun:
            self._exit_code = code
            return
        if code:
            logger.error("%s died (%s)", child, _manner(code))
        else:
            logger.warning("%s was ended by somebody else", child)
        if time.monotonic() - child.born_s >= STEADY_S:
            self._deaths[child.number] = 0
        if child.ready:
            self._fill_later(child.number)
        else:
            self._start_failed(child.number)

    def _start_failed(self, place: int) -> None:
        self._failed_starts += 1
        served = any(child.ready and not child.told for child in self._children.values())
        if self._failed_starts < CRASHES or served:
            self._fill_later(place)
            return
        logger.error(
            "giving up: %d starts in a row came to nothing, and no worker serves; "
            "the lines above say why, mend that and start again",
            self._failed_starts,
        )
        self._exit_code = 1
        self._end(hurried=False)

    def _fill_later(self, place: int) -> None:
        if self._successor and self._successor.number == place:
            return
        pause_s = self._pauses_s[min(self._deaths[place], len(self._pauses_s) - 1)]
        self._deaths[place] += 1
        self._due_s[place] = time.monotonic() + pause_s
        logger.info("starting another worker %d %s", place, f"in {pause_s:g} s" if pause_s else "at once")

    def _roll_on(self) -> None:
        """Begin to replace the workers, or go on with the next."""
        if self._ending or self._successor or not self._begun:
            return
        if self._roll_asked and not self._roll:
            self._roll_asked = False
            self._roll.extend(range(1, self._count + 1))
            logger.info("replacing every worker")
        if self._roll:
            place = self._roll.popleft()
            self._due_s.pop(place, None)
            self._successor = self._start(place)
            if self._successor is None:
                self._give_up_roll(f"worker {place} could not be started", place)

    def _give_up_roll(self, why: str, place: int) -> None:
        self._roll.clear()
        logger.error("%s, and the workers there are stay; mend it and send SIGHUP again", why)
        if place not in self._holders:
            self._fill_later(place)


def _signal_pipe() -> int:
    """The read end of a pipe that gets the number of every signal."""
    wake, end = os.pipe()
    for descriptor in (wake, end):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return wake


def _has_terminal() -> bool:
    """Whether this process hangs on a terminal: that one is closed is a SIGHUP, too."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _manner(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
