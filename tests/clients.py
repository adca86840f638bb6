"""A plain client of the chat API, on a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.servers import Address


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    data: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.id.rpartition(":")[2])


class Following:
    """An event stream being read. One that is left unread is dropped with its server."""

    def __init__(self, server: Address, response: urllib3.BaseHTTPResponse) -> None:
        assert response.status == 200, response.data
        self.response = response
        self.stream_id = response.headers["X-Stream-Id"]
        self._events = self._read()
        server.opened.append(self.drop)

    def __iter__(self) -> Iterator[Event]:
        """Events as they come; ends with the answer or the line. Asked again, it goes on."""
        return self._events

    def _read(self) -> Generator[Event, None, None]:
        rest = b""
        for piece in self.response.stream(65536):
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                lines = [line for line in block.split(b"\n") if not line.startswith(b":")]
                fields = dict(line.split(b": ", 1) for line in lines)
                yield Event(fields[b"id"].decode(), json.loads(fields[b"data"]))

    def all(self) -> list[Event]:
        return list(self)

    def take(self, count: int) -> list[Event]:
        """The next so many events, and then drop the line."""
        events = []
        for event in self:
            events.append(event)
            if len(events) == count:
                break
        self.drop()
        return events

    def drop(self) -> None:
        """Here and now: left to the garbage collector, urllib3 could wait for a lock it holds itself."""
        self._events.close()
        self.response.close()


def ask(server: Address, message: str, key: str | None = None, **fields: Any) -> Following:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"message": message, "partial": False, **fields}
    return Following(
        server,
        server.pool.request(
            "POST", f"{server.url}/api/chat/stream", json=body, headers=headers, preload_content=False
        ),
    )


def resume(server: Address, stream_id: str, after: int = 0, **headers: str) -> Following:
    url = f"{server.url}/api/chat/streams/{stream_id}?after={after}&partial=false"
    return Following(server, server.pool.request("GET", url, headers=headers, preload_content=False))


def get(server: Address, path: str, **headers: str) -> Any:
    response = server.pool.request("GET", f"{server.url}{path}", headers=headers)
    assert response.status == 200, response.data
    return response.json()


def call(server: Address, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """The status, and the JSON of the answer."""
    sent = {"headers": headers} if body is None else {"headers": headers, "json": body}
    response = server.pool.request(method, f"{server.url}{path}", **sent)
    return response.status, response.json()


def text_of(events: list[Event]) -> str:
    return "".join(event.data.get("token", "") for event in events)


def events(stream: bytes) -> list[dict[str, str]]:
    """The fields of each event, read as the standard says (WHATWG HTML, 9.2.6)."""
    found, fields = [], {}
    for line in re.split("\r\n|\r|\n", stream.decode().removeprefix("\ufeff"))[:-1]:
        name, colon, value = line.partition(":")
        if line == "":
            found += [fields] if "data" in fields else []
            fields = {}
        elif name:
            assert name not in fields, f"the field {name} came twice in an event"
            fields[name] = value.removeprefix(" ") if colon else ""
    assert fields == {}, "the stream ended inside an event"
    return found
