"""The browser that the page is tried in, as it is started."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import which

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same browser without its windows, which takes half as long for a visit."""
CHROMIUM = Path(os.environ.get("CHROMIUM") or next(filter(None, map(which, NAMES)), NAMES[0]))
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
