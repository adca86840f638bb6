"""Ids of everything that is made here."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import randbits

TICKS_PER_S = 16
RANDOM_BITS = 132
ID_CHARS = 28

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_IN_ORDER = bytes.maketrans(_ALPHABET, bytes(sorted(_ALPHABET)))


def new_id(clock: float | None = None) -> str:
    """28 characters, safe in URLs and file names, that nobody guesses: 132 of their bits are random.

    Before those stands the time in sixteenths of a second (36 bits, until 2106), so that ids sort by when
    they were made, and a store writes what is new side by side instead of all over its indexes.
    """
    ticks = int((time.time() if clock is None else clock) * TICKS_PER_S)
    number = ticks << RANDOM_BITS | randbits(RANDOM_BITS)
    return urlsafe_b64encode(number.to_bytes(21)).translate(_IN_ORDER).decode()


def id_of(*names: str) -> str:
    """The id, of the same form, that goes with these names, always the same; nobody guesses it who does not
    know them."""
    digest = sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest[:21]).translate(_IN_ORDER).decode()
