"""The documents that programs read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from flask import Blueprint, Response

Document: TypeAlias = Callable[[], Mapping[str, Any]]


def blueprint(openapi: Document, asyncapi: Document) -> Blueprint:
    """They are made when they are first asked for, which most servers never are."""
    door = Blueprint("reference", __name__)

    @cache
    def written(document: Document) -> str:
        return json.dumps(document(), ensure_ascii=False)

    @door.get("/openapi.json")
    def for_http() -> Response:
        return Response(written(openapi), content_type="application/json")

    @door.get("/asyncapi.json")
    def for_sockets() -> Response:
        return Response(written(asyncapi), content_type="application/json")

    return door
