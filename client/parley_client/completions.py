"""Chat completions in OpenAI's shape, whole and in chunks."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from parley_client.reading import Reading


class Usage(Reading):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Said(Reading):
    """What the model says: a whole message, or the next piece of one."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(Reading):
    index: int = 0
    message: Said
    finish_reason: str | None = None


class Completion(Reading):
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[Choice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """Of the first choice."""
        return (self.choices[0].message.content or "") if self.choices else ""


class ChunkChoice(Reading):
    index: int = 0
    delta: Said = Field(default_factory=Said)
    finish_reason: str | None = None


class Chunk(Reading):
    """The last one may have no choices, and the usage."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[ChunkChoice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """Of the first choice."""
        return "".join(choice.delta.content or "" for choice in self.choices if choice.index == 0)
