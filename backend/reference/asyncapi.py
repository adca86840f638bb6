"""The Socket.IO door as an AsyncAPI 3.0 document."""

from __future__ import annotations

from itertools import chain

from pydantic import BaseModel

from backend.reference.events import FROM_CLIENTS, FROM_THE_SERVER, Event
from backend.reference.schemas import Bounds, Schema, components, ref
from backend.wire.sockets import ChatStreamBody

CHANNEL = "#/channels/chat"
ABOUT = """\
Chat over Socket.IO, protocol 5, in the default namespace, over long polling or WebSocket at `/socket.io/`.
A token goes into the `auth` payload of the connection, as `{"token": "…"}`. A connection that is refused gets
`connect_error`, whose `data` has `error`, `code` and `type`.

`chat_stream` is followed by `chat_token` events and then `chat_complete` or `chat_stream_error`. A refusal is
both the acknowledgement and a `chat_stream_error`.
"""


def document(version: str, bounds: Bounds, address: str) -> Schema:
    """The document, for this server with these settings; `address` is its host and port."""
    rows = (*FROM_CLIENTS, *FROM_THE_SERVER)
    schemas = components({model for row in rows for model in (row.payload, *row.acknowledged)})
    bounds.limit(schemas[ChatStreamBody.__name__])
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Parley", "version": version, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {"parley": {"host": address, "pathname": "/socket.io/", "protocol": "ws"}},
        "channels": {
            "chat": {
                "address": "/",
                "title": "The default namespace",
                "messages": dict(chain.from_iterable(map(_messages, rows))),
            }
        },
        "operations": {
            **{row.name: _operation("receive", row) for row in FROM_CLIENTS},
            **{row.name: _operation("send", row) for row in FROM_THE_SERVER},
        },
        "components": {"schemas": schemas},
    }


def _messages(row: Event) -> list[tuple[str, Schema]]:
    """The event, and what it can be acknowledged with."""
    found = [(row.name, _message(row.name, row.says, row.payload))]
    for model in row.acknowledged:
        about = f"An acknowledgement of `{row.name}`"
        found.append((acknowledgement(row, model), _message(row.name, about, model)))
    return found


def acknowledgement(row: Event, model: type[BaseModel]) -> str:
    return f"{row.name}.{model.__name__}"


def _message(name: str, about: str, payload: type[BaseModel]) -> Schema:
    return {"name": name, "summary": about, "payload": ref(payload)}


def _operation(action: str, row: Event) -> Schema:
    """`receive` is what the server receives."""
    found: Schema = {
        "action": action,
        "channel": {"$ref": CHANNEL},
        "summary": row.says,
        "messages": [{"$ref": f"{CHANNEL}/messages/{row.name}"}],
    }
    if row.acknowledged:
        names = [acknowledgement(row, model) for model in row.acknowledged]
        found["reply"] = {
            "channel": {"$ref": CHANNEL},
            "messages": [{"$ref": f"{CHANNEL}/messages/{name}"} for name in names],
        }
    return found
