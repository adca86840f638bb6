"""The documents that programs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response


def blueprint(openapi: Mapping[str, Any], asyncapi: Mapping[str, Any]) -> Blueprint:
    door = Blueprint("reference", __name__)
    http, sockets = (json.dumps(document, ensure_ascii=False) for document in (openapi, asyncapi))

    @door.get("/openapi.json")
    def for_http() -> Response:
        return Response(http, content_type="application/json")

    @door.get("/asyncapi.json")
    def for_sockets() -> Response:
        return Response(sockets, content_type="application/json")

    return door
