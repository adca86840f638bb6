"""Answers from any upstream that speaks OpenAI's chat completions, streamed as they arrive."""

from __future__ import annotations

import http.client
import logging
import random
import ssl
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import urllib3.exceptions
from urllib3.util import Url, parse_url

from backend.chat.errors import Broken, Complaint, Misconfigured, UpstreamError, UpstreamTimeout
from backend.chat.events import Entry, Route, Try
from backend.chat.ports import Piece, Prompt
from backend.chat.requests import MAX_TOKENS_FIELDS
from backend.chat.stop import Stop
from backend.providers import partials
from backend.providers.chunks import (
    Reported,
    Transcript,
    Unreadable,
    complaint_in,
    error_fields,
    error_status,
)
from backend.providers.connections import Connection, NoAnswer, TimeLimits, Timer, TooSlow
from backend.providers.faults import ELSEWHERE, LATE, REFUSED, UNREACHABLE, WHO, Secrets, translated
from backend.providers.framing import Head
from backend.providers.pool import Grip, Pool
from backend.providers.sse import EventReader

__all__ = ["OpenAI", "TimeLimits", "Upstream"]

logger = logging.getLogger(__name__)

LONGEST_S = 86_400.0
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 5.0
USAGE_WAIT_S = 5.0
LINGER_S = 0.05
COMPLAINT_WAIT_S = 2.0
MAX_WHOLE_BYTES = 8 << 20
MAX_COMPLAINT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Upstream:
    """An OpenAI-compatible server. `base_url` is what stands before `/chat/completions`; `retries` are
    the attempts after the first; `max_tokens_field` is what it calls the bound on an answer, `continues` how
    it is asked to go on with one, one of `partials.WAYS`; None: it does not."""

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    limits: TimeLimits = field(default_factory=TimeLimits)
    retries: int = 2
    max_tokens_field: str = "max_tokens"
    continues: str | None = None


class Refusal(Exception):
    """Our verdict on an attempt. One that is `passing` may succeed next time, after `after_s` if the
    upstream said so."""

    def __init__(self, fault: Broken, *, passing: bool = False, after_s: float | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.passing = passing
        self.after_s = after_s


class OpenAI:
    """A `Provider`. Tried again, until an answer has begun: a connection that cannot be made, 429 and
    5xx; not a timeout, which has cost enough already."""

    def __init__(self, upstream: Upstream) -> None:
        """Raises Misconfigured if the address or the key cannot be one."""
        url = checked_url(upstream)
        self._upstream = upstream
        self._secrets = Secrets(upstream.api_key or "", upstream.base_url, url)
        self._head = request_head(upstream, url)
        secure = url.scheme == "https"
        self._pool = Pool((url.host or "").strip("[]"), url.port or (443 if secure else 80), secure)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def stream(self, prompt: Prompt, stop: Stop) -> Generator[Piece, None, None]:
        grip = Grip(stop)
        answering = False
        try:
            with stop.calling(grip.cut):
                pieces = self._stream(self._request(prompt), prompt.options.get("n") or 1, grip)
                for piece in partials.rest(self._upstream.continues, prompt.partial, pieces):
                    if not answering:
                        answering = True
                        yield Route((Try(self._upstream.name),))
                    yield piece
        except Exception as exc:
            # A socket that is cut in mid-call fails in many ways, and all of them mean the stop.
            if stop.requested:
                return
            fault = self._fault(exc)
            if fault is None:
                raise
            cause = self._secrets.hide(repr(exc.__cause__ or exc))
            logger.warning("upstream %s: %s (%s)", self._upstream.name, fault, cause)
            if not answering:
                yield Route((Try(self._upstream.name, fault.outcome),))
            raise fault from exc
        finally:
            grip.close()

    def _stream(self, request: bytes, choices: int, grip: Grip) -> Generator[Piece, None, None]:
        connection, head = self._begin(request, grip, Timer(self._upstream.limits))
        transcript = Transcript(choices)
        for entries in self._read(connection, head, transcript):
            if grip.stop.requested:
                return
            if entries:
                yield entries
            else:
                # A flood that says nothing must not keep a green hub to itself.
                time.sleep(0)
            if transcript.fault:
                raise transcript.fault
        ended = transcript.ended()
        if ended is None:
            raise EOFError("neither a finish_reason nor [DONE]")
        connection.finish(LINGER_S)
        self._pool.give(connection, grip)
        if rest := transcript.rest():
            yield rest
        if not grip.stop.requested:
            yield ended

    def _begin(self, request: bytes, grip: Grip, timer: Timer) -> tuple[Connection, Head]:
        """A connection on which an answer has begun."""
        attempt = 0
        while True:
            try:
                return self._exchange(request, grip, timer)
            except Refusal as exc:
                pause_s = exc.after_s
                if pause_s is None:
                    pause_s = FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5)
                if not exc.passing or attempt >= self._upstream.retries:
                    raise
                if pause_s > min(MAX_PAUSE_S, timer.left_s()) or grip.stop.wait(pause_s):
                    raise
            attempt += 1

    def _exchange(self, request: bytes, grip: Grip, timer: Timer) -> tuple[Connection, Head]:
        """One attempt. An idle connection that turns out to be closed does not count."""
        if connection := self._pool.take(grip):
            try:
                return connection, self._checked(connection.ask(request, timer), connection)
            except NoAnswer as exc:
                logger.debug("upstream %s had closed an idle connection (%r)", self._upstream.name, exc)
        try:
            connection = self._pool.open(grip, timer)
        except (OSError, UnicodeError) as exc:
            passing = not isinstance(exc, ssl.SSLCertVerificationError | UnicodeError)
            raise Refusal(translated(exc) or UpstreamError(UNREACHABLE), passing=passing) from exc
        return connection, self._checked(connection.ask(request, timer), connection)

    def _checked(self, head: Head, connection: Connection) -> Head:
        """The head, if an answer follows. Raises Refusal or Unreadable."""
        status, after_s = head.status, retry_after_s(head)
        if status == 429 or status >= 500:
            sentence = REFUSED.get(status, f"{WHO} is failing (HTTP {status}); ask again in a moment")
            raise Refusal(UpstreamError(sentence, Complaint(status, after_s)), passing=True, after_s=after_s)
        if status in REFUSED or 300 <= status < 400:
            raise Refusal(UpstreamError(REFUSED.get(status, ELSEWHERE), Complaint(status)))
        if status != 200:
            said = body_of_refusal(connection)
            sentence = self._secrets.quoting(f"{WHO} refused the request (HTTP {status})", complaint_in(said))
            raise Refusal(UpstreamError(sentence, Complaint(status, after_s, self._fields(said))))
        if head.media_type not in ("", "text/event-stream", "application/json"):
            raise Unreadable(f"a body of type {head.media_type!r}")
        if head.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unreadable("a compressed body")
        return head

    def _read(self, connection: Connection, head: Head, transcript: Transcript) -> Iterator[list[Entry]]:
        """What arrives, read by read, until the answer is done. Once every choice has its end only the
        usage can follow: then it is not waited for long, and losing it is no failure."""
        between_s = self._upstream.limits.between_s
        if head.media_type == "application/json":
            yield transcript.read_whole(connection.read_all(between_s, MAX_WHOLE_BYTES))
            return
        events = EventReader()
        while not transcript.done:
            try:
                data = connection.read(min(between_s, USAGE_WAIT_S) if transcript.complete else between_s)
            except (OSError, EOFError, http.client.HTTPException, TooSlow):
                if transcript.finished:
                    return
                raise
            yield transcript.read(events.feed(data) if data else events.end())
            if events.overlong:
                raise Unreadable("a line that is too long")
            if not data:
                return

    def _request(self, prompt: Prompt) -> bytes:
        options, field = prompt.options, self._upstream.max_tokens_field
        asked: dict[str, object] = {
            **options,
            **({} if any(name in options for name in MAX_TOKENS_FIELDS) else {field: prompt.max_tokens}),
            "model": prompt.model,
            "messages": prompt.messages,
            **partials.asked(self._upstream.continues, prompt),
            "stream": True,
            "stream_options": {**options.get("stream_options", {}), "include_usage": True},
        }
        body = orjson.dumps(asked)
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def _fault(self, exc: Exception) -> Broken | None:
        if isinstance(exc, Refusal):
            return exc.fault
        if isinstance(exc, TooSlow):
            return UpstreamTimeout(LATE[exc.limit].format(getattr(self._upstream.limits, exc.limit)))
        if isinstance(exc, Reported):
            sentence = self._secrets.quoting(f"{WHO} reports an error", str(exc))
            return UpstreamError(sentence, Complaint(error_status(exc.body), fields=self._fields(exc.body)))
        return translated(exc)

    def _fields(self, said: Any) -> dict[str, str]:
        return {name: self._secrets.hide(text) for name, text in error_fields(said).items()}


