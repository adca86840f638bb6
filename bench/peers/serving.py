"""uvicorn as it is fastest: uvloop and httptools."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI) -> None:
    uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", backlog=8192)
