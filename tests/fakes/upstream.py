"""An OpenAI-compatible upstream as a real TCP server, which answers by script and can misbehave in
every byte of it."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

DONE = b"data: [DONE]\n\n"
END_OF_HEAD = b"\r\n\r\n"


class PeerGone(Exception):
    """The client closed its connection."""


class Stopping(Exception):
    """The fake is being shut down."""


@dataclass(slots=True)
class Request:
    """What a client asked, by its lower-case headers and parsed body. `closed_s` is the monotonic time
    at which the client was seen to close the connection."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    at_s: float
    closed_s: float | None = None


Step: TypeAlias = "bytes | Callable[[Peer], None]"
Script: TypeAlias = Sequence[Step]
"""Steps done in order. Bytes are a piece of the body, framed as the head said."""


def event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(text: str | None = None, *, index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    """One `chat.completion.chunk` as an event; keywords are further fields of its delta."""
    said = delta if text is None else {"content": text, **delta}
    choice = {"index": index, "delta": said, "logprobs": None, "finish_reason": finish}
    return event({**CHUNK, "choices": [choice]})


def finish(reason: str = "stop", index: int = 0) -> bytes:
    return chunk(index=index, finish=reason)


def usage(prompt: Any = 3, completion: Any = 2, **more: Any) -> bytes:
    """The chunk with the usage, which has no choices."""
    total = prompt + completion if type(prompt) is type(completion) is int else None
    used = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}
    return event({**CHUNK, "choices": [], "usage": used})


CHUNK = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": "fake"}


def head(
    status: int = 200,
    content_type: str | None = "text/event-stream",
    *,
    framing: str = "chunked",
    headers: Mapping[str, str] | None = None,
) -> Step:
    """The status line and headers. `framing` is `chunked`, `close` or the body's length in digits."""
    fields = {"Content-Type": content_type} if content_type else {}
    framed = {"chunked": {"Transfer-Encoding": "chunked"}, "close": {"Connection": "close"}}
    fields |= framed.get(framing, {"Content-Length": framing}) | dict(headers or {})
    lines = [f"HTTP/1.1 {status} Fake", *(f"{name}: {value}" for name, value in fields.items())]

    def step(peer: Peer) -> None:
        peer.framing = framing
        peer.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    return step


def raw(data: bytes) -> Step:
    """Bytes as they are, outside any framing."""
    return lambda peer: peer.send(data)


def delay(seconds: float) -> Step:
    return lambda peer: peer.wait(seconds)


def stall() -> Step:
    """Silence until the client goes away."""
    return lambda peer: peer.wait(3600)


def end() -> Step:
    """The body's proper end."""
    return lambda peer: peer.end()


def close() -> Step:
    """A FIN, here and now."""
    return lambda peer: peer.close()


def rst() -> Step:
    return lambda peer: peer.reset()


def answer(
    tokens: int | Sequence[str] = 5,
    *,
    gap_s: float = 0.0,
    framing: str = "chunked",
    reason: str | None = "stop",
    used: bytes | None = b"",
    done: bool = True,
) -> list[Step]:
    """A good answer of these tokens (`t0 t1 …` for a number), token n due n gaps after the first."""
    texts = [f"t{n} " for n in range(tokens)] if isinstance(tokens, int) else tokens
    last = used if used != b"" else usage(3, len(texts))
    steps: list[Step] = [head(framing=framing), chunk(role="assistant", content="")]
    for number, text in enumerate(texts):
        steps += [paced(number * gap_s), chunk(text)] if gap_s else [chunk(text)]
    steps += [finish(reason)] if reason else []
    return [*steps, *([last] if last else []), *([DONE] if done else []), end()]


def paced(at_s: float) -> Step:
    """Wait until this long after the first paced step, so that lateness does not add up."""

    def step(peer: Peer) -> None:
        if at_s == 0 or not peer.started_s:
            peer.started_s = time.monotonic()
        peer.wait(max(peer.started_s + at_s - time.monotonic(), 0))

    return step


