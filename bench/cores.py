"""Who runs on which core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server, all others for who loads it; with a single one they share it."""

    server: frozenset[int]
    load: frozenset[int]

    @property
    def shared(self) -> bool:
        return self.server == self.load

    @contextmanager
    def at_server(self) -> Iterator[None]:
        """Whatever is started in here has the server's core for itself."""
        os.sched_setaffinity(0, self.server)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.load)

    @contextmanager
    def together(self) -> Iterator[Cores]:
        """Whatever is started in here has all of them, with everything else."""
        everything = self.server | self.load
        os.sched_setaffinity(0, everything)
        try:
            yield Cores(everything, everything)
        finally:
            os.sched_setaffinity(0, self.load)


def split() -> Cores:
    """The cores this process may use; from now on it keeps to the load's."""
    first, *others = sorted(os.sched_getaffinity(0))
    cores = Cores(frozenset({first}), frozenset(others or {first}))
    os.sched_setaffinity(0, cores.load)
    return cores
