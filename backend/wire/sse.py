"""The chat API's events, as server-sent events (WHATWG HTML, section 9.2).

A field ends at a line feed, and JSON has none inside: text cannot add a field. Comment lines end in one
newline and are no event of their own: some readers take a comment and a blank line for one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from backend.chat.errors import InvalidRequest
from backend.chat.events import Batch, Failed
from backend.chat.log import Log, texts_of
from backend.wire.chat import closing_fields
from backend.wire.errors import chat_error

OPENING = b": the answer follows\n"
PING = b": ping\n"
GATHERED = 65_536

_EVENT_ID = re.compile(r"(?:(?P<stream>[^:]*):)?(?P<count>[0-9]{1,15})")


def token_events(stream_id: str, batch: Batch) -> bytes:
    """One event a text piece."""
    sid, count, dumps = stream_id.encode(), batch.count, orjson.dumps
    events = []
    for text in texts_of(batch.entries):
        if text:
            count += 1
            events.append(
                b'id: %b:%d\ndata: {"token": %b, "count": %d}\n\n' % (sid, count, dumps(text), count)
            )
    return b"".join(events)


def token_events_with_partial(stream_id: str, batch: Batch, said: str, max_chars: int) -> Iterator[bytes]:
    """The same with the text so far in each, while that is `max_chars` at most; `said` is the text before
    this batch. They can be large: as they are made they are given, several together up to GATHERED."""
    sid, count, dumps = stream_id.encode(), batch.count, orjson.dumps
    events: list[bytes] = []
    size = 0
    for text in texts_of(batch.entries):
        if not text:
            continue
        count += 1
        said += text
        partial = b', "partial": %b' % dumps(said) if len(said) <= max_chars else b""
        data = b'{"token": %b, "count": %d%b}' % (dumps(text), count, partial)
        event = b"id: %b:%d\ndata: %b\n\n" % (sid, count, data)
        events.append(event)
        size += len(event)
        if size >= GATHERED:
            yield b"".join(events)
            events, size = [], 0
    if events:
        yield b"".join(events)


def closing_event(log: Log, request_id: str) -> bytes:
    """The last event. The log must be closed."""
    closing, header, number = log.closing, log.header, log.closing_number
    assert closing is not None
    assert number is not None
    if isinstance(closing, Failed):
        ids = {"session_id": header.session_id, "stream_id": header.stream_id}
        fields = chat_error(closing, request_id, **ids)
    else:
        fields = {"done": True, **closing_fields(log, closing)}
    return _event(header.stream_id, number, fields)


def reset_event(stream_id: str, text: str, count: int) -> bytes:
    """For a reader ahead of what is stored: forget yours, this is all there is."""
    return _event(stream_id, count, {"reset": True, "partial": text, "count": count})


def read_after(stream_id: str, last_event_id: str | None, after: str | None) -> int:
    """The count a reader has: the header's, else the query's, else 0. Raises InvalidRequest."""
    name, given = ("Last-Event-ID", last_event_id) if last_event_id else ("after", after)
    if not given:
        return 0
    found = _EVENT_ID.fullmatch(given)
    if found is None or found["stream"] not in (None, stream_id):
        raise InvalidRequest(f"{name} must be the id of one of this stream's events, or its number")
    return int(found["count"])


def _event(stream_id: str, number: int, fields: dict[str, Any]) -> bytes:
    data = json.dumps(fields, ensure_ascii=False)
    return f"id: {stream_id}:{number}\ndata: {data}\n\n".encode()
