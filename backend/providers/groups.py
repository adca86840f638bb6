"""A name for several upstreams: who can answer does, and who has failed is left alone for a while."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing as closed_after
from dataclasses import dataclass, replace
from math import log
from threading import Lock

from backend.chat.errors import BROKE_OFF, Broken, Complaint, UpstreamError
from backend.chat.events import Price, Route, Try
from backend.chat.ports import Piece, Prompt, Provider
from backend.chat.stop import Stop

logger = logging.getLogger(__name__)

MAX_PAUSE_S = 600.0
"""No upstream is left alone for longer, whatever it asks for."""
TINY = 5e-324
PAUSING = "All that could answer have asked for a pause; ask again in {:.0f} s"


@dataclass(frozen=True, slots=True)
class Member:
    """One of a group: `model` is the name its upstream knows, `known_as` the one callers do. Of those with
    the same `rank` each comes first as often as its `weight` says; the next rank is for when they fail."""

    name: str
    provider: Provider
    model: str
    rank: int = 0
    weight: float = 1
    price: Price | None = None
    known_as: str | None = None


@dataclass(slots=True)
class Pause:
    """Until when a member is left alone; `asked` if it said so itself."""

    until_s: float
    asked: bool


class Group:
    """A `Provider`. Until the first piece of an answer each member is asked once, in the order of their
    ranks; from then on a failure is the answer's.

    One that failed is left alone for `cooldown_s`, or as long as it asks for, and then only asked when
    nobody else is left; not even then within the time it asked for. Other groups do not know of it. The
    lock guards `_pauses`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        cooldown_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._members = members
        self._cooldown_s = cooldown_s
        self._monotonic = monotonic
        self._draw = draw
        self._pauses: dict[Member, Pause] = {}
        self._lock = Lock()

    def stream(self, prompt: Prompt, stop: Stop) -> Generator[Piece, None, None]:
        failed: list[Try] = []
        fault: Broken = self._all_pausing()
        for member in self._order():
            begun = False
            asked = replace(prompt, model=member.model)
            try:
                with closed_after(member.provider.stream(asked, stop)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Route):
                            continue
                        if not begun:
                            begun = True
                            self._answers(member)
                            yield Route((*failed, Try(member.name)), member.price, member.known_as)
                        yield piece
                if begun or stop.requested:
                    return
                fault = UpstreamError(BROKE_OFF)
            except Broken as exc:
                fault = exc
            failed.append(Try(member.name, fault.outcome))
            if fault.outcome != "refused":
                self._pause(member, fault)
            if begun:
                raise fault
            if fault.outcome == "refused":
                break
        yield Route(tuple(failed))
        raise fault

    def _order(self) -> list[Member]:
        """Whom to ask, one after the other: those who are well by rank and lot, then those who are not, the
        soonest well first, but nobody who has asked for the pause."""
        now_s = self._monotonic()
        with self._lock:
            pauses = {member: pause for member, pause in self._pauses.items() if pause.until_s > now_s}
        well = [member for member in self._members if member not in pauses]
        ailing = [member for member, pause in pauses.items() if not pause.asked]
        # Sorting by draw ** (1 / weight), falling, has each first as often as its weight says
        # (Efraimidis and Spirakis, 2006); its logarithm does not run out of numbers.
        lots = {member: log(self._draw() or TINY) / member.weight for member in well}
        return [
            *sorted(well, key=lambda member: (member.rank, -lots[member])),
            *sorted(ailing, key=lambda member: pauses[member].until_s),
        ]

    def _answers(self, member: Member) -> None:
        with self._lock:
            self._pauses.pop(member, None)

    def _pause(self, member: Member, fault: Broken) -> None:
        said_s = fault.complaint.retry_after_s if fault.complaint else None
        pause_s = self._cooldown_s if said_s is None else min(said_s, MAX_PAUSE_S)
        with self._lock:
            self._pauses[member] = Pause(self._monotonic() + pause_s, said_s is not None)
        logger.warning("upstream %s is left alone for %.1f s: %s", member.name, pause_s, fault)

    def _all_pausing(self) -> UpstreamError:
        """For when there is nobody to ask."""
        with self._lock:
            ends_s = [pause.until_s for pause in self._pauses.values()]
        left_s = max(min(ends_s, default=0.0) - self._monotonic(), 1.0)
        return UpstreamError(PAUSING.format(left_s), Complaint(429, left_s))
