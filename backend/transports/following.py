"""One socket's way through one answer."""

from __future__ import annotations

from typing import Protocol

from backend.chat.engine import Engine
from backend.chat.events import Batch
from backend.chat.log import Log, texts_of
from backend.chat.news import News
from backend.chat.signals import Signal
from backend.wire import sockets as wire

HELD_S = 0.25
"""How long a running answer that was only joined waits for its client to say what it has of it."""


class Recipient(Protocol):
    """Whom it is sent to."""

    @property
    def closed(self) -> bool: ...

    def deliver(self, packet: str) -> None:
        """Send it; returns when it has left, or the line is closed."""


class Following:
    """From piece number `after` + 1 to the answer's end.

    The log is read only when what was sent before has left: a slow client holds one batch, and what it
    gets next is longer. `later` is news of the session that waits for the end to be sent.
    """

    def __init__(
        self,
        recipient: Recipient,
        log: Log,
        after: int,
        partial_max_chars: int,
        signal: Signal,
        held: bool = False,
    ) -> None:
        """`held`: it waits for `take_up` before its first piece, though not for long."""
        self.log = log
        self.later: list[News] = []
        self._partial = False
        self._recipient = recipient
        self._after = after
        self._partial_max_chars = partial_max_chars
        self._signal = signal
        self._held = held
        self._begun = False
        self._behind = False
        self._said: str | None = None

    def take_up(self, after: int, partial: bool) -> int | None:
        """The client wants all from piece number `after` + 1 on, and from now on the text so far with it
        if `partial`. Where it has begun past that, the client is told the whole text instead: pieces out
        of their order would be of no use to it. Gives the piece after which it begins, None if it has."""
        self._partial = self._partial or partial
        if self._begun:
            self._behind = self._behind or after < self._after
            return None
        self._after = after if self._held else min(self._after, after)
        self._held = False
        self._signal.notify()
        return self._after

    def run(self, engine: Engine) -> None:
        """Returns when the answer has ended and been sent, or the client has left."""
        log, recipient = self.log, self._recipient
        self._signal.wait_for(lambda: not self._held, HELD_S)
        self._begun = True
        count = min(self._after, log.count)
        offset = log.offset_of(count)
        if self._after > count:
            self._reset(offset)
        for batch in engine.follow(log, offset):
            if recipient.closed:
                return
            if self._behind:
                self._reset(offset)
            if batch is not None:
                self._send(batch)
                offset = batch.end

    def _reset(self, offset: int) -> None:
        log = self.log
        self._behind, self._after = False, 0
        self._recipient.deliver(wire.reset_packet(log.header, log.text_until(offset), log.count_at(offset)))

    def _send(self, batch: Batch) -> None:
        log, recipient = self.log, self._recipient
        if packet := wire.token_packet(log.header, batch, self._text_so_far(batch)):
            recipient.deliver(packet)
        if batch.closing is not None:
            recipient.deliver(wire.closing_packet(log))

    def _text_so_far(self, batch: Batch) -> str | None:
        """With this batch's; None when it is not wanted, or too long."""
        if not self._partial:
            return None
        said = self.log.text_until(batch.offset) if self._said is None else self._said
        self._said = said + "".join(texts_of(batch.entries))
        self._partial = len(self._said) <= self._partial_max_chars
        return self._said if self._partial else None
