"""The one room that knows which green-thread library runs us: patching, signals, threads, serving.

`start()` must be called before anything else is imported; `python -m backend` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from backend.chat.errors import Misconfigured
from backend.chat.ports import Runtime
from backend.runtime.body import Bounds
from backend.runtime.server import HttpServer, inherit, listen
from backend.runtime.websocket import WebSocketWSGI

__all__ = ["LIBRARIES", "Bounds", "HttpServer", "WebSocketWSGI", "inherit", "listen", "setting", "start"]

LIBRARIES = {"eventlet": "backend.runtime.on_eventlet", "gevent": "backend.runtime.on_gevent"}
"""What `RUNTIME` may be; the first is the default. Only the chosen one is imported."""


def start(environ: Mapping[str, str], folder: Path) -> Runtime:
    """Patch the standard library for the `RUNTIME` of the environment, else of `folder/.env`.

    Raises Misconfigured.
    """
    name = setting("RUNTIME", environ, folder) or next(iter(LIBRARIES))
    if name not in LIBRARIES:
        raise Misconfigured(f"RUNTIME must be {' or '.join(LIBRARIES)}, not {name!r}")
    try:
        library = importlib.import_module(LIBRARIES[name])
    except ModuleNotFoundError as exc:
        raise Misconfigured(f"RUNTIME={name} needs {name}: pip install -r requirements-{name}.txt") from exc
    library.patch()
    runtime: Runtime = library.Runtime()
    return runtime


def setting(name: str, environ: Mapping[str, str], folder: Path) -> str | None:
    """What a variable says that is needed before the others are read. That `folder/.env` cannot be read is
    told with those."""
    text = environ.get(name, "").strip()
    if not text:
        with suppress(OSError, UnicodeDecodeError):
            text = (dotenv_values(folder / ".env").get(name) or "").strip()
    return text or None
