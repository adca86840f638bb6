"""FastAPI that relays an OpenAI-compatible upstream with httpx, token by token, and keeps nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench.peers.serving import serve

ADDRESS = os.environ.get("OPENAI_BASE_URL", "")

# httpx's own limit of 100 connections would make the others wait.
client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))


async def events(message: str) -> AsyncIterator[str]:
    asked = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": message}]}
    count = 0
    async with client.stream("POST", f"{ADDRESS}/chat/completions", json=asked) as answer:
        async for line in answer.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            choices = json.loads(line[6:])["choices"]
            text = choices[0]["delta"].get("content") if choices else None
            if text:
                count += 1
                yield f"data: {json.dumps({'token': text, 'count': count})}\n\n"
    yield f"data: {json.dumps({'done': True, 'tokens': count})}\n\n"


async def ask(body: dict[str, Any]) -> StreamingResponse:
    return StreamingResponse(events(body["message"]), media_type="text/event-stream")


app = FastAPI()
app.add_api_route("/api/chat/stream", ask, methods=["POST"], response_model=None)

if __name__ == "__main__":
    serve(app)
