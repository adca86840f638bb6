"""Headers, entries and closings as JSON, for stores that keep text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from backend.chat.events import Closing, Delta, Entry, Failed, Finished, Header, Usage
from backend.chat.requests import Idempotency


def header_to_json(header: Header) -> str:
    return json.dumps(asdict(header))


def header_from_json(text: str) -> Header:
    fields = json.loads(text)
    if fields["idempotency"] is not None:
        fields["idempotency"] = Idempotency(**fields["idempotency"])
    return Header(**fields)


def entries_to_json(entries: Sequence[Entry]) -> str:
    """A list of texts, and of `{"text", "extra"}` where there is more than text."""
    return json.dumps(
        [e if isinstance(e, str) else {"text": e.text, "extra": e.extra} for e in entries], ensure_ascii=False
    )


def entries_from_json(text: str) -> list[Entry]:
    return [e if isinstance(e, str) else Delta(e["text"], e["extra"]) for e in json.loads(text)]


def closing_to_json(closing: Closing) -> str:
    """The fields, with `kind` telling the class."""
    return json.dumps({"kind": type(closing).__name__, **asdict(closing)})


def closing_from_json(text: str) -> Closing:
    fields = json.loads(text)
    if fields.pop("kind") == Failed.__name__:
        return Failed(**fields)
    return Finished(**{**fields, "usage": Usage(**fields["usage"])})
