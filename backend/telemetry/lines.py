"""Log records as lines, for people or for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from traceback import format_exception_only, format_tb
from typing import Any

from backend.telemetry.redaction import Redaction

FIELDS = (
    "request_id", "stream_id", "door", "method", "route", "status", "ms", "type", "model", "state",
)  # fmt: skip
"""What a log call may give as `extra`; None is left out. JSON has all of them."""
SHOWN = ("type", "door", "request_id", "stream_id")
"""Those that text has too: the others are in the message."""
MOST_CAUSES = 10

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class Lines(logging.Formatter):
    """What both formats have in common."""

    def __init__(self, redaction: Redaction, pid: int | None = None) -> None:
        super().__init__()
        self._clean = redaction.clean
        self._pid = pid

    def message(self, record: logging.LogRecord) -> str:
        try:
            return self._clean(record.getMessage())
        except (TypeError, ValueError, KeyError):  # words that do not fit the format: better seen than lost
            return self._clean(f"{record.msg} {record.args!r}")

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        given = {name: getattr(record, name, None) for name in FIELDS}
        return {
            name: self._clean(value) if isinstance(value, str) else value
            for name, value in given.items()
            if value is not None
        }

    def story(self, record: logging.LogRecord) -> str:
        """The traceback with its causes, empty if there is none. Its line ends are ours alone: those in
        an exception's words are escaped."""
        exc = record.exc_info[1] if record.exc_info else None
        parts: list[str] = []
        seen = set[int]()
        while exc is not None and id(exc) not in seen and len(seen) < MOST_CAUSES:
            seen.add(id(exc))
            frames = "".join(format_tb(exc.__traceback__)).split("\n")
            words = "".join(format_exception_only(exc)).rstrip("\n")
            told = ["Traceback (most recent call last):", *map(self._clean, frames[:-1]), self._clean(words)]
            parts.insert(0, "\n".join(told) + "\n")
            joint = _CAUSE if exc.__cause__ is not None else _CONTEXT
            exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
            if exc is not None:
                parts.insert(0, joint)
        return "".join(parts).strip("\n")


class TextLines(Lines):
    """A line a record, and the traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        named = "".join(f" {name}={fields[name]}" for name in SHOWN if name in fields)
        source = record.name if self._pid is None else f"{record.name}[{self._pid}]"
        line = f"{timestamp(record)} {record.levelname} {source}: {self.message(record)}{named}"
        story = self.story(record)
        return f"{line}\n{story}" if story else line


class JsonLines(Lines):
    """A JSON object a record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
            **self.fields(record),
        }
        if self._pid is not None:
            line["pid"] = self._pid
        if story := self.story(record):
            line["traceback"] = story
        return json.dumps(line)


def timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
