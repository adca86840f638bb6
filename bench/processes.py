"""What the kernel says of a process."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

SETTLE_S = 0.25
SETTLED_WITHIN = 0.002
PATIENCE_S = 10.0


def busy_s(cores: Iterable[int]) -> float:
    """How long these cores have worked, for whomever."""
    ticks = 0
    for core in cores:
        found = re.search(rf"^cpu{core} (.+)$", Path("/proc/stat").read_text(), flags=re.M)
        assert found is not None
        user, nice, system, _idle, _waiting, *interrupts = map(int, found[1].split()[:7])
        ticks += user + nice + system + sum(interrupts)
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes it has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Gauge:
    """Memory in KiB, time in seconds; of several processes all together."""

    def __init__(self, *pids: int) -> None:
        self._folders = [Path(f"/proc/{pid}") for pid in pids]

    @property
    def rss_kib(self) -> int:
        return self._status("VmRSS")

    @property
    def peak_kib(self) -> int:
        """The most since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        for folder in self._folders:
            (folder / "clear_refs").write_text("5")

    @property
    def cpu_s(self) -> float:
        """On a core, all threads together."""
        return sum(self.each_cpu_s)

    @property
    def each_cpu_s(self) -> list[float]:
        """The same of each process."""
        return [_cpu_s(folder) for folder in self._folders]

    def settled_kib(self) -> int:
        """The memory, once it has stopped changing."""
        deadline = time.monotonic() + PATIENCE_S
        before = self.rss_kib
        while True:
            time.sleep(SETTLE_S)
            now = self.rss_kib
            if abs(now - before) <= now * SETTLED_WITHIN or time.monotonic() > deadline:
                return now
            before = now

    def _status(self, name: str) -> int:
        return sum(_status(folder, name) for folder in self._folders)


def _cpu_s(folder: Path) -> float:
    spent = (path.read_text().split()[0] for path in folder.glob("task/*/schedstat"))
    return sum(map(int, spent)) * 1e-9


def _status(folder: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", (folder / "status").read_text(), flags=re.M)
    assert found is not None
    return int(found[1])
