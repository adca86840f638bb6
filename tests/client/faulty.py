"""A line to a server that knows HTTP: it refuses, breaks and ends where it is told to, and tells what was
asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio import IncompleteReadError, StreamReader
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.line import Connection, Line

END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next request meets whose path has `route` in it.

    status        refused with it before the server gets it, with this `body` or else an error of this `type`
    breaks_after  so many bytes of the answer come back, its head among them; then the line breaks, by RST if
                  `by_reset`. 0 loses the answer to what is done
    ends_after    so many bytes of the answer's body come back, and a proper end
    """

    route: str = ""
    status: int = 0
    type: str = "unavailable"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    by_reset: bool = False
    ends_after: int | None = None

    @property
    def refusal(self) -> bytes:
        body = self.body
        if body is None:
            body = json.dumps({"error": "Not now", "code": self.status, "type": self.type}).encode()
        fields = {"Content-Type": "application/json", "Content-Length": len(body), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Fault", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode() + END_OF_HEAD + body


NONE = Fault()


@dataclass(slots=True)
class Asked:
    """A request, by its lower-case headers. `answer_bytes` is how much came back, its head among it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer_bytes: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def without(self, withheld: set[str]) -> bytes:
        """As it goes over the wire, but for these headers."""
        fields = [f"{name}: {value}" for name, value in self.headers.items() if name not in withheld]
        head = "\r\n".join([f"{self.method} {self.path} HTTP/1.1", *fields])
        return head.encode("latin-1") + END_OF_HEAD + self.body


class FaultyLine(Line):
    """Each request takes the first of `faults` that is for it, and has a good line without one. Headers that
    are `withheld` do not reach the server, as behind some proxies."""

    def __init__(self, server_port: int) -> None:
        self.faults: list[Fault] = []
        self.requests: list[Asked] = []
        self.withheld: set[str] = set()
        super().__init__(server_port)

    def asked(self, route: str) -> list[Asked]:
        """The requests so far that have this in their path."""
        return [request for request in list(self.requests) if route in request.path]

    async def _converse(self, connection: Connection, questions: StreamReader, answers: StreamReader) -> None:
        client, server = connection.ends
        due: deque[tuple[Asked, Fault]] = deque()

        async def up() -> None:
            while True:
                asked = await _request_from(questions)
                fault = self._fault_of(asked)
                self.requests.append(asked)
                if fault.status:
                    await self._write(fault.refusal, client)
                else:
                    due.append((asked, fault))
                    await self._write(asked.without(self.withheld), server)

        async def down() -> None:
            while True:
                head = await answers.readuntil(END_OF_HEAD)
                asked, fault = due.popleft()
                left = fault.breaks_after
                async for data in _answer_of(head, answers, fault.ends_after):
                    passed = data[:left]
                    asked.answer_bytes += len(passed)
                    await self._write(passed, client)
                    left = None if left is None else left - len(passed)
                    if left == 0:
                        connection.break_off(fault.by_reset)
                        return

        async def to_its_end(way: Coroutine[Any, Any, None]) -> None:
            with contextlib.suppress(OSError, IncompleteReadError):
                await way
            connection.break_off()

        await asyncio.gather(to_its_end(up()), to_its_end(down()))

    def _fault_of(self, asked: Asked) -> Fault:
        for fault in self.faults:
            if fault.route in asked.path:
                self.faults.remove(fault)
                return fault
        return NONE


@contextlib.contextmanager
def faulty_line_to(server_port: int) -> Iterator[FaultyLine]:
    line = FaultyLine(server_port)
    try:
        yield line
    finally:
        line.close()


async def _request_from(questions: StreamReader) -> Asked:
    head = (await questions.readuntil(END_OF_HEAD)).decode("latin-1")
    (method, path, _), fields = head.split("\r\n")[0].split(" "), _fields_of(head)
    body = await questions.readexactly(int(fields.get("content-length", 0)))
    return Asked(method, path, fields, body)


async def _answer_of(head: bytes, answers: StreamReader, ends_after: int | None) -> AsyncIterator[bytes]:
    """As it goes over the wire; of a chunked one no more than so many bytes, and then its end."""
    fields = _fields_of(head.decode("latin-1"))
    if "transfer-encoding" not in fields:
        yield head + await answers.readexactly(int(fields.get("content-length", 0)))
        return
    yield head if ends_after is None else head[:-2] + b"Connection: close" + END_OF_HEAD
    while ends_after != 0 and (size := int(await answers.readuntil(b"\r\n"), 16)):
        data = (await answers.readexactly(size + 2))[:-2][:ends_after]
        yield b"%x\r\n%b\r\n" % (len(data), data)
        ends_after = None if ends_after is None else ends_after - len(data)
    if ends_after != 0:
        await answers.readexactly(2)
    yield b"0" + END_OF_HEAD


def _fields_of(head: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.split("\r\n")[1:-2])
    return {name.lower(): value.strip() for name, _, value in pairs}
