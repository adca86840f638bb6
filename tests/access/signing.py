"""Keys of an issuer, and tokens made by hand, good and bad."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = "a secret of thirty-two bytes or more"
ASYMMETRIC = ("RS256", "ES256", "EdDSA")

MAKERS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
    "Ed448": ed448.Ed448PrivateKey.generate,
}


def private_key(kind: str, name: str = "") -> Any:
    """A key pair of the kind; another for each name."""
    return _made(kind, name)


@cache
def _made(kind: str, name: str) -> Any:
    return MAKERS[kind]()


def public_pem(kind: str, name: str = "") -> str:
    key = private_key(kind, name).public_key()
    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(kind: str, name: str = "") -> str:
    pem = private_key(kind, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return str(pem.decode())


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token for alice; what is changed to None is left out."""
    now = int(time.time())
    whole = {"sub": "alice", "iat": now, "exp": now + 3600, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def token(algorithm: str = "HS256", name: str = "", header: Any = None, **changes: Any) -> str:
    """A token that is signed as it should be."""
    key = SECRET if algorithm == "HS256" else private_key(algorithm, name)
    return jwt.encode(claims(**changes), key, algorithm, headers=header)


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: bytes, payload: bytes, secret: bytes = SECRET.encode()) -> str:
    """Whatever the two parts are, signed with HS256."""
    signed = f"{base64url(header)}.{base64url(payload)}"
    return f"{signed}.{base64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def said(**claims: Any) -> bytes:
    return json.dumps(claims).encode()
