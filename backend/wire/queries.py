"""What a URL's query asks for: numbers, the page of a list, versions."""

from __future__ import annotations

from collections.abc import Mapping

from backend.chat.errors import InvalidRequest

LIMIT = 50
MAX_LIMIT = 200
MAX_OFFSET = 10**9 - 1
ALL_VERSIONS = "all"


def read_number(name: str, text: str | None, otherwise: int, least: int, most: int) -> int:
    """Raises InvalidRequest."""
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidRequest(f"{name} must be a number from {least} to {most}")
    return int(text)


def read_limit(query: Mapping[str, str]) -> int:
    """How many of a list at most. Raises InvalidRequest."""
    return read_number("limit", query.get("limit"), LIMIT, 1, MAX_LIMIT)


def read_versions(query: Mapping[str, str]) -> bool:
    """Whether all versions are wanted, and not the newest alone. Raises InvalidRequest."""
    text = query.get("versions")
    if text not in (None, ALL_VERSIONS):
        raise InvalidRequest(f"versions must be {ALL_VERSIONS}; leave it out for the newest")
    return text is not None


def read_page(query: Mapping[str, str]) -> tuple[int, int]:
    """That, and how many to leave out. Raises InvalidRequest."""
    return read_limit(query), read_number("offset", query.get("offset"), 0, 0, MAX_OFFSET)
