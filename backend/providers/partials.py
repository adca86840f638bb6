"""Asking an upstream for the rest of an answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.chat.events import Entry
from backend.chat.log import text_of
from backend.chat.ports import Piece, Prompt


@dataclass(frozen=True, slots=True)
class Way:
    """What stands beside the beginning in its message, and what beside the messages. `trimmed`: it is given
    without the white space it ends with, which some refuse. `repeats`: the beginning comes again."""

    beside: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    trimmed: bool = False
    repeats: bool = False


WAYS: Mapping[str, Way] = {
    "prefill": Way(trimmed=True),
    "prefix": Way({"prefix": True}),
    "repeated_prefix": Way({"prefix": True}, repeats=True),
    "continue_final_message": Way(options={"continue_final_message": True, "add_generation_prompt": False}),
}
"""Anthropic's models and OpenRouter; DeepSeek; Mistral; vLLM and SGLang."""


def asked(name: str | None, prompt: Prompt) -> Mapping[str, Any]:
    """The fields of the request that differ from one for a whole answer."""
    way = WAYS[name or "prefill"]
    begun = prompt.partial.rstrip() if way.trimmed else prompt.partial
    if not begun:
        return {}
    message = {"role": "assistant", "content": begun, **way.beside}
    return {"messages": [*prompt.messages, message], **way.options}


def rest(name: str | None, partial: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """What comes of it, without what is there already."""
    way = WAYS[name or "prefill"]
    there = partial if way.repeats else partial[len(partial.rstrip()) :] if way.trimmed else ""
    return without(there, pieces) if there else pieces


def without(there: str, pieces: Iterator[Piece]) -> Generator[Piece, None, None]:
    """The pieces without a text that they may begin with; one that only seems to come is given back as soon
    as it shows that it is another."""
    held: list[Entry] = []
    left = there
    for piece in pieces:
        if not isinstance(piece, list) or not left:
            yield piece
            continue
        given: list[Entry] = []
        for entry in piece:
            text = text_of(entry)
            if not left:
                given.append(entry)
            elif left.startswith(text) and entry.__class__ is str:
                held.append(entry)
                left = left[len(text) :]
            elif text.startswith(left) and entry.__class__ is str:
                given.append(text[len(left) :])
                left = ""
            else:
                given += [*held, entry]
                left = ""
        if not left:
            held = []
        if given:
            yield given
