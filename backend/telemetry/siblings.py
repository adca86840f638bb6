"""The metrics of all workers of a parent, told by any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

SUFFIX = ".prom"
EVERY = 3
"""Turns of housekeeping."""
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Siblings:
    """Each worker leaves its metrics in a file of the folder they share, named after its process; whoever is
    asked adds those of the others. A file whose process is gone is dropped."""

    def __init__(self, folder: Path, process: int, expose: Callable[[], bytes]) -> None:
        """`expose` gives this process's own."""
        self._folder = folder
        self._process = process
        self._expose = expose
        self._turn = 0

    def tend(self) -> None:
        """Leave them now and then. Call every second or so."""
        self._turn += 1
        if self._turn % EVERY == 0:
            self.leave()

    def leave(self) -> None:
        """For the others to find, while there is a folder: it goes with the parent."""
        file = self._folder / f"{self._process}{SUFFIX}"
        part = file.with_suffix(".part")
        with suppress(FileNotFoundError):
            part.write_bytes(self._expose())
            part.replace(file)

    def together(self) -> bytes:
        """Those of all, each sample labelled with its `worker`; the others' are a few seconds old."""
        found = {str(self._process): self._expose()}
        for file in self._folder.glob(f"*{SUFFIX}"):
            if file.stem in found:
                continue
            if not lives(int(file.stem)):
                file.unlink(missing_ok=True)
                continue
            with suppress(FileNotFoundError):
                found[file.stem] = file.read_bytes()
        return merged(found)


def lives(process: int) -> bool:
    """One of ours: all run as one user."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def merged(expositions: Mapping[str, bytes]) -> bytes:
    """Of several processes in Prometheus' text format one: each family once, with all its samples."""
    families: dict[str, list[str]] = {}
    for worker, exposition in sorted(expositions.items()):
        family, known = "", False
        for line in exposition.decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                known = family in families
                families.setdefault(family, [])
            if not line.startswith("#"):
                families[family].append(labelled(line, worker))
            elif not known:
                families[family].append(line)
    return "".join(f"{line}\n" for line in flat(families.values())).encode()


def labelled(sample: str, worker: str) -> str:
    """A sample with one label more, in front of its others."""
    end = _NAME.match(sample).end()  # type: ignore[union-attr]
    name, rest = sample[:end], sample[end:]
    more = rest[1:] if rest.startswith("{") else f"}}{rest}"
    comma = "," if rest.startswith("{") and not rest.startswith("{}") else ""
    return f'{name}{{worker="{worker}"{comma}{more}'


def flat(groups: Iterable[list[str]]) -> Iterable[str]:
    for group in groups:
        yield from group
