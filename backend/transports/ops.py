"""For whoever runs it: alive, ready, and what is going on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, jsonify

from backend.chat.engine import Engine
from backend.chat.errors import Unavailable
from backend.chat.ports import SessionStore


@dataclass(frozen=True, slots=True)
class About:
    """What `/api/status` says that does not change while the program runs."""

    version: str
    runtime: str
    store: str
    models: tuple[str, ...]
    default_model: str
    image_hosts: tuple[str, ...]


def blueprint(
    engine: Engine, store: SessionStore, about: About, monotonic: Callable[[], float] = time.monotonic
) -> Blueprint:
    door = Blueprint("ops", __name__)
    started_s = monotonic()

    @door.get("/health")
    def health() -> dict[str, str]:
        return {"status": "healthy"}

    @door.get("/ready")
    def ready() -> Response:
        if engine.draining:
            raise Unavailable("This server is about to stop")
        store.get("", "ready")  # raises Unavailable when it cannot be read
        return jsonify({"status": "ready"})

    @door.get("/api/status")
    def status() -> dict[str, Any]:
        models = [{"name": name, "default": name == about.default_model} for name in about.models]
        return {
            "version": about.version,
            "runtime": about.runtime,
            "models": models,
            "image_hosts": about.image_hosts,
            "stores": {"sessions": about.store, "streams": about.store},
            "counts": {"live_streams": engine.live_count},
            "uptime_s": round(monotonic() - started_s, 1),
            "draining": engine.draining,
        }

    return door
