"""Headers, entries and closings as JSON, for stores that keep text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

import orjson

from backend.chat.errors import Complaint
from backend.chat.events import Closing, Delta, Entry, Failed, Finished, Header, Route, Try, Usage
from backend.chat.requests import Asked, Idempotency
from backend.chat.sessions import Message

HEADER = {field.name: field.default for field in fields(Header)}
"""A header's fields, and what they are unless it says otherwise."""
LATER = ("epoch", "asked")
"""Those that were not there from the beginning: who reads it may not know them."""


def header_to_json(header: Header) -> str:
    values = {name: getattr(header, name) for name in HEADER}
    for name in LATER:
        if values[name] == HEADER[name]:
            del values[name]
    return orjson.dumps(values).decode()


def header_from_json(text: str) -> Header:
    values = {name: value for name, value in orjson.loads(text).items() if name in HEADER}
    if values.get("idempotency") is not None:
        values["idempotency"] = Idempotency(**values["idempotency"])
    if values.get("asked") is not None:
        values["asked"] = Asked(**values["asked"])
    return Header(**values)


def entries_to_json(entries: Sequence[Entry]) -> str:
    """A list of texts, and of `{"text", "extra"}` where there is more than text."""
    return orjson.dumps(entries).decode()


def entries_from_json(text: str | bytes) -> list[Entry]:
    return [e if isinstance(e, str) else Delta(e["text"], e["extra"]) for e in orjson.loads(text)]


def closing_to_json(closing: Closing) -> str:
    """The fields, with `kind` telling the class."""
    values = {field.name: getattr(closing, field.name) for field in fields(closing)}
    return orjson.dumps({"kind": type(closing).__name__, **values}).decode()


def closing_from_json(text: str) -> Closing:
    values = orjson.loads(text)
    if values.get("usage"):
        values["usage"] = Usage(**values["usage"])
    if values.get("complaint"):
        values["complaint"] = Complaint(**values["complaint"])
    return Failed(**values) if values.pop("kind") == Failed.__name__ else Finished(**values)


def route_to_json(route: Route) -> str:
    """Who was asked; what it costs is for the writer alone."""
    told = [asdict(tried) for tried in route.tries]
    return orjson.dumps([{name: said for name, said in tried.items() if said} for tried in told]).decode()


def route_from_json(text: bytes) -> Route:
    return Route(tuple(Try(**tried) for tried in orjson.loads(text)))


def message_to_json(message: Message) -> str:
    """All but its parent: that is written where it is not the message before."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    del values["parent_id"]
    closing = closing_to_json(message.closing) if message.closing else None
    return orjson.dumps({**values, "closing": closing}).decode()


def message_from_json(text: bytes, before_id: str | None) -> Message:
    """`before_id` is the message before, which is its parent unless it says another."""
    values = {"parent_id": before_id, **orjson.loads(text)}
    if values["closing"] is not None:
        values["closing"] = closing_from_json(values["closing"])
    return Message(**values)
