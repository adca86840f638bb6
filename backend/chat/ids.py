"""Ids of everything that is made here."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
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
