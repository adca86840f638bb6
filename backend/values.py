"""What variables may hold: from their text to their value, or ValueError saying what they take."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

SHARED_STORES = tuple(
    f"{scheme}://"
    for scheme in (
        "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
    )
)  # fmt: skip
"""How the address of a store begins that several processes can use at once."""
MOST_WORKERS = 64


def whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError("a whole number, 0 or more")
    return int(text)


def port(text: str) -> int:
    number = whole(text)
    if number > 65535:
        raise ValueError("a number from 0 to 65535")
    return number


def positive(text: str) -> int:
    if not (number := whole(text)):
        raise ValueError("a whole number above 0")
    return number


def switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_WORKERS:
        raise ValueError(f"a whole number from 1 to {MOST_WORKERS}")
    return int(text)


def seconds(text: str) -> float:
    number = float(text) if text.replace(".", "", 1).isdigit() else math.nan
    if not math.isfinite(number):
        raise ValueError("a number, 0 or more")
    return number


def some_seconds(text: str) -> float:
    if not (number := seconds(text)):
        raise ValueError("a number above 0")
    return number


def rate(text: str) -> str | None:
    """So many in a moving window of one second, minute, hour or day; None: no limit."""
    if text == "off":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,5}/(second|minute|hour|day)", text):
        raise ValueError("such as 30/minute (a second, an hour and a day do as well), or off")
    return text


def store(text: str) -> str:
    named = text.startswith(("sqlite:///", *SHARED_STORES)) and not text.endswith("://")
    if text != "memory://" and (not named or text == "sqlite:///"):
        raise ValueError("memory://, sqlite:///<file> or redis://<host>")
    return text


def database(text: str) -> str:
    if not re.fullmatch(r"sqlite:///.+|postgres(ql)?://.+", text):
        raise ValueError("sqlite:///<file> or postgresql://<host>/<name>")
    return text


def one_of(*choices: str, any_case: bool = False) -> Callable[[str], str]:
    def read(text: str) -> str:
        text = text.lower() if any_case else text
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


log_level = one_of("debug", "info", "warning", "error", any_case=True)
log_format = one_of("text", "json", any_case=True)


def names(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def hosts(text: str) -> frozenset[str]:
    found = names(text)
    if any("/" in name or (":" in name and name.count(":") < 2) for name in found):
        raise ValueError("a comma list of host names without scheme or port, or *")
    return found


def origins(text: str) -> frozenset[str]:
    found = names(text)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
            raise ValueError("a comma list of origins such as https://chat.example.org")
    return found


def image_hosts(text: str) -> frozenset[str]:
    """As sources of a content security policy."""
    found = names(text)
    source = re.compile(r"https:|https?://(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9-]+)*(:([0-9]+))?")
    for name in found:
        match = source.fullmatch(name)
        if match is None or not 0 < int(match[5] or 443) < 65_536:
            raise ValueError(
                "a comma list such as https://img.example.org or https://*.example.org, or https:"
            )
    return found
