"""The shapes of what `/v1` answers, in both of its dialects; a test holds real answers against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from backend.reference.answers import Count, Usage
from backend.reference.schemas import Shape, absent


class OpenAIFault(Shape):
    message: str
    type: str
    param: str | None
    """The field that is wrong, if it is known."""
    code: str
    """What to decide by: ours, or what the model's provider called it."""


class OpenAIError(Shape):
    """A refusal as OpenAI's SDKs read it."""

    error: OpenAIFault


class Completed(Shape):
    """What all chunks of an answer, and the whole of it, begin with."""

    id: Annotated[str, Field(pattern=r"^chatcmpl-[A-Za-z0-9_-]{1,64}$")]
    """`chatcmpl-` and the stream's id."""
    created: Count
    """Seconds since the epoch."""
    model: str
    """The name that was asked for."""


class Said(Shape):
    """What a model says, and whatever else its provider says with it (`reasoning_content` …)."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[dict[str, Any]] = absent()


class Choice(Shape):
    index: Count
    message: Said
    logprobs: dict[str, Any] | None
    finish_reason: str
    """`stop`, also if it was stopped; `length`, `tool_calls`, `content_filter`."""


class ChatCompletion(Completed):
    """The whole answer."""

    object: Literal["chat.completion"]
    choices: list[Choice]
    usage: Usage
    usage_source: Literal["estimate"] = absent()


class Delta(Shape):
    """What is new, as it came from the provider. Empty in the last chunk of a choice."""

    role: Literal["assistant"] = absent()
    """In the first chunk of a choice."""
    content: str | None = absent()
    refusal: str | None = absent()
    tool_calls: list[dict[str, Any]] = absent()


class ChunkChoice(Shape):
    index: Count
    delta: Delta
    logprobs: dict[str, Any] | None
    finish_reason: str | None
    """Null until the last chunk of its choice."""


class ChatCompletionChunk(Completed):
    """A piece of the answer."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    """None in the chunk with the usage."""
    usage: Usage | None = absent()
    """There with `include_usage`, and null but in the last chunk."""
    usage_source: Literal["estimate"] = absent()


class Model(Shape):
    """A model or a group of models that can be asked for."""

    id: str
    object: Literal["model"]
    created: Count
    """When this server started."""
    owned_by: str
    """The upstream it is asked of; `parley` for the built-in one and for groups."""


class ModelList(Shape):
    object: Literal["list"]
    data: list[Model]


class PromptPiece(Shape):
    content: str


class PromptChoice(Shape):
    delta: PromptPiece


class PromptChunk(Shape):
    """The short dialect's piece of text."""

    choices: list[PromptChoice]


class PromptError(Shape):
    """The short dialect's refusal, and its last event when an answer breaks off."""

    error: str
    code: int
