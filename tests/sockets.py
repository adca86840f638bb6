"""Plain clients of the Socket.IO door: Engine.IO and Socket.IO packets by hand, over a WebSocket and over
polling."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections import deque
from typing import Any

import urllib3
import websocket

from tests.servers import PATIENCE_S, Address

Event = tuple[str, dict[str, Any]]

HANDSHAKE = "/socket.io/?EIO=4&transport="

_PACKET = re.compile(r"4([0-6])(\d*)(.*)", re.DOTALL)


class Refused(Exception):
    """The server answered the CONNECT with a CONNECT_ERROR; `args[0]` is what it said."""


class Gone(Exception):
    """The server has closed the connection."""


class Socket:
    """One connection. `heard` are the events that came while something else was waited for."""

    def __init__(self, server: Address, token: object = None, **options: Any) -> None:
        url = f"ws://127.0.0.1:{server.port}{HANDSHAKE}websocket"
        self.line = websocket.create_connection(url, timeout=PATIENCE_S, **options)
        self.heard: deque[Event] = deque()
        self._acks: dict[int, Any] = {}
        self._asked = 0
        server.opened.append(self.drop)
        self.open_packet = json.loads(self._frame()[1:])
        self.send_frame("40" if token is None else "40" + json.dumps({"token": token}))
        kind, _, data = self._packet()
        if kind == "4":
            raise Refused(json.loads(data))
        assert kind == "0", kind
        self.sid = json.loads(data)["sid"]

    def emit(self, event: str, *payload: Any) -> None:
        self.send_frame("42" + json.dumps([event, *payload]))

    def call(self, event: str, *payload: Any) -> Any:
        """Emit it and wait for its acknowledgement."""
        self._asked += 1
        self.send_frame(f"42{self._asked}" + json.dumps([event, *payload]))
        return self.acknowledged(self._asked)

    def acknowledged(self, number: int) -> Any:
        """The acknowledgement of that number."""
        while number not in self._acks:
            self._read()
        return self._acks.pop(number)

    def next(self) -> Event:
        """The next event. Raises Gone."""
        while not self.heard:
            self._read()
        return self.heard.popleft()

    def until(self, *names: str) -> list[Event]:
        """The events up to and with the first of one of these names."""
        events = [self.next()]
        while events[-1][0] not in names:
            events.append(self.next())
        return events

    def answer(self) -> list[Event]:
        """The events of one answer to its end."""
        return self.until("chat_complete", "chat_stream_error")

    def send_frame(self, frame: str) -> None:
        self.line.send(frame)

    def close(self) -> None:
        self.line.close()

    def drop(self) -> None:
        """A reset, as a line that is cut leaves it."""
        if self.line.sock is not None:
            self.line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.line.shutdown()

    def gone_within(self, seconds: float) -> bool:
        """Read until the server closes the line."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self._read()
            except Gone:
                return True
        return False

    def _read(self) -> None:
        kind, number, data = self._packet()
        if kind == "2":
            name, *payload = json.loads(data)
            self.heard.append((name, payload[0]))
        elif kind == "3":
            self._acks[int(number)] = json.loads(data)[0]
        elif kind == "1":
            self.heard.append(("disconnect", {}))
        else:
            raise AssertionError(f"an unexpected packet: {kind}{data[:100]}")

    def _packet(self) -> tuple[str, str, str]:
        found = _PACKET.fullmatch(self._frame())
        assert found is not None
        return found[1], found[2], found[3]

    def _frame(self) -> str:
        """The next frame that is neither ping nor noop."""
        while True:
            try:
                frame = self.line.recv()
            except (websocket.WebSocketConnectionClosedException, ConnectionError) as exc:
                raise Gone from exc
            if not frame or frame == "1":
                raise Gone
            assert isinstance(frame, str)
            if frame == "2":
                self.line.send("3")
            elif frame != "6":
                return frame


class Polling:
    """An Engine.IO connection over HTTP. It connects to the namespace only when told to."""

    def __init__(self, server: Address, **headers: str) -> None:
        self._server = server
        self._headers = headers
        self._path = f"{HANDSHAKE}polling"
        self.open_packet = json.loads(self._request("GET").data[1:])
        self._path += f"&sid={self.open_packet['sid']}"
        server.opened.append(self.leave)

    def connect(self, token: object = None) -> str:
        """The answer to a CONNECT."""
        assert self.post("40" if token is None else "40" + json.dumps({"token": token})).status == 200
        return self.poll()[0]

    def post(self, *packets: str) -> urllib3.BaseHTTPResponse:
        return self.post_raw("\x1e".join(packets).encode())

    def post_raw(self, body: bytes) -> urllib3.BaseHTTPResponse:
        return self._request("POST", body)

    def get(self) -> urllib3.BaseHTTPResponse:
        return self._request("GET")

    def poll(self) -> list[str]:
        """The packets that are there, once there are some."""
        response = self.get()
        assert response.status == 200, response.data
        return response.data.decode().split("\x1e")

    def events(self, until: str) -> list[Event]:
        """The events up to the first of that name."""
        found: list[Event] = []
        while not found or found[-1][0] != until:
            for packet in self.poll():
                if packet.startswith("42"):
                    found.append(tuple(json.loads(packet[2:])))
        return found

    def leave(self) -> None:
        self.post("1")

    def _request(self, method: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
        url = self._server.url + self._path
        return self._server.pool.request(method, url, body=body, headers=self._headers)


def text_of(events: list[Event]) -> str:
    return "".join(data["token"] for name, data in events if name == "chat_token")
