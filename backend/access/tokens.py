"""Signed tokens: whom one names, and making one."""

from __future__ import annotations

import json
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from backend.access.keys import Keys
from backend.chat.errors import Unauthorized

logger = logging.getLogger(__name__)

MAX_TOKEN_CHARS = 4096
MAX_SUBJECT_CHARS = 255
LEEWAY_S = 30

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_TIMES = ("exp", "nbf", "iat")

# What is wrong in detail is told to the log, not to whoever holds the token.
_EXPIRED = "Your token has expired; get a new one"
_NOT_VALID = "Your token is not valid here; get a new one"


@dataclass(frozen=True, slots=True)
class Named:
    """`subject` has 1 to 255 printable characters; `scopes` are what they may besides (RFC 8693, 4.2)."""

    subject: str
    scopes: frozenset[str]


class Tokens:
    """JSON Web Tokens (RFC 7519) of one algorithm. A token cannot choose how it is checked: what its
    header says of algorithms and addresses of keys is compared or ignored, and a key's id is looked up."""

    def __init__(
        self, algorithm: str, keys: Keys, issuer: str | None = None, audience: str | None = None
    ) -> None:
        self._algorithm = algorithm
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    def read(self, token: str) -> Named:
        """Whom the token names.

        Raises Unauthorized, and Unavailable when there is no telling for want of keys.
        """
        try:
            claims = self._claims(token)
            return Named(_subject_of(claims), _scopes_of(claims))
        except jwt.PyJWTError as exc:
            logger.info("a token was refused: %s", type(exc).__name__)
            expired = isinstance(exc, jwt.ExpiredSignatureError)
            raise Unauthorized(_EXPIRED if expired else _NOT_VALID) from exc

    def _claims(self, token: str) -> Mapping[str, Any]:
        header = _header(token)
        if header.get("alg") != self._algorithm:
            raise jwt.InvalidAlgorithmError
        key = self._keys.find(_key_id(header))
        if key is None:
            raise jwt.InvalidKeyError
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[self._algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_S,
            options={
                "require": ["exp", "sub"],
                "verify_aud": self._audience is not None,
                "enforce_minimum_key_length": True,
            },
        )
        return claims


def mint(
    secret: bytes, subject: str, issued_at_s: int, lifetime_s: int, claims: Mapping[str, str | None]
) -> str:
    """A token for HS256 that names `subject`, with these claims but for those that are None.

    Raises ValueError for a subject that no token may name.
    """
    times = {"iat": issued_at_s, "exp": issued_at_s + lifetime_s}
    said = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode({"sub": subject, **times, **said}, secret, "HS256")
    if not _may_be_named(subject) or len(token) > MAX_TOKEN_CHARS:
        raise ValueError(f"1 to {MAX_SUBJECT_CHARS} printable characters")
    return token


def _header(token: str) -> Mapping[str, Any]:
    """The header of what has at least a token's form: three segments, each base64url in its one
    canonical spelling, so that a token cannot be respelt into another that counts as well."""
    if len(token) > MAX_TOKEN_CHARS:
        raise jwt.DecodeError
    try:
        head, _, _ = map(_bytes_of, token.split("."))
        header = json.loads(head.decode())
    except (ValueError, RecursionError) as exc:
        raise jwt.DecodeError from exc
    if not isinstance(header, dict) or "crit" in header:
        raise jwt.DecodeError  # we know no extension that could be critical
    return header


def _bytes_of(segment: str) -> bytes:
    if not _SEGMENT.fullmatch(segment):
        raise ValueError
    raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        raise ValueError
    return raw


def _key_id(header: Mapping[str, Any]) -> str | None:
    key_id = header.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise jwt.InvalidKeyError
    return key_id


def _subject_of(claims: Mapping[str, Any]) -> str:
    for name in _TIMES:
        if name in claims and type(claims[name]) not in (int, float):
            raise jwt.DecodeError
    subject: str = claims["sub"]
    if not _may_be_named(subject):
        raise jwt.InvalidTokenError
    return subject


def _scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    said = claims.get("scope")
    return frozenset(said.split(" ") if isinstance(said, str) else ())


def _may_be_named(subject: str) -> bool:
    return 1 <= len(subject) <= MAX_SUBJECT_CHARS and subject.isprintable()
