"""HTTP and WebSockets to the proxy, by hand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.line import RESET

CONNECT_S = 3.0
SILENCE_S = 20.0
"""More than the 15 s after which silence is filled."""
ADDRESSES = range(2, 250)
"""The last numbers of the loopback addresses that clients have: a proxy that tells them apart by theirs sends
them to different servers."""


class Cut(Exception):
    """The connection could not be made, or broke, or was silent for too long."""


class Network:
    """Everybody's connections to the proxy at `port`; or over a `slow_port`, if there is one."""

    def __init__(self, port: int, chance: random.Random, slow_port: int | None = None) -> None:
        self.slow_port = slow_port
        self.resets = 0
        self._port = port
        self._chance = chance
        self._open: set[StreamWriter] = set()

    @asynccontextmanager
    async def connected(self, slow: bool = False) -> AsyncIterator[Connection]:
        """Raises Cut; whatever breaks inside is one, too."""
        port = self.slow_port if slow and self.slow_port else self._port
        address = (f"127.0.0.{self._chance.choice(ADDRESSES)}", 0)
        writer = None
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=address)
            self._open.add(writer)
            yield Connection(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
            raise Cut(repr(exc)) from exc
        finally:
            if writer is not None:
                self._open.discard(writer)
                writer.close()

    def reset(self) -> int:
        """RST on all of them: what was on its way is lost. Gives how many they were."""
        self.resets += 1
        for writer in (were := list(self._open)):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        return len(were)


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: Mapping[str, str]
    """By their lower-case names."""


class Connection:
    """Raises OSError, IncompleteReadError and TimeoutError, which are the Cut of its Network."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Head:
        fields = {"Host": "127.0.0.1", **headers}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        async with asyncio.timeout(SILENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in rest if line)
        return Head(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})

    async def pieces(self, head: Head) -> AsyncIterator[bytes]:
        """The body as it comes, to its proper end."""
        if "chunked" not in head.headers.get("transfer-encoding", ""):
            if length := int(head.headers.get("content-length", "0")):
                async with asyncio.timeout(SILENCE_S):
                    yield await self._reader.readexactly(length)
            return
        while True:
            async with asyncio.timeout(SILENCE_S):
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                piece = await self._reader.readexactly(size + 2)
            if not size:
                return
            yield piece[:-2]

    async def body(self, head: Head) -> bytes:
        return b"".join([piece async for piece in self.pieces(head)])

    async def upgrade(self, path: str) -> Head:
        """Ask for a WebSocket; its status is 101 if that was granted."""
        key = base64.b64encode(os.urandom(16)).decode()
        asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        return await self.request("GET", path, {**asked, "Sec-WebSocket-Key": key})

    async def message(self) -> str | None:
        """The next text of a WebSocket; None at its end. The server sends no fragments."""
        while True:
            async with asyncio.timeout(2 * SILENCE_S):
                first, size = await self._reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
                elif size == 127:
                    size = int.from_bytes(await self._reader.readexactly(8), "big")
                payload = await self._reader.readexactly(size)
            if first == 0x81:
                return payload.decode()
            if first == 0x88:
                return None

    def send(self, text: str) -> None:
        """A text; masked, as RFC 6455 wants it of clients, with zeros."""
        data = text.encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self._writer.write(b"\x81" + size + b"\0\0\0\0" + data)
