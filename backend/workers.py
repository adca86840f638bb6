"""`WORKERS=n`: whether this process is a worker, the parent of some, or serves alone.

A worker is a new Python with the parent's command line: it has the code and the settings that are there
when it is started, and nothing of the parent but the listening socket. So the parent can live on while
what it starts is changed, or broken; it imports neither what serves nor a green-thread library.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backend import values
from backend.chat.errors import Misconfigured
from backend.child import PLACE
from backend.parent import PAUSES_S, Parent
from backend.runtime import listen, setting
from backend.telemetry import logs

T = TypeVar("T")

START_S = 60.0

write = os.write
"""As it is before anything is patched: eventlet's waits for ever for a pipe whose reader is gone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker has from its parent."""

    parent: int
    listener: int
    """The descriptor of the listening socket, which all workers share."""
    pipe: int
    folder: Path
    """Shared by all workers, for as long as the parent lives."""

    def ready(self) -> None:
        """Tell the parent that this worker serves. Once only."""
        with suppress(BrokenPipeError):
            write(self.pipe, b".")
        os.close(self.pipe)

    def orphaned(self) -> bool:
        """Whether the parent is gone, so that nobody will end this worker."""
        return os.getppid() != self.parent

    def leave(self) -> None:
        """Remove what a parent that is gone cannot remove any more."""
        if self.orphaned():
            shutil.rmtree(self.folder, ignore_errors=True)


def enter(
    environ: MutableMapping[str, str], folder: Path, pauses_s: Sequence[float] = PAUSES_S
) -> Worker | None:
    """None where one process serves alone; in a worker, what it has from its parent. The parent's own work
    is done in here, and ends with SystemExit. To be called before anything is patched.

    Raises Misconfigured.
    """
    if place := environ.pop(PLACE, None):
        return _arrive(place)
    count = _read("WORKERS", values.workers, 1, environ, folder)
    if count == 1:
        return None
    level = _read("LOG_LEVEL", values.log_level, "info", environ, folder)
    form = _read("LOG_FORMAT", values.log_format, "text", environ, folder)
    logs.install(level, form, (), os.getpid())
    start_s = _read("START_S", values.some_seconds, START_S, environ, folder)
    host = _read("HOST", str, "127.0.0.1", environ, folder)
    listener = listen(host, _read("PORT", values.port, 5000, environ, folder))
    with _folder_of_workers() as shared:
        sys.exit(Parent(count, listener, shared, start_s, pauses_s).run())


def _folder_of_workers() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="parley-")
    except OSError as exc:
        raise Misconfigured(
            "WORKERS share a temporary folder, and none can be made; set TMPDIR to where one can"
        ) from exc


def _arrive(place: str) -> Worker:
    parent, listener, pipe, folder = json.loads(place)
    worker = Worker(parent, listener, pipe, Path(folder))
    for descriptor in (worker.listener, worker.pipe):
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves: an end without a traceback
    return worker


def _read(name: str, read: Callable[[str], T], default: T, environ: Mapping[str, str], folder: Path) -> T:
    text = setting(name, environ, folder)
    try:
        return default if text is None else read(text)
    except ValueError as exc:
        raise Misconfigured(f"{name} must be {exc}, not {text!r}") from exc
