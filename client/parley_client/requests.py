"""What is asked, as data."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal
from urllib.parse import quote

IDEMPOTENCY_KEY = "Idempotency-Key"


class Place(Enum):
    """Where a question goes that names no message to come after."""

    NEWEST = "after the newest message"


NEWEST: Final = Place.NEWEST
Newest = Literal[Place.NEWEST]


@dataclass(frozen=True, slots=True)
class Request:
    """`repeatable`: arriving twice is as good as once. `generates`: the answer waits for a model's."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    generates: bool = False


def path_of(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def new_key() -> str:
    """For one question, however often it is sent."""
    return uuid.uuid4().hex


def at(parent_id: str | Newest | None) -> dict[str, Any]:
    """What says so in a question, where None is a place as well."""
    return {} if parent_id is NEWEST else {"parent_id": parent_id}


def given(**fields: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
