"""Questions whose answers are scripted, each for itself, on one upstream that many tests share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes.upstream import DONE, FakeUpstream, Request, Script, Step, chunk, end, finish, head, usage


def said(*pieces: Step, reason: str = "stop", used: bytes | None = None) -> list[Step]:
    """A good answer of these chunks."""
    return [head(), *pieces, finish(reason), used or usage(), DONE, end()]


def calls(name: str, pieces: Sequence[str], index: int = 0) -> list[bytes]:
    """The chunks of a tool call whose arguments come in these pieces."""
    start = {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        chunk(role="assistant", content=None, tool_calls=[{"index": index, **start}]),
        *(chunk(tool_calls=[{"index": index, "function": {"arguments": piece}}]) for piece in pieces),
    ]


class Question:
    """The n-th time it is asked, the n-th script answers, the last one again and again."""

    def __init__(self, upstream: FakeUpstream, text: str, scripts: Sequence[Script]) -> None:
        self.text = text
        self._upstream = upstream
        self._scripts = scripts

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [{"role": "user", "content": self.text}]

    @property
    def requests(self) -> list[Request]:
        return [request for request in self._upstream.requests if asked_in(request.body) == self.text]

    @property
    def calls(self) -> int:
        return len(self.requests)

    @property
    def body(self) -> dict[str, Any]:
        """What the upstream was asked, the last time."""
        return self.requests[-1].body

    def closed_s(self, within_s: float = 5.0) -> float:
        """When the client of the last call closed its connection; waits for it."""
        self._upstream.until(lambda: self.calls > 0 and self.requests[-1].closed_s is not None, within_s)
        return self.requests[-1].closed_s or 0.0

    def script(self) -> Script:
        return self._scripts[min(self.calls, len(self._scripts)) - 1]


class Questions:
    """The upstream, for a `with`."""

    def __init__(self) -> None:
        self.upstream = FakeUpstream(lambda body: self._known[asked_in(body)].script())
        self._known: dict[str, Question] = {}

    def __enter__(self) -> Questions:
        self.upstream.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.upstream.__exit__(*exc)

    def new(self, *scripts: Script) -> Question:
        text = f"question {len(self._known) + 1}"
        self._known[text] = Question(self.upstream, text, scripts)
        return self._known[text]


def asked_in(body: dict[str, Any]) -> str:
    """The text of the first message of the user's: what follows may be a client's own."""
    return next(message["content"] for message in body["messages"] if message["role"] == "user")
