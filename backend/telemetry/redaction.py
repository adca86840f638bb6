"""Text made fit for a log: one line, and no secret of ours in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

SHORTEST_SECRET = 8
"""A shorter one would be found in ordinary words."""

# What can end a line, steer a terminal or turn the order of writing, and halves of characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def one_line(text: str) -> str:
    if text.isascii() and text.isprintable():  # nearly always, and much cheaper than to search
        return text
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class Redaction:
    """Hides secrets, also as Python, JSON and addresses spell them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {
            spelt
            for secret in secrets
            if len(secret) >= SHORTEST_SECRET
            for spelt in (
                secret,
                repr(secret)[1:-1],
                json.dumps(secret)[1:-1],
                quote(secret, ""),
                quote_plus(secret),
            )
        }
        longest_first = sorted(found, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def clean(self, text: str) -> str:
        """The text as one line without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub("[redacted]", text)
        return one_line(text)
