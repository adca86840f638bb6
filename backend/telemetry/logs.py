"""What is logged, by whom, and as what."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from backend.telemetry.lines import JsonLines, TextLines
from backend.telemetry.redaction import Redaction

FORMATS = {"text": TextLines, "json": JsonLines}
SOCKETS = ("socketio", "socketio.server", "engineio", "engineio.server")


def install(level: str, format: str, secrets: Iterable[str], pid: int | None = None) -> None:
    """Log to stderr from `level` on, without these secrets. Installing again replaces what was there.
    `pid` stands in every line, where several processes write to one log.

    The level is for our own lines: what libraries say below a warning quotes addresses and payloads.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATS[format](Redaction(secrets), pid))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("backend").setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings quote addresses, too
    for fact in ("logThreads", "logMultiprocessing", "logProcesses"):
        setattr(logging, fact, False)  # gathered for every line, and told in none of ours
    logging._srcfile = None  # nor is the place, for which the stack is walked
    logging.raiseExceptions = False  # a line that cannot be written would be shown as it is, secrets and all


def hush_sockets() -> None:
    """Keep the Socket.IO libraries from printing on their own and from repeating what clients sent: they
    are left with a line for each exception that they catch. Call it once their server was made, since
    making it sets up its logging."""
    for name in SOCKETS:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.filters[:] = [_without_words]
        library.setLevel(logging.ERROR)


def _without_words(record: logging.LogRecord) -> bool:
    """Let a caught exception pass as its kind and its place; anything else quotes clients."""
    exc = record.exc_info[1] if record.exc_info else None
    if exc is None:
        return False
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
    record.msg, record.args, record.exc_info = f"{type(exc).__name__} in {place}", (), None
    return True
