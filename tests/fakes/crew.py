"""A server of several processes that tells whoever connects which of them answers: `python crew.py`.

Tests copy it into a folder of their own, where they can change it while it runs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from socket import socket

from backend import workers
from backend.chat.errors import Misconfigured

try:
    worker = workers.enter(os.environ, Path.cwd(), pauses_s=[0, 0.02, 0.04])
except Misconfigured as exc:
    sys.exit(f"parley: {exc}")

assert worker
told: list[int] = []
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda number, _: told.append(number))
listener = socket(fileno=worker.listener)
listener.settimeout(0.02)
worker.ready()
while not told:
    if worker.orphaned():
        told.append(signal.SIGTERM)
    try:
        peer, _ = listener.accept()
    except TimeoutError:
        continue
    with peer:
        peer.sendall(b"%d" % os.getpid())
listener.close()
while os.environ.get("DRAINS") and signal.SIGINT not in told:
    time.sleep(0.01)
sys.exit(int(os.environ.get("ENDS_WITH", "0")))