def checked_url(upstream: Upstream) -> Url:
    """Raises Misconfigured. Never quotes the key."""
    try:
        url = parse_url(upstream.base_url)
    except urllib3.exceptions.LocationParseError as exc:
        raise Misconfigured(f"The base URL of upstream {upstream.name} is no URL") from exc
    if url.scheme not in ("http", "https") or not url.host or url.auth:
        raise Misconfigured(
            f"The base URL of upstream {upstream.name} must be like https://example.org/v1, without a user"
        )
    key = upstream.api_key or ""
    if not (key.isascii() and key.isprintable()):
        raise Misconfigured(f"The API key of upstream {upstream.name} has characters no key has")
    return url


def request_head(upstream: Upstream, url: Url) -> bytes:
    """The request up to the length of its body."""
    path = (url.path or "").rstrip("/") + "/chat/completions" + (f"?{url.query}" if url.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {url.netloc}",
        "User-Agent: parley",
        "Accept: text/event-stream, application/json",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
    ]
    if upstream.api_key:
        lines.append(f"Authorization: Bearer {upstream.api_key}")
    return "\r\n".join([*lines, "Content-Length: "]).encode()


def retry_after_s(head: Head) -> float | None:
    """The seconds an upstream asks us to wait, None if it does not say (RFC 9110, 10.2.3)."""
    said = head.headers.get("Retry-After", "").strip()
    try:
        if said.isascii() and said.isdigit():
            after_s = float(said)
        else:
            at = parsedate_to_datetime(said)
            after_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(after_s, 0.0), LONGEST_S)


def body_of_refusal(connection: Connection) -> Any:
    """The JSON that a refusal came with, None if there is none to be had."""
    try:
        return orjson.loads(connection.read_all(COMPLAINT_WAIT_S, MAX_COMPLAINT_BYTES))
    except (OSError, EOFError, ValueError, http.client.HTTPException, TooSlow):
        return None
