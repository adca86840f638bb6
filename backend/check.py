"""`python -m backend check [URL]`: one question to a running server over each of its doors."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3
from wsproto import ConnectionType, WSConnection, events
from wsproto.utilities import ProtocolError

QUESTION = "Explain in a few words how a streamed answer reaches a browser"
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""RFC 6750, 2.1."""
READ_S = 60.0
TIMEOUT = urllib3.Timeout(connect=5.0, read=READ_S)


@dataclass(slots=True)
class Finding:
    """What asking over one door came to; `problem` is empty when all was well."""

    door: str
    status: str = "-"
    chunks: int = 0
    chars: int = 0
    ttft_ms: float = 0.0
    per_second: float = 0.0
    problem: str = ""


def run(url: str, token: str | None = None) -> int:
    """Ask, with this token if there is one, print a table, and give the exit code: 0 when every door
    passed."""
    url = url.rstrip("/")
    if token and not TOKEN.fullmatch(token):
        print("--token is no token: it has characters that none has")
        return 2
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if not url.startswith(("http://", "https://")):
        print(f"{url!r} is no address; give one such as http://127.0.0.1:5000")
        return 2
    completions = f"{url}/v1/chat/completions"
    conversation = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}
    findings = [
        _ask("sse", f"{url}/api/chat/stream", headers, {"message": QUESTION, "partial": False}, _chat_text),
        _asked("socket.io", url, partial(_converse, url, headers)),
        _ask("openai", completions, headers, conversation, _chunk_text),
        _ask("openai prompt", completions, headers, {"prompt": QUESTION, "stream": True}, _chunk_text),
    ]
    print(f"{'door':<14} {'status':>6} {'chunks':>7} {'chars':>7} {'first ms':>9} {'tokens/s':>9}  result")
    for found in findings:
        result = f"FAIL: {found.problem}" if found.problem else "pass"
        print(
            f"{found.door:<14} {found.status:>6} {found.chunks:>7} {found.chars:>7}"
            f" {found.ttft_ms:>9.1f} {found.per_second:>9.1f}  {result}"
        )
    return 1 if any(found.problem for found in findings) else 0


def _ask(
    door: str, url: str, headers: dict[str, str], body: dict[str, Any], text_of: Callable[[str], str | None]
) -> Finding:
    """`text_of` gives an event's text, None for the end, and raises ValueError for an error event."""

    def stream(found: Finding) -> Iterator[str | None]:
        response = urllib3.request(
            "POST", url, json=body, headers=headers, timeout=TIMEOUT, retries=False, preload_content=False,
            redirect=False,
        )  # fmt: skip
        found.status = str(response.status)
        if response.status != 200:
            raise ValueError(_refusal(response.read(2000)))
        yield from map(text_of, _events(response.stream(65536)))

    return _asked(door, url, stream)


def _asked(door: str, url: str, stream: Callable[[Finding], Iterator[str | None]]) -> Finding:
    """`stream` gives the answer's texts and then None."""
    found = Finding(door)
    started_s = time.monotonic()
    try:
        for text in stream(found):
            if text is None:
                return _judged(found, time.monotonic() - started_s)
            if not text:
                continue
            found.ttft_ms = found.ttft_ms or (time.monotonic() - started_s) * 1000
            found.chunks += 1
            found.chars += len(text)
        found.problem = "the stream ended before the answer did"
    except urllib3.exceptions.HTTPError as exc:
        found.problem = f"no answer from {url}: {_reason(exc)}"
    except (ProtocolError, OSError) as exc:
        found.problem = f"the line broke: {exc}"
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        found.problem = "it does not answer as Parley does"
    except ValueError as exc:
        found.problem = str(exc)
    return found


class OnlyWebSocket(ValueError):
    """The server does not take polling."""


class Line(Protocol):
    """An Engine.IO connection."""

    def send(self, packet: str) -> None: ...

    def receive(self) -> list[str]:
        """What has come, waited for if nothing has."""


