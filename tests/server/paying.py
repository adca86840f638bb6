"""What teams ask, at each door that takes their keys, and of an upstream that is paid by the token."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backend.ledger.records import Call, Terms
from backend.providers.tokens import token_counter
from tests.servers import PATIENCE_S, Server

WORD = "word"
TOKENS = Terms("consumption_tokens", tokens_per_credit=1)
"""A credit a token: what was charged is what was counted."""
PLENTY = 1_000_000
PRICES = """
[model.weak]
price = { input = 1.0, output = 2.0 }

[model.strong]
price = { input = 10.0, output = 20.0 }

[model.demo]
price = { input = 1.0, output = 2.0 }
"""
count_tokens = token_counter("o200k_base")

Asking = tuple[str, dict[str, Any]]
"""A path and a body."""


def words(count: int) -> list[str]:
    """An answer of so many pieces, which can be counted in what a door makes of it."""
    return [f"{WORD}{number} " for number in range(count)]


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def by_call(text: str, job_id: str, model: str = "weak") -> Asking:
    return f"/api/jobs/{job_id}/llm-call-stream", {"model": model, "messages": messages(text)}


def by_v1(text: str, job_id: str = "", model: str = "weak") -> Asking:
    return "/v1/chat/completions", {"model": model, "messages": messages(text), "stream": True}


def by_chat(text: str, job_id: str = "", model: str = "weak") -> Asking:
    return "/api/chat/stream", {"message": text, "model": model, "partial": False}


def by_whole_call(text: str, job_id: str, model: str = "weak") -> Asking:
    return f"/api/jobs/{job_id}/llm-call", {"model": model, "messages": messages(text)}


def by_whole_job(text: str, job_id: str = "", model: str = "weak") -> Asking:
    return "/api/jobs/create-and-call", {"job_type": "whole", "model": model, "messages": messages(text)}


def by_whole_v1(text: str, job_id: str = "", model: str = "weak") -> Asking:
    return "/v1/chat/completions", {"model": model, "messages": messages(text)}


STREAMED: dict[str, Callable[..., Asking]] = {"call": by_call, "v1": by_v1, "chat": by_chat}
WHOLE: dict[str, Callable[..., Asking]] = {
    "whole call": by_whole_call,
    "whole job": by_whole_job,
    "whole v1": by_whole_v1,
}
OF_A_JOB = ("call", "whole call")
"""Doors whose questions are calls of a job that there is."""


class Raw:
    """A question on a socket of its own, which is read piece by piece and can be cut at any."""

    def __init__(self, server: Server, key: str, asking: Asking, **headers: str) -> None:
        path, body = asking
        data = json.dumps(body).encode()
        lines = [
            f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close",
            f"Authorization: Bearer {key}", f"Content-Length: {len(data)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]  # fmt: skip
        self.seen = b""
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + data)

    @property
    def words(self) -> int:
        return self.seen.count(WORD.encode())

    @property
    def stream_id(self) -> str:
        found = re.search(rb"(?i)^x-stream-id: (\S+)\r$", self.read(lambda: b"\r\n\r\n" in self.seen), re.M)
        assert found is not None, self.seen
        return found[1].decode()

    def take(self, count: int) -> None:
        """Read until so many words are there."""
        self.read(lambda: self.words >= count)
        assert self.words == count, self.seen

    def rest(self) -> bytes:
        """All of it, to its end."""
        while data := self._socket.recv(65_536):
            self.seen += data
        return self.seen

    def read(self, enough: Callable[[], bool]) -> bytes:
        while not enough():
            data = self._socket.recv(65_536)
            assert data, self.seen
            self.seen += data
        return self.seen

    def leave(self) -> None:
        self._socket.close()


@contextmanager
def asked(server: Server, key: str, asking: Asking, **headers: str) -> Iterator[Raw]:
    raw = Raw(server, key, asking, **headers)
    try:
        yield raw
    finally:
        raw.leave()


def check(call: Call, text: str, prices: tuple[int, int] = (1, 2)) -> None:
    """It is recorded as what this text takes, by our own count, and at these prices."""
    prompt_price, price = prices
    assert call.completion_tokens == count_tokens(text)
    assert call.prompt_tokens > 0
    assert call.micro_usd == prompt_price * call.prompt_tokens + price * call.completion_tokens
