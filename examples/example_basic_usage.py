"""A job from its making to its bill: two calls of a model, one charge.

python examples/example_basic_usage.py
"""

from __future__ import annotations

import asyncio
import sys

from typed_client import JobResult, ParleyError, SaaSLLMClient, settings


async def main(api_url: str, virtual_key: str, team_id: str) -> None:
    async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
        job_id = await client.create_job("review", user_id="user-1", metadata={"document": "haiku.txt"})
        print(f"job {job_id}")
        try:
            poem = await client.chat(
                model_group="chat-smart",
                messages=[{"role": "user", "content": "Write a haiku about rivers"}],
                purpose="draft",
            )
            print(f"\ndraft: {poem.text}")
            verdict = await client.chat(
                model_group="chat-fast",
                messages=[
                    {"role": "system", "content": "You are a strict editor. Answer in one sentence."},
                    {"role": "user", "content": poem.text},
                ],
                max_tokens=60,
                purpose="review",
            )
            print(f"\nreview: {verdict.text}")
        except ParleyError as error:
            # A failed job costs nothing; what it holds of the team's credits is free again.
            await client.complete_job("failed", error_message=error.message)
            raise
        print_bill(await client.complete_job())


def print_bill(result: JobResult) -> None:
    print(f"\nbill of {result.job_id}: {result.status}")
    for call in result.calls:
        print(f"  {call.purpose}: {call.tokens} tokens of {call.model_group} in {call.latency_ms:.0f} ms")
    costs = result.costs
    print(f"  together: {costs.total_tokens} tokens, {costs.total_cost_usd:.6f} USD")
    print(f"  credits left: {result.credits_remaining}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*settings()))
    except ParleyError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
