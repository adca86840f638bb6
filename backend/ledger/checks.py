"""What may be written, before any of it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backend.chat.errors import InvalidRequest, Unauthorized
from backend.ledger.records import MODES, Terms

MOST = 10**15
"""The most of anything: sums of many such numbers still fit into 64 bits."""
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
RATE = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)|off")
KEY = re.compile(r"sk-[A-Za-z0-9_-]{43}")
REFUSED = "Your key is not valid here; get a new one"


def whole(name: str, value: object, least: int = 0) -> int:
    """A number that counts. Raises InvalidRequest, as all of these do."""
    if type(value) is not int or not least <= value <= MOST:
        raise InvalidRequest(f"{name} must be a whole number from {least} to {MOST}")
    return value


def virtual_key(text: str) -> None:
    """Raises Unauthorized for what cannot be one."""
    if not KEY.fullmatch(text):
        raise Unauthorized(REFUSED)


def named(name: str, value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidRequest(
            f"{name} must be 1 to 64 letters, digits, dashes, underscores or dots, no dot first"
        )
    return value


def text(name: str, value: str | None, longest: int = 255) -> str | None:
    """Text that every database can hold."""
    if value is None:
        return None
    if len(value) > longest or "\0" in value or not _encodes(value):
        raise InvalidRequest(f"{name} must be text of up to {longest} characters, none of them NUL")
    return value


def some_text(name: str, value: str | None, longest: int = 255) -> str:
    found = text(name, value, longest)
    if not found:
        raise InvalidRequest(f"{name} must not be empty")
    return found


def metadata(value: Mapping[str, Any], most_bytes: int) -> dict[str, Any]:
    """All that a job or a call would have, which may have come in parts."""
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
    if size > most_bytes:
        raise InvalidRequest(f"metadata may have {most_bytes} bytes in all, as JSON; these would be {size}")
    return dict(value)


def terms(given: Terms) -> Terms:
    if given.budget_mode not in MODES:
        raise InvalidRequest(f"budget_mode must be one of {', '.join(MODES)}")
    whole("credits_per_dollar", given.credits_per_dollar, 1)
    whole("tokens_per_credit", given.tokens_per_credit, 1)
    return given


def rate_limit(value: str | None) -> str | None:
    if value is not None and not RATE.fullmatch(value):
        raise InvalidRequest("rate_limit must be such as 30/minute (a second, an hour and a day do as well)")
    return value


def groups(value: Sequence[str] | None) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or len(value) > 1000:
        raise InvalidRequest("model_groups must be a list of up to 1000 names")
    return [some_text("a model group's name", name) for name in value]


def moment(name: str, value: str | None) -> str | None:
    """A time with its offset, as all are kept: ISO 8601 in UTC, with microseconds."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError
        return at.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError) as exc:
        raise InvalidRequest(f"{name} must be a time such as 2030-01-31T12:00:00Z") from exc


def _encodes(value: str) -> bool:
    """Whether it is without lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
