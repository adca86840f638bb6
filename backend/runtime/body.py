"""A request's body, within its bounds."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.chat.errors import InvalidRequest, PayloadTooLarge, TooSlow
from backend.runtime.incoming import Incoming
from backend.wire.framing import BadFraming, Head, read_chunks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a body may be, and how long a request's head and its body may take to arrive."""

    max_body_bytes: int
    head_s: float
    body_s: float


class Body(io.RawIOBase):
    """A request's body: bounded in bytes and time, chunks read strictly. It is read on demand, then
    whole; a client that waits to be told so is told to `go_on` first.

    Reading raises PayloadTooLarge, before reading anything when the length says so, TooSlow, and
    InvalidRequest; after any of them nobody knows where the next request would begin.
    """

    def __init__(self, head: Head, incoming: Incoming, bounds: Bounds, go_on: Callable[[], None]) -> None:
        self._bytes = head.body_bytes
        self._incoming = incoming
        self._bounds = bounds
        self._go_on = go_on
        self._hesitant = bool(head.minor_version) and head.lists(b"expect", "100-continue")
        self._whole = io.BytesIO() if head.body_bytes == 0 else None
        self._broken = False

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left in the connection."""
        return self._whole is not None

    @property
    def in_the_way(self) -> bool:
        """Whether it keeps the connection from being used for another request."""
        too_large = self._bytes is not None and self._bytes > self._bounds.max_body_bytes
        return self._broken or (self._whole is None and (self._hesitant or too_large))

    def discard(self) -> None:
        """Get an unread body out of the way of the next request, within the same bounds."""
        if not self.complete and not self.in_the_way:
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
            with self._incoming.within(self._bounds.body_s):
                body = self._read_chunks() if self._bytes is None else self._read_bytes(self._bytes)
        except TimeoutError as exc:
            self._broken = True
            raise TooSlow(
                f"The body took over {self._bounds.body_s:g} s to arrive (BODY_TIMEOUT); send less at once"
            ) from exc
        except (BadFraming, OSError, EOFError) as exc:
            self._broken = True
            raise InvalidRequest("The body could not be read to its end; send it again") from exc
        except PayloadTooLarge:
            self._broken = True
            raise
        return body

    def _read_bytes(self, size: int) -> bytes:
        if size > self._bounds.max_body_bytes:
            raise too_large(self._bounds.max_body_bytes)
        self._invite()
        body = self._incoming.read(size)
        if len(body) < size:
            raise BadFraming("The body ended early")
        return body

    def _read_chunks(self) -> bytes:
        self._invite()
        pieces, size = [], 0
        for piece in read_chunks(self._incoming.read, self._incoming.readline):
            size += len(piece)
            if size > self._bounds.max_body_bytes:
                raise too_large(self._bounds.max_body_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    def _invite(self) -> None:
        if self._hesitant:
            self._hesitant = False
            self._go_on()


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is over {max_bytes} bytes (MAX_BODY_BYTES); send less")
