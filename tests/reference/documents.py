"""The documents as a program with these settings serves them, and reading about in them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from flask import Flask

from backend.app import build
from backend.config import Config
from backend.runtime import WebSocketWSGI
from tests.access.signing import SECRET
from tests.fakes.runtime import ThreadRuntime

Document = dict[str, Any]


def app(**settings: Any) -> Flask:
    config = Config(store_url="memory://", jwt_secret=SECRET, **settings)
    return build(config, ThreadRuntime(), WebSocketWSGI).app


def served(name: str, **settings: Any) -> Document:
    answer = app(**settings).test_client().get(f"/{name}.json")
    assert answer.content_type == "application/json"
    document: Document = answer.get_json()
    return document


def every(node: Any, key: str) -> Iterator[Any]:
    """All values under a key, however deep."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from every(child, key)


def at(document: Document, pointer: str) -> Any:
    """What `#/…` refers to; a KeyError if that is nothing."""
    found: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def closed(document: Document, *models: str) -> Document:
    """The schema of one of these models, with which a field that it does not tell of is a mistake."""
    schemas = deepcopy(document["components"]["schemas"])
    for name, schema in schemas.items():
        if name != "Usage" and "properties" in schema:
            schema["additionalProperties"] = False
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in models]
    return {"anyOf": choices, "components": {"schemas": schemas}}
