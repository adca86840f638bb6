# Made by generate.py from _async/chat.py: change that.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parley_client._sync.line import Line
from parley_client._sync.sessions import Sessions
from parley_client._sync.streams import ChatStream, ChunkStream, stop
from parley_client.chat import Stopped, StreamState
from parley_client.completions import Completion
from parley_client.doors import chat_door, completion_door, resuming_door
from parley_client.reading import read
from parley_client.requests import (
    IDEMPOTENCY_KEY,
    NEWEST,
    Newest,
    Request,
    at,
    given,
    new_key,
    path_of,
)


class Chat:
    """Conversations and completions."""

    sessions: Sessions
    _line: Line

    def stream_chat(
        self,
        message: str,
        session_id: str | None = None,
        *,
        parent_id: str | Newest | None = NEWEST,
        model: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
    ) -> ChatStream:
        """Ask in a session, a new one without an id, and read the answer as it comes.

        The question comes after the message `parent_id`; None: it begins the conversation. With that of an
        earlier question it is another version of it, which stays.
        """
        question = given(
            message=message,
            session_id=session_id,
            model=model,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        question |= at(parent_id)
        return ChatStream(self._line, chat_door(question, idempotency_key or new_key()))

    def resume(self, stream_id: str, after: int = 0) -> ChatStream:
        """Go on with an answer after the token with that count: one asked for elsewhere, or before a restart.
        Its `text` begins there."""
        return ChatStream(self._line, resuming_door(stream_id, after), stream_id, after)

    def stop(self, stream_id: str) -> Stopped:
        """End an answer here; a second time says the same."""
        return stop(self._line, stream_id)

    def stream_state(self, stream_id: str) -> StreamState:
        """How an answer is doing, and its text so far."""
        path = path_of("api", "chat", "streams", stream_id)
        request = Request("GET", path, headers={"Accept": "application/json"})
        return read(StreamState, self._line.json(request))

    def completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None = None,
        *,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> Completion:
        """OpenAI's chat completion, without a session or a job."""
        headers = {IDEMPOTENCY_KEY: idempotency_key or new_key()}
        body = given(model=model, messages=list(messages), **parameters)
        request = Request("POST", "/v1/chat/completions", body, headers=headers, generates=True)
        return read(Completion, self._line.json(request))

    def completion_stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None = None,
        *,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> ChunkStream:
        """The same, in chunks."""
        body = given(model=model, messages=list(messages), **parameters)
        return ChunkStream(self._line, completion_door(body, idempotency_key or new_key()))
