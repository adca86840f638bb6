"""One client of Parley, for what needs no crowd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

PATIENCE_S = 60.0


class Client:
    """Asks one request after another on one connection."""

    def __init__(self, port: int, key: str | None = None) -> None:
        """`key`: a team's."""
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def post(self, path: str, fields: dict[str, object]) -> dict[str, Any]:
        answer = self._send("POST", path, fields)
        found: dict[str, Any] = json.loads(answer.read())
        return found

    def ask(self, script: str, model: str = "demo", **fields: object) -> str:
        """Ask, read the answer to its end; its stream id."""
        answer = self.begin(script, model, **fields)
        answer.read()
        return stream_id_of(answer)

    def begin(self, script: str, model: str = "demo", **fields: object) -> HTTPResponse:
        """Ask; the answer is still to be read."""
        message = f"[[demo {script}]] Say something"
        return self._send(
            "POST", "/api/chat/stream", {"message": message, "model": model, "partial": False, **fields}
        )

    def events(self, path: str, fields: dict[str, object]) -> Iterator[str]:
        """The data of each event of the answer."""
        for line in self._send("POST", path, fields):
            if line.startswith(b"data: "):
                yield line.removeprefix(b"data: ").decode().rstrip("\n")

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, path: str, fields: dict[str, object]) -> HTTPResponse:
        self._connection.request(method, path, json.dumps(fields), self._headers)
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} was refused: {answer.read()!r}")
        return answer


def stream_id_of(answer: HTTPResponse) -> str:
    return answer.headers["X-Stream-Id"]
