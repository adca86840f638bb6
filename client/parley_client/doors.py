"""Where each kind of stream is asked for, how one comes back to it, and what its events mean.

This is all that a client knows of the routes of streams; `Cursor` does the rest for every one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from parley_client.chat import ChatEvent, Done, Reset, Token
from parley_client.completions import Chunk
from parley_client.errors import BadAnswer
from parley_client.reading import read
from parley_client.requests import IDEMPOTENCY_KEY, Request, path_of
from parley_client.verdicts import failure

T = TypeVar("T")

LAST_EVENT_ID = "Last-Event-ID"
STREAM_ID = "X-Stream-Id"
SESSION_ID = "X-Session-Id"
QUESTION_ID = "X-Question-Id"
CALL_ID = "X-Call-Id"
RESUMABLE = {"X-Stream-Resume": "1"}
_STREAM = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
"""Compressed, events would be held back until there is enough of them."""


@dataclass(frozen=True, slots=True)
class Meaning(Generic[T]):
    """What an event says: something for the reader, that it is the last, or both. `back_to` is the number of
    an event that the reader is set back to."""

    item: T | None = None
    is_last: bool = False
    back_to: int | None = None


@dataclass(frozen=True, slots=True)
class Door(Generic[T]):
    """`ask` may be sent many times. `again(stream_id, last_id)` asks for what follows that event, or, if
    `last_id` is None, for everything."""

    ask: Request
    again: Callable[[str, str | None], Request]
    meaning: Callable[[str], Meaning[T]]


def chat_door(question: Mapping[str, Any], key: str) -> Door[ChatEvent]:
    headers = {**_STREAM, IDEMPOTENCY_KEY: key}
    ask = Request("POST", "/api/chat/stream", {"partial": False, **question}, headers=headers)
    return Door(ask, _chat_again, chat_meaning)


def resuming_door(stream_id: str, after: int) -> Door[ChatEvent]:
    return Door(_chat_again(stream_id, f"{stream_id}:{after}"), _chat_again, chat_meaning)


def completion_door(body: Mapping[str, Any], key: str) -> Door[Chunk]:
    headers = {**_STREAM, **RESUMABLE, IDEMPOTENCY_KEY: key}
    ask = Request("POST", "/v1/chat/completions", {**body, "stream": True}, headers=headers)
    return Door(ask, _completion_again, chunk_meaning)


def call_door(job_id: str, body: Mapping[str, Any], key: str) -> Door[Chunk]:
    """A job's call: sent again with the same key, it goes on after the event that is named."""
    headers = {**_STREAM, **RESUMABLE, IDEMPOTENCY_KEY: key}
    ask = Request("POST", path_of("api", "jobs", job_id, "llm-call-stream"), body, headers=headers)

    def again(_stream_id: str, last_id: str | None) -> Request:
        return replace(ask, headers={**headers, **_last(last_id)})

    return Door(ask, again, chunk_meaning)


def _chat_again(stream_id: str, last_id: str | None) -> Request:
    path = path_of("api", "chat", "streams", stream_id)
    return Request("GET", path, params={"partial": "false"}, headers={**_STREAM, **_last(last_id)})


def _completion_again(stream_id: str, last_id: str | None) -> Request:
    headers = {**_STREAM, **_last(last_id)}
    return Request("GET", path_of("v1", "chat", "completions", stream_id), headers=headers)


def _last(last_id: str | None) -> dict[str, str]:
    return {} if last_id is None else {LAST_EVENT_ID: last_id}


def chat_meaning(data: str) -> Meaning[ChatEvent]:
    """Raises the error that an answer ended with, and BadAnswer."""
    fields = _object(data)
    if "error" in fields:
        raise failure(fields)
    if fields.get("done"):
        return Meaning(read(Done, fields), is_last=True)
    if fields.get("reset"):
        reset = read(Reset, fields)
        return Meaning(reset, back_to=reset.count)
    return Meaning(read(Token, fields))


def chunk_meaning(data: str) -> Meaning[Chunk]:
    """Raises the error that an answer ended with, and BadAnswer."""
    if data == "[DONE]":
        return Meaning(is_last=True)
    fields = _object(data)
    if "error" in fields:
        raise failure(fields)
    return Meaning(read(Chunk, fields))


def _object(data: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError as exc:
        raise BadAnswer(f"The server sent an event that is not JSON: {data[:100]!r}") from exc
    if not isinstance(fields, dict):
        raise BadAnswer(f"The server sent an event that is no object: {data[:100]!r}")
    return fields
