"""A TCP line that breaks after so many bytes of an answer."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator

from tests.line import READ_BYTES, Connection, Line


class Cutting(Line):
    """Each connection in turn takes its limit from `limits`: so many bytes come back through it, then it
    breaks, by RST if `by_reset`. Without one it stays whole."""

    def __init__(self, server_port: int) -> None:
        self.limits: list[int] = []
        self.by_reset = False
        self.made = 0
        super().__init__(server_port)

    async def _converse(self, connection: Connection, questions: StreamReader, answers: StreamReader) -> None:
        client, server = connection.ends
        self.made += 1
        limit = self.limits.pop(0) if self.limits else None
        await asyncio.gather(
            self._carry(questions, server, lambda _: None), self._cut(connection, answers, client, limit)
        )

    async def _cut(
        self, connection: Connection, answers: StreamReader, client: StreamWriter, limit: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while limit != 0 and (data := await answers.read(READ_BYTES if limit is None else limit)):
                client.write(data)
                await client.drain()
                limit = None if limit is None else limit - len(data)
        connection.break_off(self.by_reset and limit == 0)


@contextlib.contextmanager
def cutting(server_port: int) -> Iterator[Cutting]:
    line = Cutting(server_port)
    try:
        yield line
    finally:
        line.close()
