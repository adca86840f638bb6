"""The built-in model: no key, no network, the same answer to the same prompt, at any pace."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from backend.chat.context import count_prompt, estimate_tokens, text_of_message
from backend.chat.errors import UpstreamError
from backend.chat.events import Delta, Entry, Usage, size_of
from backend.chat.ports import Ended, Piece, Prompt
from backend.chat.stop import Stop
from backend.providers.demo_calls import call_of, json_of
from backend.providers.demo_text import compose, keywords

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
        asked = [text_of_message(message) for message in prompt.messages if message.get("role") == "user"]
        script, question = read_script(asked.pop() if asked else "")
        answer, reason = _answer(prompt, script, question, asked)
        begun = tokens_in(prompt.partial, answer)
        tokens = answer[begun:]
        sent = min(len(tokens), prompt.max_tokens)
        choices = prompt.options.get("n") or 1
        rate = self._tokens_per_second if script.tps is None else script.tps
        ends = [max(0, end - begun) for end in (script.fail, script.hang) if end is not None]
        for due in _paced(tokens[: min([sent, *ends])], rate, script.ttft, stop):
            yield due if choices == 1 else [piece for token in due for piece in _for_all(token, choices)]
        if stop.requested:
            return
        if script.fail is not None and script.fail <= begun + sent:
            raise UpstreamError("The demo model failed, as its script says")
        if script.hang is not None and script.hang <= begun + sent:
            stop.wait(STALL_S)
            return
        read = count_prompt(prompt.messages, prompt.options, estimate_tokens)
        usage = Usage(read, sent * choices, read + sent * choices)
        reason = reason if sent == len(tokens) else "length"
        if choices > 1:
            yield [Delta("", {"index": index, "finish_reason": reason}) for index in range(1, choices)]
        yield Ended(reason, usage)


def _answer(prompt: Prompt, script: Script, question: str, earlier: list[str]) -> tuple[Sequence[Entry], str]:
    """The answer, a token a piece, and how it ends when it is not cut."""
    words = keywords(question)
    if not script.echo and (call := call_of(prompt, words)):
        return call, "tool_calls"
    text = question if script.echo else json_of(prompt, words, question) or compose(question, earlier)
    tokens = _TOKEN.findall(until_any(text, prompt.options.get("stop")))
    if script.tokens is None or not tokens:
        return tokens, "stop"
    most = len(prompt.partial) + prompt.max_tokens + 1
    return list(islice(cycle(tokens), min(script.tokens, most))), "stop"


def tokens_in(partial: str, answer: Sequence[Entry]) -> int:
    """How many tokens of the answer stand in the beginning of it."""
    left = len(partial)
    for number, token in enumerate(answer):
        if left <= 0:
            return number
        left -= size_of(token)
    return len(answer)


def until_any(text: str, ends: Any) -> str:
    """The text up to the first of its stop sequences."""
    ends = [ends] if isinstance(ends, str) else ends if isinstance(ends, list) else []
    found = [at for end in ends if isinstance(end, str) and end and (at := text.find(end)) >= 0]
    return text[: min(found)] if found else text


def _for_all(token: Entry, choices: int) -> Iterator[Entry]:
    """The same for every choice."""
    yield token
    said = {"content": token} if isinstance(token, str) else token.extra
    yield from (Delta("", {"index": index, **said}) for index in range(1, choices))


def _paced(
    tokens: Sequence[Entry], rate: float, ttft_s: float, stop: Stop
) -> Generator[list[Entry], None, None]:
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
