"""The one room that knows which green-thread library runs us: patching, signals, threads, serving.

`patch()` must be called before anything else is imported; `python -m backend` does.
"""

from backend.runtime.green import EventletRuntime, EventletSignal, patch
from backend.runtime.server import HttpServer, listen

__all__ = ["EventletRuntime", "EventletSignal", "HttpServer", "listen", "patch"]
