"""How much of a conversation a model is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.chat.events import texts_in
from backend.chat.sessions import Message

BYTES_PER_TOKEN = 4
TURN_OVERHEAD = 4
MEDIA_TOKENS = 765
"""Of an image, a sound or a file where nobody says: OpenAI's count for a picture of 1024 × 1024."""
UNREAD = frozenset(
    {"model", "user", "metadata", "stream_options", "stop", "seed", "tool_choice", "function_call", "store",
     "service_tier", "modalities", "reasoning_effort", "verbosity", "safety_identifier", "prompt_cache_key",
     "logit_bias"}
)  # fmt: skip
"""Parameters that no model reads; what is not known is taken to be read."""


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
    """All that a model is given to read, wherever it stands; images, sounds and files are no text."""
    said = [text for message in messages for text in texts_of_message(message)]
    read = [value for name, value in options.items() if name not in UNREAD]
    return "\n".join([*said, *texts_in(read, keys=True)])


def texts_of_message(message: Mapping[str, Any]) -> Iterator[str]:
    yield text_of_message(message)
    for name, value in message.items():
        if name not in ("role", "content", "tool_call_id"):
            yield from texts_in(value)


def media_in(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many parts of the messages are no text."""
    parts = [part for message in messages for part in as_list(message.get("content"))]
    return sum(not isinstance(part, Mapping) or part.get("type") not in (None, "text") for part in parts)


def as_list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def count_prompt(
    messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any], count: Callable[[str], int]
) -> int:
    """The tokens of a prompt as far as they can be known here; `count` is for text."""
    around = TURN_OVERHEAD * len(messages) + MEDIA_TOKENS * media_in(messages)
    return count(text_of_prompt(messages, options)) + around
