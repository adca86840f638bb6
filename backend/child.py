"""A worker as its parent starts and knows it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from socket import socket

PLACE = "PARLEY_WORKER"
"""The variable by which a process knows that it is a worker, in JSON: the parent's process id, the
descriptors of the listening socket and of the pipe to say on that it is ready, and the folder all workers
share."""


@dataclass(slots=True)
class Child:
    """A worker, as its parent knows it. `number` is its place, from 1 on; `pipe` is where it says that it
    is ready, None once it has said that or cannot any more."""

    number: int
    pid: int
    pipe: int | None
    born_s: float
    ready: bool = False
    told: bool = False
    """To end."""

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"


def spawn(listener: socket, folder: str) -> tuple[int, int]:
    """Start this process's command line as a worker: its process id, and the end of the pipe to read from.
    Raises OSError."""
    pipe, worker_end = os.pipe()
    try:
        for descriptor in (listener.fileno(), worker_end):
            os.set_inheritable(descriptor, True)
        os.set_blocking(pipe, False)
        place = json.dumps([os.getpid(), listener.fileno(), worker_end, folder])
        environ = {**os.environ, PLACE: place}
        return os.posix_spawn(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ), pipe
    except OSError:
        os.close(pipe)
        raise
    finally:
        os.close(worker_end)
