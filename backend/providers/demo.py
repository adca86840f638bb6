"""The built-in model: no key, no network, the same answer to the same prompt, at any pace."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import cycle, islice

from backend.chat.context import estimate_turns
from backend.chat.errors import UpstreamError
from backend.chat.events import Usage
from backend.chat.ports import Ended, Piece, Prompt
from backend.chat.stop import Stop
from backend.providers.demo_text import compose

UNPACED_BATCH = 32
STALL_S = 600.0
LEAST = {"tps": 0.1, "ttft": 0.0}
MOST = {"tps": 1e6, "ttft": STALL_S}
"""No message may hold an answer for longer than a stall."""

_TOKEN = re.compile(r"\s*\S{1,9}|\s+")
_DIRECTIVES = re.compile(r"\[\[demo((?:\s+[a-z]+(?:=[0-9.]{1,9})?)*)\s*\]\]\s*")


@dataclass(frozen=True, slots=True)
class Script:
    """What a prompt may ask of the demo model with `[[demo tokens=500 tps=0 fail=20]]`, so that clients
    can be tried on everything that happens to real ones.

    tokens  the answer is repeated and cut to this many
    tps     tokens a second, 0 for as fast as can be
    ttft    seconds before the first token
    fail    an upstream error after this many tokens
    hang    silence after this many tokens
    echo    the answer is the prompt itself
    """

    tokens: int | None = None
    tps: float | None = None
    ttft: float = 0.0
    fail: int | None = None
    hang: int | None = None
    echo: bool = False


def read_script(question: str) -> tuple[Script, str]:
    """A question's script, and the question without it. What is no directive is left as it is."""
    found = _DIRECTIVES.search(question)
    if found is None:
        return Script(), question
    fields: dict[str, float | bool | int] = {}
    for word in found[1].split():
        name, _, value = word.partition("=")
        if name == "echo":
            fields[name] = True
        elif name in LEAST and value.count(".") <= 1 and value.strip("."):
            fields[name] = float(value) and min(max(float(value), LEAST[name]), MOST[name])
        elif name in ("tokens", "fail", "hang") and value.isdigit():
            fields[name] = int(value)
    return Script(**fields), question[: found.start()] + question[found.end() :]  # type: ignore[arg-type]


class Demo:
    """A `Provider`. `tokens_per_second` 0 is as fast as it can."""

    def __init__(self, tokens_per_second: float) -> None:
        self._tokens_per_second = tokens_per_second

    def stream(self, prompt: Prompt, stop: Stop) -> Generator[Piece, None, None]:
        script, question = read_script(prompt.turns[-1].content)
        earlier = [turn.content for turn in prompt.turns[:-1] if turn.role == "user"]
        tokens = _tokens(script, question, earlier, prompt.max_tokens + 1)
        sent = min(len(tokens), prompt.max_tokens)
        rate = self._tokens_per_second if script.tps is None else script.tps
        ends = [end for end in (script.fail, script.hang) if end is not None]
        yield from _paced(tokens[: min([sent, *ends])], rate, script.ttft, stop)
        if stop.requested:
            return
        if script.fail is not None and script.fail <= sent:
            raise UpstreamError("The demo model failed, as its script says")
        if script.hang is not None and script.hang <= sent:
            stop.wait(STALL_S)
            return
        usage = Usage(read := estimate_turns(prompt.turns), sent, read + sent)
        yield Ended("stop" if sent == len(tokens) else "length", usage)


def _tokens(script: Script, question: str, earlier: list[str], at_most: int) -> list[str]:
    text = question if script.echo else compose(question, earlier)
    tokens = _TOKEN.findall(text)
    if script.tokens is None or not tokens:
        return tokens
    return list(islice(cycle(tokens), min(script.tokens, at_most)))


def _paced(tokens: list[str], rate: float, ttft_s: float, stop: Stop) -> Generator[Piece, None, None]:
    """Token n is due n/rate seconds after the first. All that is due goes at once, so that a busy server
    falls behind for a moment and not for good."""
    if stop.wait(ttft_s):
        return
    if rate <= 0:
        for start in range(0, len(tokens), UNPACED_BATCH):
            yield [*tokens[start : start + UNPACED_BATCH]]
        return
    started_s = time.monotonic()
    sent = 0
    while sent < len(tokens):
        due = int((time.monotonic() - started_s) * rate) + 1
        if due > sent:
            yield [*tokens[sent:due]]
            sent = due
        if sent < len(tokens) and stop.wait(max(0.0, started_s + sent / rate - time.monotonic())):
            return