def status(
    code: int,
    body: bytes | Mapping[str, Any] = b"",
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> list[Step]:
    """A whole answer of any status, JSON or bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [head(code, content_type, framing=str(len(data)), headers=headers), data, end()]


def html() -> list[Step]:
    """What a captive portal or a wrong base URL answers."""
    return status(200, b"<!doctype html><h1>Welcome</h1>", content_type="text/html; charset=utf-8")


def redirect(to: str) -> list[Step]:
    return status(307, headers={"Location": to})


def rate_limited(retry_after: str | None = None) -> list[Step]:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return status(429, {"error": {"message": "slow down", "type": "rate_limit"}}, headers=headers)


class Peer:
    """A client's connection, as a script's steps see it."""

    def __init__(self, sock: socket.socket, wake: socket.socket, piecewise: int | None) -> None:
        self.framing = "close"
        self.ended = False
        self.started_s = 0.0
        self._sock = sock
        self._piecewise = piecewise
        self._unread = b""
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        self._wake = wake.fileno()

    def send(self, data: bytes) -> None:
        self.wait(0)
        size = self._piecewise or len(data) or 1
        try:
            for at in range(0, len(data), size):
                self._sock.sendall(data[at : at + size])
        except (OSError, ssl.SSLError) as exc:
            raise PeerGone from exc

    def send_body(self, data: bytes) -> None:
        if self.framing != "chunked":
            self.send(data)
        elif data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.ended = True
        if self.framing == "chunked":
            self.send(b"0\r\n\r\n")
        elif self.framing == "close":
            self.close()

    def wait(self, seconds: float) -> None:
        """Let time pass; raises PeerGone as soon as the client closes."""
        ends_s = time.monotonic() + seconds
        while True:
            left_s = max(ends_s - time.monotonic(), 0)
            ready = [fileno for fileno, _ in self._poll.poll(left_s * 1000)]
            if self._wake in ready:
                raise Stopping
            if not ready:
                return
            self._receive()

    def request(self) -> tuple[str, dict[str, str], bytes]:
        """The next request: its path, headers and body."""
        self.started_s, self.ended = 0.0, False
        while END_OF_HEAD not in self._unread:
            self._wait_for_bytes()
        start, _, self._unread = self._unread.partition(END_OF_HEAD)
        line, *fields = start.decode("latin-1").split("\r\n")
        pairs = (field.partition(":") for field in fields)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        while len(self._unread) < length:
            self._wait_for_bytes()
        body, self._unread = self._unread[:length], self._unread[length:]
        return line.split(" ")[1], headers, body

    def close(self) -> None:
        self.ended = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self.wait(3600)

    def reset(self) -> None:
        """Close with an RST."""
        self.ended = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
        raise PeerGone

    def _wait_for_bytes(self) -> None:
        ready = [fileno for fileno, _ in self._poll.poll()]
        if self._wake in ready:
            raise Stopping
        self._receive()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(65_536)
            if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
                data += self._sock.recv(self._sock.pending())
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError as exc:
            raise PeerGone from exc
        if not data:
            raise PeerGone
        self._unread += data


class FakeUpstream:
    """The server, for a `with`. Request n is answered by the n-th script, the last one again and again;
    a script may be a function from the request's parsed body to the steps.

    `_changed` guards `requests`, `connections` and the open sockets.
    """

    def __init__(
        self,
        *scripts: Script | Callable[[dict[str, Any]], Script],
        tokens: int | Sequence[str] = 5,
        gap_s: float = 0.0,
        piecewise: int | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.scripts = list(scripts) or [answer(tokens, gap_s=gap_s)]
        self.requests: list[Request] = []
        self.connections = 0
        self.host = host
        self.port = port
        self._piecewise = piecewise
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> FakeUpstream:
        self._listener = socket.create_server((self.host, self.port), backlog=4096)
        self.port = self._listener.getsockname()[1]
        self._waker, self._wake = socket.socketpair()
        self._spawn(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._waker.close()
        with self._changed:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        self._wake.close()
        assert not any(thread.is_alive() for thread in self._threads), "the fake upstream did not end"

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"

    @property
    def calls(self) -> int:
        with self._changed:
            return len(self.requests)

    def until(self, ready: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until what this fake records makes it true; AssertionError if it does not in time."""
        with self._changed:
            assert self._changed.wait_for(ready, timeout_s), "the upstream did not see it in time"

    def asked(self, calls: int = 1, timeout_s: float = 5.0) -> None:
        """Wait for so many requests in all."""
        self.until(lambda: len(self.requests) >= calls, timeout_s)

    def closed_within(self, timeout_s: float, call: int = -1) -> float:
        """The monotonic time at which this request's client closed its connection; waits for it."""
        self.until(lambda: bool(self.requests) and self.requests[call].closed_s is not None, timeout_s)
        closed_s = self.requests[call].closed_s
        assert closed_s is not None
        return closed_s

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while self._wake.fileno() not in [fileno for fileno, _ in poll.poll()]:
            sock, _ = self._listener.accept()
            with self._changed:
                self.connections += 1
                self._open.add(sock)
                number = self.connections
                self._changed.notify_all()
            self._spawn(lambda sock=sock, number=number: self._serve(sock, number))  # type: ignore[misc]

    def _serve(self, raw_sock: socket.socket, number: int) -> None:
        """Answer one connection's requests until either side closes it."""
        sock = raw_sock
        request: Request | None = None
        try:
            raw_sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = self._tls.wrap_socket(raw_sock, server_side=True)
            peer = Peer(sock, self._wake, self._piecewise)
            while True:
                path, headers, body = peer.request()
                request = Request(path, headers, json.loads(body or b"{}"), number, time.monotonic())
                self._play(self._record(request), peer)
                if not peer.ended:
                    peer.close()
        except PeerGone:
            self._note_close(request)
        except (Stopping, OSError):
            pass
        finally:
            with self._changed:
                self._open.discard(raw_sock)
            sock.close()
            raw_sock.close()

    def _play(self, script: Script, peer: Peer) -> None:
        for step in script:
            if isinstance(step, bytes):
                peer.send_body(step)
            else:
                step(peer)

    def _record(self, request: Request) -> Script:
        with self._changed:
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(request)
            self._changed.notify_all()
        return script(request.body) if callable(script) else script

    def _note_close(self, request: Request | None) -> None:
        if request is None:
            return
        with self._changed:
            request.closed_s = time.monotonic()
            self._changed.notify_all()


@contextlib.contextmanager
def never_accepting() -> Iterator[str]:
    """The base URL of a server whose queue is full, so that connecting to it takes for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
