"""How an answer is sent as OpenAI's chat completions, over whichever door."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import ceil
from typing import Any

from flask import Response, g, jsonify

from backend.chat.engine import Engine
from backend.chat.errors import InvalidRequest
from backend.chat.events import Batch, Entry, Failed, Finished
from backend.chat.log import Log
from backend.telemetry.meters import Meters
from backend.transports import web
from backend.wire import prompt
from backend.wire.errors import failure_status
from backend.wire.framing import LastPiece
from backend.wire.openai import Chunks, closing_of, completion
from backend.wire.sse import PING

FIRST_DELTA_S = 15.0
"""How long the headers wait for the first text."""
HEARTBEAT_S = 0.25
"""How often the client of a silent answer is looked for: its upstream is let go within a second."""
OURS_TO_MEND = frozenset({401, 402, 403, 404})
"""An upstream's refusals of our key, our account or its own model's name: asking again changes nothing, which
OpenAI's SDKs would do."""
ENTRIES_A_TURN = 1000
SOON_S = 5
"""When to ask again where nobody says it."""


class Completing:
    """`fault` is how this door spells an answer that broke off, given the request's id, `headers` what it
    says of an answer in headers."""

    def __init__(
        self,
        engine: Engine,
        meters: Meters,
        door: str,
        fault: Callable[[Failed, str], dict[str, Any]],
        headers: Callable[[Log], dict[str, str]],
    ) -> None:
        self._engine = engine
        self._meters = meters
        self._door = door
        self._fault = fault
        self._headers = headers

    def streamed(self, log: Log, after: int, *, numbered: bool) -> Response:
        """The chunks past number `after`."""
        self._engine.catch_up(log, lambda: log.offset < after)
        offset = min(after, log.offset)
        request_id = g.request_id
        chunks = Chunks(log, offset, numbered=numbered, fault=lambda failed: self._fault(failed, request_id))
        if log.closing is None and after > offset:
            raise InvalidRequest("Last-Event-ID is past what there is of this answer; leave it out")
        if log.closing is not None and after >= chunks.last_number():
            return Response(status=204)
        return self.sent(
            log, offset, chunks, lambda failed: self.failure(log, failed), after, comes_back=numbered
        )

    def sent(
        self,
        log: Log,
        offset: int,
        spelling: Chunks | prompt.Texts,
        refusal: Callable[[Failed], Response],
        after: int = 0,
        *,
        comes_back: bool = False,
    ) -> Response:
        """An event stream, of one who `comes_back` as `Engine.follow` means it. A failure before the first
        text has its true status: headers wait for either."""
        batches = self._engine.follow(log, offset, HEARTBEAT_S, comes_back=comes_back)
        gone = web.client_gone()
        first = first_of(batches, gone)
        if first is None and gone():
            return web.unread(self._headers(log))
        if first and first.closing and not first.end and isinstance(failed := closing_of(log), Failed):
            return refusal(failed)
        following = self._meters.following(self._door)
        heard = web.audible(chain([first] if first else [], batches), following, HEARTBEAT_S)
        events = written(heard, spelling, after)
        return web.stream(events if first else chain([PING], events), headers=self._headers(log))

    def whole(
        self, log: Log, spelled: Callable[[dict[str, Any], Finished], dict[str, Any]] | None = None
    ) -> Response:
        """The answer once it is whole, as `spelled` makes it of OpenAI's fields."""
        gone = web.client_gone()
        with self._engine.following(log), self._meters.following(self._door):
            while not log.wait_closed(HEARTBEAT_S):
                if gone():
                    return web.unread(self._headers(log))
        closing = closing_of(log)
        if isinstance(closing, Failed):
            return self.failure(log, closing)
        fields = completion(log, closing, in_turns(log.read(0).entries))
        response = jsonify(spelled(fields, closing) if spelled else fields)
        response.headers.extend(self._headers(log))
        return response

    def failure(self, log: Log, failed: Failed) -> Response:
        """An answer that came to nothing."""
        web.noted(failed.type)
        response = jsonify(self._fault(failed, g.request_id))
        response.status_code = failure_status(failed)
        response.headers.extend(self._headers(log))
        complaint = failed.complaint
        after_s = complaint.retry_after_s if complaint else None
        if after_s is None and response.status_code in (429, 503):
            after_s = SOON_S
        if after_s is not None:
            web.retry_after(response, ceil(after_s))
        # With a key the answer is on record, and so is its failure.
        if log.header.idempotency is not None or (complaint and complaint.status in OURS_TO_MEND):
            response.headers["X-Should-Retry"] = "false"
        return response


def in_turns(entries: list[Entry]) -> Iterator[Entry]:
    """The entries, letting others run in between: putting many of them together takes a while."""
    for number, entry in enumerate(entries, 1):
        yield entry
        if number % ENTRIES_A_TURN == 0:
            time.sleep(0)


def first_of(batches: Iterator[Batch | None], gone: Callable[[], bool]) -> Batch | None:
    """The first batch; None if the headers should wait no longer, or nobody is there for it."""
    for beat, batch in enumerate(batches, 1):
        if batch is not None:
            return batch
        if gone() or beat * HEARTBEAT_S >= FIRST_DELTA_S:
            break
    return None


def written(batches: Iterable[Batch | None], spelling: Chunks | prompt.Texts, after: int) -> Iterator[bytes]:
    for batch in batches:
        if batch is None:
            yield PING
        elif batch.closing is None:
            yield spelling.of(batch)
        else:
            yield LastPiece(spelling.of(batch) + spelling.ending(after))


def route_headers(log: Log) -> dict[str, str]:
    """Whose answer it is: the upstream's that gives it, and how many were asked."""
    headers = {"X-Stream-Id": log.header.stream_id}
    if log.route is not None:
        tries = log.route.tries
        headers["X-Upstream-Tried"] = str(len(tries))
        if tries and tries[-1].failure is None:
            headers["X-Upstream"] = tries[-1].upstream
    return headers
