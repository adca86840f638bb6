"""What tokens are checked with: a secret of ours, or an issuer's public key or key set."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt

from backend.access.jwks import Jwks, fetcher
from backend.access.origins import LOOPBACK
from backend.chat.errors import Misconfigured

MIN_SECRET_BYTES = 32


class Keys(Protocol):
    def find(self, key_id: str | None) -> Any | None:
        """The key of that id, as PyJWT takes it. Raises Unavailable when no key is at hand."""

    def tend(self) -> None:
        """To be called every second or so; may wait for the network."""


class OneKey:
    """The same key for every token, whatever id it names."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def find(self, key_id: str | None) -> Any:  # noqa: ARG002
        return self._key

    def tend(self) -> None:
        """It does not age."""


def open_keys(
    algorithm: str, secret: str | None, secret_file: Path, public_key: str | None, jwks_url: str | None
) -> Keys:
    """The keys of these settings. Raises Misconfigured, also for settings that contradict each other."""
    if algorithm == "HS256":
        if public_key or jwks_url:
            raise Misconfigured(
                "JWT_PUBLIC_KEY and JWKS_URL go with RS256, ES256 or EdDSA, not with HS256; set JWT_ALGORITHM"
            )
        return OneKey(shared_secret(secret, secret_file))
    if secret:
        raise Misconfigured(f"JWT_SECRET goes with HS256; JWT_ALGORITHM={algorithm} takes JWT_PUBLIC_KEY")
    if public_key and jwks_url:
        raise Misconfigured("JWT_PUBLIC_KEY and JWKS_URL are both set; keep the one that holds")
    if jwks_url:
        return Jwks(fetcher(_fit_address(jwks_url)), algorithm)
    if public_key:
        return OneKey(_public_key(public_key, algorithm))
    raise Misconfigured(f"JWT_ALGORITHM={algorithm} needs JWT_PUBLIC_KEY or JWKS_URL")


def shared_secret(secret: str | None, secret_file: Path) -> bytes:
    """The secret, or the one that is kept in the file, which is made if it is not there."""
    if secret is not None:
        return _fit_secret(secret.encode(), "JWT_SECRET")
    try:
        if not secret_file.exists():
            _keep_new_secret(secret_file)
        return _fit_secret(secret_file.read_bytes().strip(), str(secret_file))
    except OSError as exc:
        raise Misconfigured(
            f"{secret_file}, which holds the key of tokens, cannot be used ({exc.strerror}); "
            "mend that, or set JWT_SECRET"
        ) from exc


def _fit_secret(secret: bytes, where: str) -> bytes:
    if len(secret) < MIN_SECRET_BYTES:
        raise Misconfigured(
            f"{where} has {len(secret)} bytes, and a secret needs {MIN_SECRET_BYTES} at least; set a longer "
            "one, or remove it and one is made"
        )
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError as exc:
        raise Misconfigured(f"{where} holds a public key; a secret must be known to nobody") from exc
    return secret


def _keep_new_secret(path: Path) -> None:
    """It appears whole or not at all, and of several servers that start at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # readable by us alone
    try:
        with os.fdopen(handle, "w") as file:
            file.write(token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        os.unlink(name)


def _public_key(text: str, algorithm: str) -> Any:
    """From a PEM text, its line ends perhaps written as `\\n`, or the path of a file that holds one."""
    try:
        pem = text.replace("\\n", "\n") if text.startswith("-----BEGIN") else Path(text).read_text("ascii")
    except (OSError, ValueError) as exc:
        raise Misconfigured("JWT_PUBLIC_KEY is neither a PEM text nor a file that can be read") from exc
    form = jwt.get_algorithm_by_name(algorithm)
    try:
        key = form.prepare_key(pem)
        members = form.to_jwk(key, as_dict=True)
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise Misconfigured(f"JWT_PUBLIC_KEY is no key that fits JWT_ALGORITHM={algorithm}") from exc
    if "d" in members:
        raise Misconfigured("JWT_PUBLIC_KEY holds a private key; give this server the public one only")
    if weakness := form.check_key_length(key):
        raise Misconfigured(f"JWT_PUBLIC_KEY is too short to be safe: {weakness}")
    return key


def _fit_address(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    ):
        raise Misconfigured("JWKS_URL must be an https address; http is for this machine only")
    return url
