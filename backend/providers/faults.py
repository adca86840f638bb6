"""What goes wrong with an upstream, as a sentence a person can act on and that gives nothing away."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TypeAlias

import orjson
from urllib3.util import Url

from backend.chat.errors import BROKE_OFF, Broken, UpstreamError, UpstreamTimeout
from backend.providers.chunks import Unreadable

MAX_COMPLAINT_CHARS = 300
MAX_HIDDEN_CHARS = 4 * MAX_COMPLAINT_CHARS
KEY_PIECE_CHARS = 8
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)

WHO = "The model's provider"
LATE = {
    "connect_s": f"{WHO} could not be reached within {{:g}} s; ask again, or raise UPSTREAM_CONNECT_S",
    "first_byte_s": f"{WHO} did not begin to answer in {{:g}} s; ask again, or raise UPSTREAM_FIRST_BYTE_S",
    "between_s": f"{WHO} was silent for {{:g}} s in mid-answer; ask again, or raise UPSTREAM_BETWEEN_S",
    "total_s": "The answer took longer than {:g} s in all; ask for a shorter one, or raise UPSTREAM_TOTAL_S",
}
REFUSED = {
    401: f"{WHO} refused our key; whoever runs this server must set a valid one",
    402: f"{WHO} says that our account there is empty; whoever runs this server must fill it",
    403: f"{WHO} refused our key for this model; choose another model, or have the key checked",
    404: f"{WHO} knows no such model; choose another, or have the provider's base URL checked",
    429: f"{WHO} has had too many requests from us; ask again in a minute",
}
ELSEWHERE = f"{WHO} would have us ask somewhere else, which is not safe; have its base URL checked"
UNPROVEN = f"{WHO} could not prove who it is; have its base URL and its certificate checked"
INSECURE = f"{WHO} could not agree with us on a secure connection; have its base URL checked"
NAMELESS = f"{WHO} cannot be found by its name; ask again, or have its base URL checked"
UNREACHABLE = f"{WHO} cannot be reached; ask again in a moment"
TOO_SLOW = f"{WHO} took too long; ask again"
UNREADABLE = f"{WHO} sent something that is no answer; ask again, or have its base URL checked"

Row: TypeAlias = tuple[tuple[type[Exception], ...], type[Broken], str]
FAULTS: tuple[Row, ...] = (
    ((ssl.SSLCertVerificationError,), UpstreamError, UNPROVEN),
    ((ssl.SSLError,), UpstreamError, INSECURE),
    ((socket.gaierror, UnicodeError), UpstreamError, NAMELESS),
    ((ConnectionRefusedError,), UpstreamError, UNREACHABLE),
    ((TimeoutError,), UpstreamTimeout, TOO_SLOW),
    ((ConnectionError, EOFError, http.client.IncompleteRead), UpstreamError, BROKE_OFF),
    ((OSError,), UpstreamError, UNREACHABLE),
    ((Unreadable, orjson.JSONDecodeError, http.client.HTTPException), UpstreamError, UNREADABLE),
)
"""What foreign exceptions mean to a caller: the first row that fits. One that fits none is our fault."""


class Secrets:
    """Keeps our key and the upstream's address out of what people read."""

    def __init__(self, key: str, base_url: str, url: Url) -> None:
        self._size = min(KEY_PIECE_CHARS, len(key))
        self._pieces = {key[at : at + self._size] for at in range(len(key) - self._size + 1)} - {""}
        names = {base_url, url.netloc or "", url.host or ""} - {""}
        self._names = re.compile(
            "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)), re.IGNORECASE
        )

    def hide(self, text: str) -> str:
        """The text without addresses, and without any piece of the key: upstreams quote it in part. A long
        one is cut, and so that no piece is cut that would have been found."""
        if len(text) > MAX_HIDDEN_CHARS:
            return self.hide(text[:MAX_HIDDEN_CHARS])[:-KEY_PIECE_CHARS]
        text = self._names.sub("[address]", ADDRESS.sub("[address]", text))
        if not self._pieces:
            return text
        hidden = set[int]()
        for at in range(len(text)):
            if text[at : at + self._size] in self._pieces:
                hidden.update(range(at, at + self._size))
        shown = "".join("\0" if at in hidden else char for at, char in enumerate(text))
        return re.sub("\0+", "[key]", shown)

    def quoting(self, sentence: str, words: str) -> str:
        """The sentence with an upstream's own words, made fit to be read."""
        words = self.hide("".join(char if char.isprintable() else " " for char in words))
        words = " ".join(words.split())
        if len(words) > MAX_COMPLAINT_CHARS:
            words = words[:MAX_COMPLAINT_CHARS] + "…"
        return f"{sentence}: {words}" if words else f"{sentence}; ask again, or choose another model"


def translated(exc: Exception) -> Broken | None:
    """A foreign exception as one of ours, by the table."""
    for kinds, fault, sentence in FAULTS:
        if isinstance(exc, kinds):
            return fault(sentence)
    return None
