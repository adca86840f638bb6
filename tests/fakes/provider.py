"""A provider that says what it is told to, step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

from backend.chat.ports import Ended, Model, Piece, Prompt
from backend.chat.stop import Stop

Step = Piece | Exception | Callable[[Stop], None]


class Scripted:
    """A `Provider`. Steps are pieces to yield, exceptions to raise, and calls to make with the stop.

    `prompts` are those it was asked; `closed` is set when its stream was closed.
    """

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.prompts: list[Prompt] = []
        self.closed = threading.Event()

    def stream(self, prompt: Prompt, stop: Stop) -> Generator[Piece, None, None]:
        self.prompts.append(prompt)
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if callable(step):
                    step(stop)
                    if stop.requested:
                        return
                else:
                    yield step
        finally:
            self.closed.set()

    def model(self, name: str = "scripted", context_tokens: int = 8192) -> Model:
        return Model(name, self, name, context_tokens)


def saying(text: str) -> Scripted:
    """A provider that says the text, a word a piece, and ends."""
    return Scripted(*([word] for word in text.split(" ")), Ended("stop"))


def until_stopped(stop: Stop) -> None:
    """A step that is silent until it is stopped."""
    assert stop.wait(10.0), "nobody stopped the provider"


def said(role: str, content: str) -> dict[str, str]:
    """A message of a prompt."""
    return {"role": role, "content": content}
