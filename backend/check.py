"""`python -m backend check [URL]`: one question to a running server over each of its doors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3

QUESTION = "Explain in a few words how a streamed answer reaches a browser"
TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)


@dataclass(slots=True)
class Finding:
    """What asking over one door came to; `problem` is empty when all was well."""

    door: str
    status: str = "-"
    chunks: int = 0
    chars: int = 0
    ttft_ms: float = 0.0
    per_second: float = 0.0
    problem: str = ""


def run(url: str) -> int:
    """Ask, print a table, and give the exit code: 0 when every door passed."""
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        print(f"{url!r} is no address; give one such as http://127.0.0.1:5000")
        return 2
    findings = [
        _ask("sse", f"{url}/api/chat/stream", {"message": QUESTION, "partial": False}, _chat_text),
        _ask(
            "openai prompt", f"{url}/v1/chat/completions", {"prompt": QUESTION, "stream": True}, _prompt_text
        ),
    ]
    print(f"{'door':<14} {'status':>6} {'chunks':>7} {'chars':>7} {'first ms':>9} {'tokens/s':>9}  result")
    for found in findings:
        result = f"FAIL: {found.problem}" if found.problem else "pass"
        print(
            f"{found.door:<14} {found.status:>6} {found.chunks:>7} {found.chars:>7}"
            f" {found.ttft_ms:>9.1f} {found.per_second:>9.1f}  {result}"
        )
    return 1 if any(found.problem for found in findings) else 0


def _ask(door: str, url: str, body: dict[str, Any], text_of: Callable[[str], str | None]) -> Finding:
    """`text_of` gives an event's text, None for the end, and raises ValueError for an error event."""
    found = Finding(door)
    started_s = time.monotonic()
    try:
        response = urllib3.request(
            "POST", url, json=body, timeout=TIMEOUT, retries=False, preload_content=False, redirect=False
        )
        found.status = str(response.status)
        if response.status != 200:
            found.problem = response.read(500).decode("utf-8", "replace")
            return found
        for data in _events(response.stream(65536)):
            text = text_of(data)
            if text is None:
                return _judged(found, time.monotonic() - started_s)
            found.ttft_ms = found.ttft_ms or (time.monotonic() - started_s) * 1000
            found.chunks += 1
            found.chars += len(text)
        found.problem = "the stream ended before the answer did"
    except urllib3.exceptions.HTTPError as exc:
        found.problem = f"no answer from {url}: {_reason(exc)}"
    except ValueError as exc:
        found.problem = str(exc)
    return found


def _reason(exc: urllib3.exceptions.HTTPError) -> str:
    if isinstance(exc, urllib3.exceptions.NameResolutionError):
        return "there is no such host"
    if isinstance(exc, urllib3.exceptions.NewConnectionError):
        return "nothing listens there"
    if isinstance(exc, urllib3.exceptions.TimeoutError):
        return "it took too long"
    return "the line broke"


def _judged(found: Finding, took_s: float) -> Finding:
    writing_s = took_s - found.ttft_ms / 1000
    found.per_second = found.chunks / writing_s if writing_s > 0 else 0.0
    if not found.chars:
        found.problem = "the answer was empty"
    return found


def _events(pieces: Iterator[bytes]) -> Iterator[str]:
    """The data of each event."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield line[6:].decode()


def _chat_text(data: str) -> str | None:
    event = json.loads(data)
    if "error" in event:
        raise ValueError(event["error"])
    return None if event.get("done") else event["token"]


def _prompt_text(data: str) -> str | None:
    if data == "[DONE]":
        return None
    event = json.loads(data)
    if "error" in event:
        raise ValueError(event["error"])
    text: str = event["choices"][0]["delta"]["content"]
    return text
