"""An answer on the screen while it is written, and then its bill.

python examples/example_streaming.py "Why is the sky blue?"
"""

from __future__ import annotations

import asyncio
import sys

from typed_client import ParleyError, SaaSLLMClient, settings


async def main(api_url: str, virtual_key: str, team_id: str, question: str) -> None:
    async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
        await client.create_job("chat")
        try:
            # A line that breaks is made anew, and the loop goes on at the very next token.
            async for chunk in client.chat_stream(
                model_group="chat-fast",
                messages=[{"role": "user", "content": question}],
                stream_options={"include_usage": True},
            ):
                if chunk.choices and "content" in chunk.choices[0].delta:
                    print(chunk.choices[0].delta["content"], end="", flush=True)
                if chunk.usage:
                    print(f"\n\n{chunk.usage.prompt_tokens} tokens in, {chunk.usage.completion_tokens} out")
        except ParleyError as error:
            await client.complete_job("failed", error_message=error.message)
            raise
        result = await client.complete_job()
        print(f"{result.costs.total_cost_usd:.6f} USD; credits left: {result.credits_remaining}")


if __name__ == "__main__":
    asked = " ".join(sys.argv[1:]) or "Hello"
    try:
        asyncio.run(main(*settings(), asked))
    except ParleyError as error:
        sys.exit(f"{type(error).__name__}: {error.message}")
