"""The one room that knows which green-thread library runs us: patching, signals, threads, serving.

`patch()` must be called before anything else is imported; `python -m backend` does.
"""

import warnings

with warnings.catch_warnings():
    # It says at every start that it is being retired; that is known, and why only this room names it.
    warnings.simplefilter("ignore")
    import eventlet  # noqa: F401

from backend.runtime.body import Bounds
from backend.runtime.green import EventletRuntime, EventletSignal, patch
from backend.runtime.server import HttpServer, listen

__all__ = ["Bounds", "EventletRuntime", "EventletSignal", "HttpServer", "listen", "patch"]
