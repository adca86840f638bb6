"""A TCP line to a server that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

QUESTION = b"POST /api/chat/stream "


class Line:
    """Forwards bytes both ways. `_guard` guards the open sockets and what is to be lost."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._lose_next_answer = False
        self.lost_answers = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection there is; new ones work."""
        with self._guard:
            broken, self._open = self._open, set()
        for sock in broken:
            _break(sock)

    def lose_next_answer(self) -> None:
        """Let the next question through and break the line before a byte of its answer comes back."""
        with self._guard:
            self._lose_next_answer = True

    def close(self) -> None:
        _break(self._listener)
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                with self._guard:
                    self._open |= {client, server}
                asked = threading.Event()
                for work in (self._up, self._down):
                    threading.Thread(target=work, args=(client, server, asked), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if QUESTION in data:
                    asked.set()
                server.sendall(data)
        _break(server)

    def _down(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if asked.is_set() and self._takes_this_one():
                    break
                client.sendall(data)
        _break(client)
        _break(server)

    def _takes_this_one(self) -> bool:
        with self._guard:
            lost, self._lose_next_answer = self._lose_next_answer, False
            self.lost_answers += lost
        return lost


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    line = Line(port)
    try:
        yield line
    finally:
        line.close()


def _break(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
