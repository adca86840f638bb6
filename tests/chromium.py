"""The browser that the page is tried in, as it is started."""

from __future__ import annotations

from pathlib import Path
from shutil import which

CHROMIUM = Path(which("chromium") or which("chromium-browser") or which("google-chrome") or "chromium")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
