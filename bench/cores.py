"""Who runs on which core, and who may interrupt whom there.

Load, upstream and Redis are run as SCHED_BATCH (sched(7)): where one of them shares a core with a server, it
waits until the server's slice is over. Elsewhere they would have machines of their own, and would take
nothing from a server in the midst of its work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server, all others for who loads it; with a single one they share it. `policy` is how
    the server is scheduled."""

    server: frozenset[int]
    load: frozenset[int]
    policy: int = os.SCHED_OTHER

    @property
    def shared(self) -> bool:
        return self.server == self.load

    @contextmanager
    def at_server(self) -> Iterator[None]:
        """Whatever is started in here has the server's core for itself."""
        _be(self.server, self.policy)
        try:
            yield
        finally:
            _be(self.load, os.SCHED_BATCH)

    @contextmanager
    def together(self) -> Iterator[Cores]:
        """Whatever is started in here has all of them, with everything else."""
        everything = self.server | self.load
        _be(everything, os.SCHED_BATCH)
        try:
            yield Cores(everything, everything)
        finally:
            _be(self.load, os.SCHED_BATCH)


def split() -> Cores:
    """The cores this process may use; from now on it keeps to the load's."""
    first, *others = sorted(os.sched_getaffinity(0))
    cores = Cores(frozenset({first}), frozenset(others or {first}))
    _be(cores.load, os.SCHED_BATCH)
    return cores


def _be(cores: frozenset[int], policy: int) -> None:
    """From now on, and all that is started."""
    os.sched_setaffinity(0, cores)
    os.sched_setscheduler(0, policy, os.sched_param(0))
