"""One server process, from its first log line to a clean end."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable
from functools import partial

from backend import runtime as runtimes
from backend.app import build
from backend.chat.errors import Unavailable
from backend.chat.ports import Runtime
from backend.config import Config
from backend.telemetry import logs
from backend.workers import Worker

logger = logging.getLogger("backend")

TICK_S = 1.0
POLL_S = 0.1
CLOSE_S = 2.0
COLLECT_AFTER = 10_000
"""New objects, of those that can be part of a cycle."""


class _Ending:
    """What the signals asked for: SIGTERM, or SIGHUP when its terminal goes, a patient end; SIGINT or a
    second signal an end now. A worker may get SIGTERM twice, from its parent and from whoever ends the
    whole group, and is hurried by SIGINT alone; SIGHUP tells it that others accept in its place."""

    def __init__(self, drain_s: float, worker: Worker | None) -> None:
        self.patience_s: float | None = None
        self.replaced = False
        self._drain_s = drain_s
        self._worker = worker
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._received)

    def wait(self, runtime: Runtime) -> None:
        """Until a signal. A worker whose parent is gone makes room for the next one."""
        while self.patience_s is None:
            runtime.sleep(POLL_S)
            if self._worker and self._worker.orphaned():
                logger.error("the parent process is gone")
                self._received(signal.SIGHUP)

    def _received(self, number: int, _frame: object = None) -> None:
        again = self.patience_s is not None and self._worker is None
        if number == signal.SIGINT or again:
            self.patience_s = 0.0
        elif self.patience_s is None:
            self.patience_s = self._drain_s
            self.replaced = number == signal.SIGHUP and self._worker is not None


def run(config: Config, runtime: Runtime, worker: Worker | None = None) -> int:
    """Serve until a signal, alone or as one of several; the process's exit code. Raises Misconfigured."""
    logs.install(config.log_level, config.log_format, config.secrets, os.getpid() if worker else None)
    listener = runtimes.inherit(worker.listener) if worker else runtimes.listen(config.host, config.port)
    folder = worker.folder if worker else None
    program = build(config, runtime, runtimes.WebSocketWSGI, folder)
    ending = _Ending(config.drain_s, worker)
    bounds = runtimes.Bounds(config.max_body_bytes, config.head_timeout_s, config.body_timeout_s)
    server = runtimes.HttpServer(program.app, listener, bounds, runtime, shared=worker is not None)
    runtime.spawn(server.run)
    for chore in program.chores:
        runtime.spawn(partial(tend, chore, runtime))
    for loop in program.loops:
        runtime.spawn(loop)
    collect_rarely()
    logger.info("serving on %s", config.url(listener.getsockname()[1]))
    if worker:
        worker.ready()
    ending.wait(runtime)
    logger.info("ending: %d answers are running", program.engine.live_count)
    server.brief = True
    if ending.replaced:
        server.leave()
    program.engine.drain(lambda: ending.patience_s or 0.0)
    program.sockets.drain()
    server.close(CLOSE_S)
    program.close()
    if worker:
        worker.leave()
    logger.info("ended")
    return 0


def collect_rarely() -> None:
    """Have the collector of reference cycles, which was off, pass over what was made by now, which stays as
    long as the process, and look at the rest less often: every pause of it is one in everybody's answer.
    What could be collected by now stays as well: a thousand small objects, and the search for them would be a
    tenth of the start."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    gc.enable()


def tend(chore: Callable[[], None], runtime: Runtime) -> None:
    """Do it every second, whatever goes wrong with it."""
    while True:
        runtime.sleep(TICK_S)
        try:
            chore()
        except Unavailable as exc:  # of which its store has told already
            logger.debug("housekeeping waits: %s", exc)
        except Exception:
            logger.exception("housekeeping failed; it is tried again")
