"""The one room that knows which green-thread library runs us: patching, signals, threads, serving.

`start()` must be called before anything else is imported; `python -m backend` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from backend.chat.errors import Misconfigured
from backend.chat.ports import Runtime
from backend.runtime.body import Bounds
from backend.runtime.server import HttpServer, listen
from backend.runtime.websocket import WebSocketWSGI

__all__ = ["LIBRARIES", "Bounds", "HttpServer", "WebSocketWSGI", "listen", "start"]

LIBRARIES = {"eventlet": "backend.runtime.on_eventlet", "gevent": "backend.runtime.on_gevent"}
"""What `RUNTIME` may be; the first is the default. Only the chosen one is imported."""


def start(environ: Mapping[str, str], folder: Path) -> Runtime:
    """Patch the standard library for the `RUNTIME` of the environment, else of `folder/.env`.

    Raises Misconfigured.
    """
    name = environ.get("RUNTIME") or _written(folder / ".env") or next(iter(LIBRARIES))
    if name not in LIBRARIES:
        raise Misconfigured(f"RUNTIME must be {' or '.join(LIBRARIES)}, not {name!r}")
    try:
        library = importlib.import_module(LIBRARIES[name])
    except ModuleNotFoundError as exc:
        raise Misconfigured(f"RUNTIME={name} needs {name}: pip install -r requirements-{name}.txt") from exc
    library.patch()
    runtime: Runtime = library.Runtime()
    return runtime


def _written(path: Path) -> str | None:
    """What the file says, if it can be read; that it cannot is told with all its other settings."""
    try:
        return dotenv_values(path).get("RUNTIME")
    except (OSError, UnicodeDecodeError):
        return None
