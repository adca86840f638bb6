"""How much of a conversation a model is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.chat.events import texts_in
from backend.chat.sessions import Message

BYTES_PER_TOKEN = 4
TURN_OVERHEAD = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """One message for a model: `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: its UTF-8 bytes by four, rounded up.

    English runs at roughly four characters a token, other scripts at fewer characters of more bytes.
    """
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def estimate_turns(turns: Sequence[Turn]) -> int:
    """About how many tokens a prompt is; each turn costs a few for its role and separators."""
    return sum(estimate_tokens(turn.content) + TURN_OVERHEAD for turn in turns)


def exchanges(history: Sequence[Message]) -> list[tuple[Turn, Turn]]:
    """Questions paired with what was answered, oldest first; questions that got no text are left out."""
    pairs = []
    question: Message | None = None
    for message in history:
        if message.role == "user":
            question = message
        elif question is not None and message.content:
            pairs.append((Turn("user", question.content), Turn("assistant", message.content)))
            question = None
    return pairs


def fit(
    system: str | None, history: Sequence[Message], question: str, budget_tokens: int
) -> tuple[list[Turn], int]:
    """The turns to send and how many messages of the history did not fit.

    The system prompt and the question always go; of the history whole exchanges, newest first, while
    the estimate stays within `budget_tokens`.
    """
    head = [Turn("system", system)] if system else []
    last = Turn("user", question)
    left = budget_tokens - estimate_turns([*head, last])
    pairs = exchanges(history)
    kept = 0
    for pair in reversed(pairs):
        left -= estimate_turns(pair)
        if left < 0:
            break
        kept += 1
    shown = pairs[len(pairs) - kept :]
    return [*head, *(turn for pair in shown for turn in pair), last], 2 * (len(pairs) - kept)


def text_of_message(message: Mapping[str, Any]) -> str:
    """The text of a message in OpenAI's terms, whose content may be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def text_of_prompt(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """All that a model is given to read; images and sounds are no text."""
    said = [text for message in messages for text in (text_of_message(message), *calls_in(message))]
    schemas = [options.get(name) for name in ("tools", "response_format")]
    return "\n".join([*said, *texts_in(schemas, keys=True)])


def calls_in(message: Mapping[str, Any]) -> Iterator[str]:
    return texts_in(message.get("tool_calls"))
