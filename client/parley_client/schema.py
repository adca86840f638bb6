"""A Pydantic model as the JSON schema that a language model is held to."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

NAME_CHARS = 64
STRICT_KEYWORDS = frozenset(
    "$defs $ref additionalProperties anyOf const description enum exclusiveMaximum exclusiveMinimum format "
    "items maxItems maximum minItems minimum multipleOf pattern prefixItems properties required title "
    "type".split()
)
"""What OpenAI's strict mode takes (their guide on structured outputs). A schema with anything else is sent as
it is and without `strict`, and Pydantic alone sees to the rest."""


def response_format(model: type[BaseModel]) -> dict[str, Any]:
    """As OpenAI's `response_format`: strict where the schema allows."""
    schema = model.model_json_schema()
    strict = _strict(_with_its_root(schema))
    is_strict = strict.get("type") == "object" and _fits(strict)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", model.__name__)[:NAME_CHARS]
    wanted = {"name": name, "schema": strict if is_strict else schema, "strict": is_strict}
    return {"type": "json_schema", "json_schema": wanted}


def _with_its_root(schema: dict[str, Any]) -> dict[str, Any]:
    """A model that holds itself is a reference to its own definition: the same with that in its place."""
    root = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**schema["$defs"][root], "$defs": schema["$defs"]} if root else schema


def _strict(schema: Any) -> Any:
    """The same without defaults, every property required, nothing besides them."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tight: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs"):
            tight[keyword] = {name: _strict(each) for name, each in value.items()}
        elif keyword in ("enum", "const", "required"):
            tight[keyword] = value
        elif keyword == "oneOf":
            tight["anyOf"] = _strict(value)
        elif keyword not in ("default", "discriminator", "examples"):
            tight[keyword] = _strict(value)
    if "properties" in tight:
        tight["required"] = list(tight["properties"])
        tight.setdefault("additionalProperties", False)
    if "$ref" in tight and len(tight) > 1:
        # Beside a reference strict mode takes nothing.
        tight = {"anyOf": [{"$ref": tight.pop("$ref")}], **tight}
    return tight


def _fits(schema: Any) -> bool:
    """Whether it has nothing that strict mode refuses."""
    if isinstance(schema, list):
        return all(_fits(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        return False
    for keyword, value in schema.items():
        if keyword not in STRICT_KEYWORDS:
            return False
        if keyword in ("properties", "$defs"):
            if not all(_fits(each) for each in value.values()):
                return False
        elif keyword not in ("enum", "const", "required", "type") and not _fits(value):
            return False
    return True
