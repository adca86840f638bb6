"""Answers as OpenAI's SDKs read them: chunks, whole completions, models.

The shapes are those of OpenAI's API reference: "The chat completion object", "The chat completion chunk
object", "The model object".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import orjson

from backend.chat.errors import Interrupted
from backend.chat.events import NOT_SAID, Batch, Closing, Delta, Entry, Failed, Finished, Header
from backend.chat.log import Log
from backend.chat.ports import Model
from backend.wire.assembly import choices_of
from backend.wire.chat import usage_fields
from backend.wire.errors import openai_failure

ID = "chatcmpl-"
DONE = b"data: [DONE]\n\n"
NOT_FOLLOWED = "Nobody followed this answer, so it was stopped; ask again"
Fault: TypeAlias = Callable[[Failed], dict[str, Any]]
OPENING = {"role": "assistant", "content": ""}


class Chunks:
    """An answer from `offset` on, as events. Chunk n is entry n; after the last come the end of each choice,
    the usage if it was asked for, and `[DONE]`, or the error. `numbered`: each event has an `id:`, so that
    its reader can come back."""

    def __init__(self, log: Log, offset: int, *, numbered: bool, fault: Fault = openai_failure) -> None:
        """`fault` spells an answer that broke off."""
        header = log.header
        self._log = log
        self._fault = fault
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._id = b"id: %b:%%d\n" % header.stream_id.encode() if numbered else None
        fields = {"id": ID + header.stream_id, "object": "chat.completion.chunk", **named(header)}
        self._head = b"data: %b," % orjson.dumps(fields)[:-1]
        self._tail = b',"usage":null}\n\n' if header.include_usage else b"}\n\n"
        self._before_text = self._head + b'"choices":[{"index":0,"delta":{"content":'
        self._after_text = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        for entry in log.read(0, offset).entries:
            if entry.__class__ is not str or not self._begun:
                self._note(entry)

    def of(self, batch: Batch) -> bytes:
        """One chunk an entry."""
        before, after, dumps = self._before_text, self._after_text, orjson.dumps
        events = []
        for number, entry in enumerate(batch.entries, batch.offset + 1):
            if self._id is not None:
                events.append(self._id % number)
            if entry.__class__ is str and 0 in self._begun:
                events.append(b"%b%b%b" % (before, dumps(entry), after))
            else:
                events.append(self._piece(entry))
        return b"".join(events)

    def ending(self, after: int = 0) -> bytes:
        """What follows the last entry, past event number `after`. The log must be closed, and all its entries
        given or before the offset."""
        first = self._log.offset + self._log.lost + 1
        events = [(n, event) for n, event in enumerate(self._last_events(), first) if n > after]
        return b"".join(event if self._id is None else self._id % n + event for n, event in events)

    def last_number(self) -> int:
        """The number of the last event. As for `ending`."""
        return self._log.offset + self._log.lost + len(self._last_events())

    def _last_events(self) -> list[bytes]:
        closing = closing_of(self._log)
        if isinstance(closing, Failed):
            return [b"data: %b\n\n" % orjson.dumps(self._fault(closing))]
        reason = reason_of(closing)
        events = [
            self._chunk([chunk_choice(index, {} if index in self._begun else OPENING, None, reason)])
            for index in sorted((self._begun | {0}) - self._ended)
        ]
        if self._log.header.include_usage:
            fields = {"choices": [], **usage_fields(closing)}
            events.append(b"%b%b\n\n" % (self._head, orjson.dumps(fields)[1:]))
        return [*events, DONE]

    def _piece(self, entry: Entry) -> bytes:
        """The chunk of an entry that is more than a further piece of choice 0's text."""
        text, extra = (entry.text, entry.extra) if isinstance(entry, Delta) else (entry, {})
        index = extra.get("index", 0)
        delta: dict[str, Any] = {"content": text} if text else {}
        delta |= {key: value for key, value in extra.items() if key not in NOT_SAID}
        # OpenAI begins its choices in their order, and its SDKs count on it.
        choices = []
        if index not in self._begun:
            missing = [before for before in range(index) if before not in self._begun]
            choices = [chunk_choice(before, OPENING) for before in missing]
            delta = {"role": "assistant", "content": None, **delta} if delta else OPENING
        choices.append(chunk_choice(index, delta, extra.get("logprobs"), extra.get("finish_reason")))
        self._note(entry)
        return self._chunk(choices)

    def _chunk(self, choices: list[dict[str, Any]]) -> bytes:
        return b'%b"choices":%b%b' % (self._head, orjson.dumps(choices), self._tail)

    def _note(self, entry: Entry) -> None:
        extra = entry.extra if isinstance(entry, Delta) else {}
        index = extra.get("index", 0)
        if index not in self._begun:
            self._begun.update(range(index + 1))
        if extra.get("finish_reason"):
            self._ended.add(index)


def chunk_choice(
    index: int, delta: Mapping[str, Any], logprobs: Any = None, reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def completion(log: Log, closing: Finished, entries: Iterable[Entry]) -> dict[str, Any]:
    """The whole answer as a `chat.completion`; `entries` are those of the log."""
    header = log.header
    return {
        "id": ID + header.stream_id,
        "object": "chat.completion",
        **named(header),
        "choices": choices_of(entries, reason_of(closing)),
        **usage_fields(closing),
    }


def named(header: Header) -> dict[str, Any]:
    created = datetime.fromisoformat(header.created_at.replace("Z", "+00:00"))
    return {"created": int(created.timestamp()), "model": header.model}


def closing_of(log: Log) -> Closing:
    """How a closed log ended, as this dialect tells it: it has no word for an answer that was stopped because
    nobody followed it, and half an answer must not pass for a whole one."""
    closing = log.closing
    assert closing is not None
    if isinstance(closing, Finished) and closing.finish_reason == "detached":
        return Failed.because(Interrupted(NOT_FOLLOWED), tokens=closing.tokens, at=closing.at)
    return closing


def reason_of(closing: Finished) -> str:
    """OpenAI's clients know no answer that a person stopped."""
    return "stop" if closing.finish_reason == "stopped" else closing.finish_reason


def model_fields(model: Model, created: int) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": created, "owned_by": model.owned_by}


def model_list(models: Sequence[Model], created: int) -> dict[str, Any]:
    return {"object": "list", "data": [model_fields(model, created) for model in models]}
