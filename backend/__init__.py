"""Parley: a realtime chat backend for large language models whose answers are never lost.

`backend.app.build` makes a program from a `Config`; `python -m backend` serves it.
"""

__version__ = "0.1.0"
