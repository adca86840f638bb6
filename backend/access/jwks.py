"""An issuer's published keys (RFC 7517), kept fresh."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import jwt
import urllib3

from backend.chat.errors import Unavailable

logger = logging.getLogger(__name__)

FRESH_S = 25.0
"""With a socket's own 15 s between two looks, a withdrawn key is out within 45 s."""
RETRY_S = 10.0
LAST_S = 3600.0
FETCH_S = 2.0
MAX_BYTES = 65536

KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_MEMBERS = ("kty", "crv", "n", "e", "x", "y")
"""Those of public keys: whatever else stands there is not looked at."""

Found = Mapping[str | None, Any]
"""Keys by their ids. A key that is alone also answers to None, for tokens that name none."""


class Jwks:
    """The keys as they were last fetched.

    They are fetched again when they are FRESH_S old, and for a key id that is not among them, but not
    within RETRY_S of the last time. While the issuer is out of reach the old ones hold for LAST_S.
    The lock is held by whoever fetches; who asks for a key that is there does not need it.
    """

    def __init__(
        self, fetch: Callable[[], bytes], algorithm: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`fetch` gives the document, or raises OSError or ValueError."""
        self._fetch = fetch
        self._algorithm = algorithm
        self._monotonic = monotonic
        self._found: Found = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._lock = Lock()

    def find(self, key_id: str | None) -> Any | None:
        key = self._known(key_id)
        if key is None:
            with self._lock:
                if self._age(self._tried_s) >= RETRY_S:
                    self._refresh()
            key = self._known(key_id)
        if self._age(self._fetched_s) > LAST_S:
            raise Unavailable("Tokens cannot be checked, for their issuer's keys cannot be had; try again")
        return key

    def tend(self) -> None:
        """Fetch the keys again when they are due."""
        if self._age(self._fetched_s) >= FRESH_S and self._age(self._tried_s) >= RETRY_S:
            with self._lock:
                self._refresh()

    def _known(self, key_id: str | None) -> Any | None:
        return self._found.get(key_id) if self._age(self._fetched_s) <= LAST_S else None

    def _age(self, moment_s: float | None) -> float:
        return float("inf") if moment_s is None else self._monotonic() - moment_s

    def _refresh(self) -> None:
        self._tried_s = self._monotonic()
        try:
            found = read_keys(self._fetch(), self._algorithm)
        except (OSError, ValueError) as exc:
            logger.warning("the keys of JWKS_URL could not be fetched: %s", exc)
            return
        self._found, self._fetched_s = found, self._tried_s


def read_keys(document: bytes, algorithm: str) -> Found:
    """The keys in a key set that fit the algorithm; others, and what is no key, are passed over.

    Raises ValueError for what is no key set.
    """
    try:
        said = json.loads(document)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    rows = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(rows, list):
        raise ValueError("it is no key set")
    found: dict[str | None, Any] = {}
    for row in rows:
        if isinstance(row, dict) and _fits(row, algorithm) and (key := _key(row, algorithm)) is not None:
            found[row.get("kid")] = key
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def _fits(row: Mapping[str, Any], algorithm: str) -> bool:
    operations = row.get("key_ops", ["verify"])
    return (
        row.get("kty") == KEY_TYPES[algorithm]
        and row.get("alg", algorithm) == algorithm
        and row.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(row.get("kid", ""), str)
    )


def _key(row: Mapping[str, Any], algorithm: str) -> Any | None:
    members = {name: row[name] for name in _MEMBERS if isinstance(row.get(name), str)}
    form = jwt.get_algorithm_by_name(algorithm)
    try:
        key = form.prepare_key(jwt.PyJWK(members, algorithm).key)
    except (jwt.PyJWTError, ValueError, TypeError):
        key = None
    if key is None or form.check_key_length(key):
        logger.warning("JWKS_URL holds a key that cannot be used with %s", algorithm)
        return None
    return key


def fetcher(url: str, monotonic: Callable[[], float] = time.monotonic) -> Callable[[], bytes]:
    """Gets the document at `url`: no redirects, MAX_BYTES and about FETCH_S at most."""
    pool = urllib3.PoolManager(retries=False, timeout=FETCH_S, maxsize=1)
    headers = {"Accept-Encoding": "identity"}

    def fetch() -> bytes:
        until_s = monotonic() + FETCH_S
        try:
            response = pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
            try:
                return _read(response, lambda: monotonic() > until_s)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as exc:
            raise OSError(type(exc).__name__) from exc

    return fetch


def _read(response: urllib3.BaseHTTPResponse, late: Callable[[], bool]) -> bytes:
    if response.status != 200:
        raise ValueError(f"it answered {response.status}")
    document = b""
    while piece := response.read1(MAX_BYTES, decode_content=False):
        document += piece
        if len(document) > MAX_BYTES:
            raise ValueError(f"it is over {MAX_BYTES} bytes")
        if late():
            raise ValueError("it took too long")
    return document