class Polling:
    """Packets out by POST, packets in by GET."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"
        self._headers = headers
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

        (opened,) = self.receive()
        self._url += f"&sid={json.loads(opened[1:])['sid']}"

    def send(self, packet: str) -> None:
        self._exchange("POST", packet)

    def receive(self) -> list[str]:
        return self._exchange("GET", None).split("\x1e")

    def _exchange(self, method: str, body: str | None) -> str:
        response = self._pool.request(method, self._url, body=body, headers=self._headers, redirect=False)
        if response.status != 200:
            refused = _refusal(response.data)
            raise OnlyWebSocket(refused) if "connect with WebSocket" in refused else ValueError(refused)
        return response.data.decode()


class WebSocket:
    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        plain = socket.create_connection((host, port), timeout=READ_S)
        self._socket = (
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        )
        self._line = WSConnection(ConnectionType.CLIENT)
        target = f"{parts.path}/socket.io/?EIO=4&transport=websocket"
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._emit(events.Request(host=parts.netloc, target=target, extra_headers=named))
        self.receive()

    def send(self, packet: str) -> None:
        self._emit(events.TextMessage(packet))

    def receive(self) -> list[str]:
        packet = ""
        while True:
            for event in self._line.events():
                if isinstance(event, events.RejectConnection | events.CloseConnection):
                    raise ValueError("the server refuses WebSocket")
                if isinstance(event, events.TextMessage):
                    packet += event.data
                    if event.message_finished:
                        return [packet]
            self._line.receive_data(self._socket.recv(65536) or None)

    def _emit(self, event: events.Event) -> None:
        self._socket.sendall(self._line.send(event))


def _converse(url: str, headers: dict[str, str], found: Finding) -> Iterator[str | None]:
    line: Line
    try:
        line = Polling(url, headers)
    except OnlyWebSocket:
        line = WebSocket(url, headers)
    line.send("40")
    if not (answers := line.receive())[0].startswith("40"):
        raise ValueError(json.loads(answers[0][2:])["message"])
    found.status = "200"
    line.send("42" + json.dumps(["chat_stream", {"message": QUESTION}]))
    while True:
        for packet in line.receive():
            if packet == "2":
                line.send("3")
            elif packet.startswith("42"):
                event, data = json.loads(packet[2:])
                if event == "chat_stream_error":
                    raise ValueError(data["error"])
                if event == "chat_complete":
                    line.send("1")
                yield None if event == "chat_complete" else data["token"]


def _refusal(body: bytes) -> str:
    """Its sentence, in whichever dialect."""
    error = json.loads(body)["error"]
    return str(error["message"] if isinstance(error, dict) else error)


def _reason(exc: urllib3.exceptions.HTTPError) -> str:
    if isinstance(exc, urllib3.exceptions.NameResolutionError):
        return "there is no such host"
    if isinstance(exc, urllib3.exceptions.NewConnectionError):
        return "nothing listens there"
    if isinstance(exc, urllib3.exceptions.TimeoutError):
        return "it took too long"
    return "the line broke"


def _judged(found: Finding, took_s: float) -> Finding:
    writing_s = took_s - found.ttft_ms / 1000
    found.per_second = found.chunks / writing_s if writing_s > 0 else 0.0
    if not found.chars:
        found.problem = "the answer was empty"
    return found


def _events(pieces: Iterator[bytes]) -> Iterator[str]:
    """The data of each event."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield line[6:].decode()


def _chat_text(data: str) -> str | None:
    event = json.loads(data)
    if "error" in event:
        raise ValueError(event["error"])
    return None if event.get("done") else event["token"]


def _chunk_text(data: str) -> str | None:
    """The text of a chunk in either dialect of the door."""
    if data == "[DONE]":
        return None
    event = json.loads(data)
    if error := event.get("error"):
        raise ValueError(error["message"] if isinstance(error, dict) else error)
    text: str = event["choices"][0]["delta"].get("content") or ""
    return text
