"""LiteLLM's proxy as the upstream of Parley: whether its mock's text comes through."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from bench.asking import Client
from bench.bench import Bench
from bench.servers import COMPLETIONS, MOCK, MOCK_MODEL

QUESTION = "Say something"


def check_mock(bench: Bench, runtime: str) -> dict[str, bool]:
    """By door, whether Parley's answer was the mock's."""
    key = f"sk-{secrets.token_hex(16)}"
    with bench.start("litellm", LITELLM_MASTER_KEY=key) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/v1"
        asked = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key, "OPENAI_MODELS": MOCK_MODEL}
        with bench.start(runtime, **asked) as parley:
            client = Client(parley.port)
            found = {door: text_of(client) == MOCK for door, text_of in DOORS.items()}
            client.close()
    return found


def streamed(client: Client) -> str:
    *chunks, last = client.events(COMPLETIONS, _completion(stream=True))
    deltas = (choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"])
    return "".join(delta.get("content") or "" for delta in deltas) if last == "[DONE]" else ""


def whole(client: Client) -> str:
    text: str = client.post(COMPLETIONS, _completion(stream=False))["choices"][0]["message"]["content"]
    return text


def relayed(client: Client) -> str:
    asked: dict[str, object] = {"message": QUESTION, "model": MOCK_MODEL}
    *events, last = (json.loads(event) for event in client.events("/api/chat/stream", asked))
    return "".join(event.get("token", "") for event in events) if last.get("done") else ""


def _completion(*, stream: bool) -> dict[str, object]:
    return {"model": MOCK_MODEL, "messages": [{"role": "user", "content": QUESTION}], "stream": stream}


DOORS: dict[str, Callable[[Client], str]] = {
    f"POST {COMPLETIONS}, streamed": streamed,
    f"POST {COMPLETIONS}, whole": whole,
    "POST /api/chat/stream": relayed,
}
