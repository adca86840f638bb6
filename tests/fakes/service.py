"""A small application on the real HTTP server, as a process: `python -m tests.fakes.service`.

It prints its port, and is for what Parley's own doors never do.
"""

from __future__ import annotations

import os
from pathlib import Path

from backend import runtime

green = runtime.start(os.environ, Path("/nowhere"))

import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import suppress  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import unquote  # noqa: E402

from tests.servers import Service  # noqa: E402

closed: list[str] = []
Start = Callable[..., Callable[[bytes], None]]


def pieces(name: str, *said: bytes, then: Exception | None = None) -> Iterator[bytes]:
    """A streamed body that may break at its end, and notes that it was closed."""
    try:
        yield from said
        if then is not None:
            raise then
    finally:
        closed.append(name)


def told(environ: dict[str, Any], start: Start) -> list[bytes]:
    environ["wsgi.input"].read()
    said = {name: value for name, value in environ.items() if isinstance(value, str)}
    return whole(start, json.dumps(said).encode())


def whole(start: Start, body: bytes, *fields: tuple[str, str]) -> list[bytes]:
    start("200 OK", [("Content-Length", str(len(body))), *fields])
    return [body]


def streamed(start: Start, name: str, *said: bytes, then: Exception | None = None) -> Iterator[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return pieces(name, *said, then=then)


def forged(environ: dict[str, Any], start: Start) -> list[bytes]:
    return whole(start, b"forged", ("X-Given", unquote(environ["QUERY_STRING"])))


def lied(start: Start, length: int) -> list[bytes]:
    start("200 OK", [("Content-Length", str(length))])
    return [b"12345"]


def lazy(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    """Starts its answer only when its body is asked for, and changes its mind."""
    start("200 OK", [])
    try:
        raise KeyError("on second thought")
    except KeyError:
        start("418 I'm a teapot", [], sys.exc_info())
    yield b"late"


def written(environ: dict[str, Any], start: Start) -> list[bytes]:
    write = start("200 OK", [])
    write(b"one ")
    return [b"two"]


def waiting(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    """One piece, and the next when the client has gone."""
    start("200 OK", [])
    yield b"first"
    while not environ["parley.client_gone"]():
        green.sleep(0.01)
    closed.append("gone")


def endless(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("200 OK", [])
    try:
        while True:
            yield b"x" * 1000
    finally:
        closed.append("endless")


def broken(environ: dict[str, Any], start: Start) -> list[bytes]:
    raise KeyError("secret of the inside")


def echo(websocket: Any) -> None:
    while (message := websocket.wait()) is not None:
        websocket.send(message)


def push(websocket: Any) -> None:
    """Sends without end beside the waiting that answers pings."""

    def pushing() -> None:
        with suppress(OSError):
            for n in range(Service.PUSHES):
                websocket.send(f"{n} " + "x" * 20_000)
                green.sleep(0)
        websocket.close()

    green.spawn(pushing)
    while websocket.wait() is not None:
        pass


def leave(websocket: Any) -> None:
    """Somebody else closes while one waits."""
    green.spawn(websocket.close)
    closed.append(f"left with {websocket.wait()}")
    try:
        websocket.send("too late")
    except OSError:
        closed.append("could not send")


def fail(websocket: Any) -> None:
    websocket.wait()
    raise KeyError("secret of the inside")


def talk(handler: Callable[[Any], None]) -> Callable[[dict[str, Any], Start], Any]:
    return runtime.WebSocketWSGI(handler, SimpleNamespace(max_http_buffer_size=Service.MAX_MESSAGE_BYTES))


ROUTES: dict[str, Callable[[dict[str, Any], Start], Any]] = {
    "/environ": told,
    "/closed": lambda environ, start: whole(start, json.dumps(closed).encode()),
    "/streamed": lambda environ, start: streamed(start, "streamed", b"a", b"", b"bc"),
    "/empty": lambda environ, start: streamed(start, "empty"),
    "/breaks-late": lambda environ, start: streamed(start, "late", b"some", then=KeyError("inside")),
    "/breaks-at-once": lambda environ, start: streamed(start, "once", then=KeyError("inside")),
    "/breaks": broken,
    "/never-starts": lambda environ, start: [b"x"],
    "/forged": forged,
    "/too-long": lambda environ, start: lied(start, 3),
    "/too-short": lambda environ, start: lied(start, 9),
    "/lazy": lazy,
    "/written": written,
    "/waiting": waiting,
    "/endless": endless,
    "/nothing": lambda environ, start: (start("204 No Content", []), [b""])[1],
    "/ws/echo": talk(echo),
    "/ws/push": talk(push),
    "/ws/leave": talk(leave),
    "/ws/fail": talk(fail),
}


def app(environ: dict[str, Any], start: Start) -> Any:
    return ROUTES[environ["PATH_INFO"]](environ, start)


logging.basicConfig(level="DEBUG", format="%(levelname)s %(message)s")
listener = runtime.listen(os.environ.get("HOST", "127.0.0.1"), 0)
server = runtime.HttpServer(app, listener, runtime.Bounds(1_000_000, head_s=1.0, body_s=1.0), green)
print(listener.getsockname()[1], flush=True)
server.run()
