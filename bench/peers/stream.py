"""FastAPI that streams a made-up answer: what `POST /api/chat/stream` costs without sessions or resuming."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench.peers.serving import serve

WORDS = ["The", " answer", " grows", " word", " by", " word", ",", " and"]
BURST = 32
"""Tokens that an unpaced answer gets before the next one has its turn."""


def read_script(message: str) -> tuple[int, float]:
    """Tokens, and tokens a second, of `[[demo tokens=100 tps=30]]`."""
    fields = dict(re.findall(r" (\w+)=([0-9.]+)", message))
    return int(fields.get("tokens", 100)), float(fields.get("tps", 0))


async def events(tokens: int, rate: float) -> AsyncIterator[str]:
    began_s = time.monotonic()
    for number in range(tokens):
        if rate:
            await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        elif number % BURST == 0:
            await asyncio.sleep(0)
        yield f"data: {json.dumps({'token': WORDS[number % 8], 'count': number + 1})}\n\n"
    yield f"data: {json.dumps({'done': True, 'tokens': tokens})}\n\n"


async def ask(body: dict[str, Any]) -> StreamingResponse:
    return StreamingResponse(events(*read_script(body["message"])), media_type="text/event-stream")


app = FastAPI()
app.add_api_route("/api/chat/stream", ask, methods=["POST"], response_model=None)

if __name__ == "__main__":
    serve(app)
