"""Answers that are instances of Pydantic models: a person, a resume, a sentiment; whole, and while they grow.

    python examples/example_structured_outputs.py

The built-in model fills any schema, with made-up values: what is shown is the form, not sense.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Literal

from pydantic import BaseModel, Field

from typed_client import ParleyError, SaaSLLMClient, settings

GROUP = "chat-fast"


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=150)
    occupation: str | None = None


class Position(BaseModel):
    company: str
    title: str
    years: int = Field(ge=0)


class Resume(BaseModel):
    name: str
    email: str
    skills: list[str]
    positions: list[Position]


class Sentiment(BaseModel):
    sentiment: Literal["positive", "neutral", "negative"]
    confidence: float = Field(ge=0, le=1)
    because: str


PERSON = "Ada Lovelace, 36, a mathematician, lives in London."
RESUME = "Grace Hopper: compilers, COBOL. Ten years at Remington Rand, three at Harvard. grace@example.com"
OPINION = "It answers at once and never loses a word. I love it."


def asked(task: str, text: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": task}, {"role": "user", "content": text}]


async def person(client: SaaSLLMClient) -> None:
    """Whole: one call, one instance; an answer that is not valid is asked for again."""
    found = await client.structured_output(
        model_group=GROUP, messages=asked("Who is it?", PERSON), response_model=Person, purpose="person"
    )
    print(f"person: {found.name}, {found.age}")


async def resume(client: SaaSLLMClient) -> None:
    """While it grows: fields that are not there yet are None, the last instance is valid."""
    stream = client.structured_output_stream(
        GROUP, asked("Extract the resume.", RESUME), Resume, purpose="resume"
    )
    steps = 0
    async for growing in stream:
        steps += 1
        print(f"resume, step {steps}: {growing.model_dump_json(exclude_none=True)}")
    if stream.value:
        print(f"resume: {stream.value.name}, {len(stream.value.positions)} positions")


async def sentiment(client: SaaSLLMClient) -> None:
    """With what every attempt cost."""
    result = await client.structured_result(
        GROUP, asked("How does the writer feel?", OPINION), Sentiment, purpose="sentiment"
    )
    value = result.value
    print(f"sentiment: {value.sentiment} ({value.confidence:.0%}), because {value.because}")
    print(f"  {len(result.attempts)} attempt, {result.tokens} tokens, {result.cost_usd:.6f} USD")


async def main(api_url: str, virtual_key: str, team_id: str) -> None:
    async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
        await client.create_job("extraction")
        try:
            await person(client)
            await resume(client)
            await sentiment(client)
        except ParleyError as error:
            await client.complete_job("failed", error_message=error.message)
            raise
        result = await client.complete_job()
        print(f"{result.total_calls} calls, one bill; credits left: {result.credits_remaining}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*settings()))
    except ParleyError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
