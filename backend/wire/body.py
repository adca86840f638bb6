"""A JSON body, read strictly: one reading, no surprises later."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from backend.chat.errors import InvalidJson, InvalidRequest

NO_NUL = r"^[^\x00]*$"
"""The pattern of any text here."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Body:
    """`fingerprint` is the same for bodies that say the same, however they are spaced and ordered."""

    fields: dict[str, Any]
    fingerprint: str


def read_body(raw: bytes) -> Body:
    """A JSON object, or InvalidJson saying what is wrong with it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise InvalidJson("The body is not UTF-8") from exc
    return body_of(read_json(text))


def read_json(text: str) -> Any:
    """Any JSON value. Raises InvalidJson for what is none, and for what readers disagree about: a name
    given twice, NaN and Infinity, numbers past 64 bits or a double, nesting past 254 levels, half a
    surrogate pair."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        orjson.dumps(value)
    except RecursionError as exc:
        raise InvalidJson("The body is nested too deeply") from exc
    except orjson.JSONEncodeError as exc:
        raise InvalidJson(
            "The body has a number, a string or a depth that JSON readers disagree about"
        ) from exc
    except ValueError as exc:
        raise InvalidJson(f"The body is not valid JSON: {_where(exc)}") from exc
    return value


def body_of(value: Any) -> Body:
    """A value that `read_json` gave, as a body. Raises InvalidRequest."""
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if b"\\u0000" in canonical and _NUL.search(canonical):
        raise InvalidRequest("The body holds a NUL character, which no text here may have")
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object")
    return Body(value, hashlib.sha256(canonical).hexdigest())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name is given twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """Python would read 1e999 as infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _where(exc: ValueError) -> str:
    """What is wrong and where, without quoting the body."""
    if isinstance(exc, json.JSONDecodeError):
        return f"{exc.msg.removesuffix(' at')} at line {exc.lineno}, column {exc.colno}"
    return str(exc) if "digit" not in str(exc) else "a number is too long"


def whole(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is the whole number 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def any_json(itself: dict[str, Any]) -> dict[str, Any]:
    """Any JSON value that `read_body` reads, as a JSON schema; `itself` refers to it."""
    return {
        "anyOf": [
            {"type": ["null", "boolean"]},
            {"type": "number", "minimum": -(2**63), "maximum": 2**64 - 1},
            {"type": "string", "pattern": NO_NUL},
            {"type": "array", "items": itself},
            {"type": "object", "propertyNames": {"pattern": NO_NUL}, "additionalProperties": itself},
        ]
    }
