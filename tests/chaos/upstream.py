"""An OpenAI-compatible upstream that knows every question, and who asked it how often."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from asyncio import StreamReader, StreamWriter
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.script import Question, named_in

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
KEY = "sk-chaos-0123456789-"
"""Before the number of the server whose key it is."""
BROKEN = (OSError, asyncio.IncompleteReadError)


@dataclass(slots=True)
class Call:
    """A question that a server asked, from `began_s` to `ended_s`, by the monotonic clock; and how it said
    that the answer begins."""

    server: int
    began_s: float
    partial: str = ""
    ended_s: float | None = None


class Upstream:
    """`calls` are those of each question, by seed and number; `sent` is how many tokens the questions of the
    last `expect` have been sent."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: dict[tuple[int, int], list[Call]] = defaultdict(list)
        self.sent = 0
        self._known: dict[tuple[int, int], Question] = {}

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def expect(self, questions: Iterable[Question]) -> None:
        self._known = {(each.seed, each.number): each for each in questions}
        self.calls.clear()
        self.sent = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection's requests until either side closes it."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                await self._answer(fields["authorization"], body, writer)
        except (*BROKEN, asyncio.CancelledError):
            pass  # cancelled: the whole program ends
        finally:
            writer.close()

    async def _answer(self, authorization: str, body: dict[str, object], writer: StreamWriter) -> None:
        messages = body["messages"]
        assert isinstance(messages, list)
        partial = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
        name = named_in(messages[-1]["content"])
        question = self._known[name] if name else None
        if name is None or question is None:
            raise ConnectionAbortedError(f"nobody asked {messages[-1]}")
        call = Call(int(authorization.rpartition("-")[2]), time.monotonic(), partial)
        self.calls[name].append(call)
        try:
            writer.write(HEAD)
            for number, write in enumerate(question.writes(question.begun(partial) or 0)):
                due_s = call.began_s + number * question.gap_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                writer.write(write)
                await writer.drain()
                if writer.transport.is_closing():
                    raise ConnectionResetError
                self.sent += question.pieces_at_once
        finally:
            call.ended_s = time.monotonic()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    served = Upstream()
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0, backlog=1024)
    served.port = listening.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        listening.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await listening.wait_closed()
