"""A request's body, within its bounds."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import Any, Protocol

import eventlet

from backend.chat.errors import InvalidRequest, PayloadTooLarge, TooSlow
from backend.wire.framing import BadFraming, read_chunks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a body may be, and how long a request's head and its body may take to arrive."""

    max_body_bytes: int
    head_s: float
    body_s: float


class Carrier(Protocol):
    """The connection a body comes over."""

    close_connection: Any


class Body(io.RawIOBase):
    """A request's body: bounded in bytes and time, chunks read strictly.

    Reading raises PayloadTooLarge, before reading anything when the length says so, TooSlow, and
    InvalidRequest; after any of them the connection is closed, since nobody knows where the next request
    would begin.
    """

    def __init__(self, raw: Any, bounds: Bounds, protocol: Carrier) -> None:
        self._raw = raw
        self._max_bytes = bounds.max_body_bytes
        self._patience_s = bounds.body_s
        self._protocol = protocol
        self._whole: io.BytesIO | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left in the connection."""
        return self._whole is not None or self._raw.content_length == 0

    def discard(self) -> None:
        """Get an unread body out of the way of the next request, within the same bounds."""
        if not self.complete:
            try:
                self._whole = io.BytesIO(self._read_whole())
            except (InvalidRequest, PayloadTooLarge, TooSlow) as exc:
                logger.debug("an unread body was given up: %s", exc)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._whole is None:
            self._whole = io.BytesIO(self._read_whole())
        return self._whole.readinto(buffer)

    def _read_whole(self) -> bytes:
        try:
            with eventlet.Timeout(self._patience_s):
                return self._within_bounds()
        except (BadFraming, OSError) as exc:
            self._protocol.close_connection = 1
            raise InvalidRequest("The body could not be read to its end; send it again") from exc
        except eventlet.Timeout as exc:
            self._protocol.close_connection = 1
            raise TooSlow(
                f"The body took over {self._patience_s:g} s to arrive (BODY_TIMEOUT); send less at once"
            ) from exc
        except PayloadTooLarge:
            self._protocol.close_connection = 1
            raise

    def _within_bounds(self) -> bytes:
        raw = self._raw
        if not raw.chunked_input:
            if raw.content_length > self._max_bytes:
                raise too_large(self._max_bytes)
            body: bytes = raw.read()
            if len(body) < raw.content_length:
                raise BadFraming("The body ended early")
            return body
        if raw.should_send_hundred_continue:
            raw.send_hundred_continue_response()
            raw.is_hundred_continue_response_sent = True
        pieces, size = [], 0
        for piece in read_chunks(raw.rfile.read, raw.rfile.readline):
            size += len(piece)
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            pieces.append(piece)
        raw.chunk_length = 0  # read to its end: there is nothing to discard
        return b"".join(pieces)


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is over {max_bytes} bytes (MAX_BODY_BYTES); send less")
