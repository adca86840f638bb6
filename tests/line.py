"""A TCP line to a server, which can break and slow down in the ways lines do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.ports import free_port
from tests.servers import PATIENCE_S

QUESTION = b"POST /api/chat/stream "
READ_BYTES = 4096
HELD_READS = 64
"""What a slow line has under way, each way: it takes no more from who sends."""
TICKS_PER_S = 50
"""How often a line of so many bytes a second lets some through."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what is unsent and sends RST."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a line passes bytes on, each way: after `latency_s` and up to `jitter_s` more, in their order; so
    many a second; in pieces of so many, each a packet of its own. None is without a bound."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    piece_bytes: int | None = None

    @property
    def most_bytes(self) -> int:
        """What it lets through at once."""
        at_once = READ_BYTES if self.bytes_per_s is None else max(1, round(self.bytes_per_s / TICKS_PER_S))
        return min(at_once, self.piece_bytes or at_once)


class Connection:
    """A client's end and, once it is made, the server's."""

    def __init__(self, ends: list[StreamWriter]) -> None:
        self.ends = ends
        self._break: Callable[[StreamWriter], None] | None = None

    def add(self, end: StreamWriter) -> None:
        """Another end, which is broken off if the first has been."""
        self.ends.append(end)
        if self._break is not None:
            self._break(end)

    def break_off(self, reset: bool = False) -> None:
        """At once, with what is unsent."""
        self._break = _reset if reset else _end
        for end in self.ends:
            self._break(end)


class Line:
    """Passes bytes on both ways from `port` to the server's, in a thread of its own, until it is closed. What
    it is told holds when the call returns. With `tls` it speaks TLS to clients, and not to the server."""

    def __init__(self, server_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.lost_answers = 0
        self._server_port = server_port
        self._tls = tls
        self._pace = Pace()
        self._connections: set[Connection] = set()
        self._lose_next_answer = False
        self._listening: asyncio.Server | None = None
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._thread.start()
        self._ready.result(PATIENCE_S)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection there is, on both sides; new ones work."""
        self._do(self._break())

    def reset(self) -> None:
        """The same with RST: what is unsent is lost, and who reads gets an error in place of the end."""
        self._do(self._break(reset=True))

    def refuse(self) -> None:
        """Take no new connection, as if nobody listened. Those there are go on."""
        self._do(self._stop_listening())

    def black_hole(self) -> None:
        """Lose every packet: connections stay, new ones can be made, and nothing comes through, not even an
        end. As TCP sends again what was lost, it all arrives when the line has healed."""
        self._passing.clear()

    def slow(self, **pace: Any) -> None:
        """Pass on at this Pace what comes from now on."""
        self._pace = Pace(**pace)

    def heal(self) -> None:
        """Refuse, lose and slow down nothing any more."""
        self._pace = Pace()
        self._do(self._heal())

    def lose_next_answer(self) -> None:
        """Let the next question through and break the line before a byte of its answer comes back."""
        self._lose_next_answer = True

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_S)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    # What follows runs in the line's own thread.

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._passing = asyncio.Event()
        try:
            await self._heal()
        except OSError as error:
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        await self._over.wait()
        await self._stop_listening()
        await self._break()

    async def _heal(self) -> None:
        self._passing.set()
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _break(self, reset: bool = False) -> None:
        for connection in list(self._connections):
            connection.break_off(reset)

    async def _accept(self, questions: StreamReader, client: StreamWriter) -> None:
        connection = Connection([client])
        self._connections.add(connection)
        try:
            await self._passing.wait()
            answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
            connection.add(server)
            await self._converse(connection, questions, answers)
        except OSError:
            connection.break_off()
        finally:
            self._connections.discard(connection)

    async def _converse(self, connection: Connection, questions: StreamReader, answers: StreamReader) -> None:
        client, server = connection.ends
        asked = asyncio.Event()

        def up(data: bytes) -> None:
            if QUESTION in data:
                asked.set()

        def down(data: bytes) -> None:
            if asked.is_set() and self._takes_this_one():
                connection.break_off()

        await asyncio.gather(self._carry(questions, server, up), self._carry(answers, client, down))

    async def _carry(self, reader: StreamReader, writer: StreamWriter, see: Callable[[bytes], None]) -> None:
        """One way of a connection, up to the end of either side."""
        held: Queue[tuple[float, bytes]] = Queue(HELD_READS)
        sending = asyncio.create_task(self._send(held, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                see(data)
                await held.put((self._due(), data))
        await held.put((self._due(), b""))
        await sending

    def _due(self) -> float:
        pace = self._pace
        return self._loop.time() + pace.latency_s + random.uniform(0, pace.jitter_s)

    async def _send(self, held: Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
        """What is held, when it is due; then the end."""
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - self._loop.time())
            await self._passing.wait()
            if not data:
                writer.close()
                return
            with contextlib.suppress(OSError):
                await self._write(data, writer)

    async def _write(self, data: bytes, writer: StreamWriter) -> None:
        while data:
            pace = self._pace
            piece, data = data[: pace.most_bytes], data[pace.most_bytes :]
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(len(piece) / pace.bytes_per_s if pace.bytes_per_s else 0)
            await self._passing.wait()

    def _takes_this_one(self) -> bool:
        lost, self._lose_next_answer = self._lose_next_answer, False
        self.lost_answers += lost
        return lost


@contextmanager
def line_to(port: int, tls: ssl.SSLContext | None = None) -> Iterator[Line]:
    line = Line(port, tls)
    try:
        yield line
    finally:
        line.close()


def _end(end: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        end.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    end.transport.abort()


def _reset(end: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.transport.abort()
