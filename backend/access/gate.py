"""Who calls, and whether they may: what every door asks first."""

from __future__ import annotations

from backend.access.addresses import normal
from backend.access.rates import Refusals
from backend.access.tokens import Tokens
from backend.chat.errors import Unauthorized
from backend.chat.requests import Caller

NOBODY = "anonymous"
"""The token of who has none, for clients that insist on sending one."""


class Gate:
    """`tokens` None: nobody is asked who they are (AUTH=off). Addresses are taken as the connection, or
    the trusted proxy, gives them."""

    def __init__(self, tokens: Tokens | None, required: bool, refusals: Refusals | None = None) -> None:
        self._tokens = tokens
        self._required = required
        self._refusals = refusals

    def enter(self, address: str) -> None:
        """Raises RateLimited while too many requests of this address have been refused."""
        if self._refusals is not None:
            self._refusals.check(normal(address))

    def count_refusal(self, address: str) -> None:
        """To be told of each request that was refused, but for those that `enter` refused itself."""
        if self._refusals is not None:
            self._refusals.count(normal(address))

    def identify(self, token: str | None, address: str) -> Caller:
        """`token` is the bare token; None: none was sent. Raises Unauthorized, and Unavailable when
        tokens cannot be checked just now."""
        if self._tokens is None:
            return stranger(address)
        if token in (None, NOBODY):
            if self._required:
                raise Unauthorized(
                    "Sign in: send a token, as Authorization: Bearer <token> or, on a socket, as auth.token"
                )
            return stranger(address)
        return Caller(f"user:{self._tokens.subject(token)}", normal(address))


def stranger(address: str) -> Caller:
    """Whoever is there, without a name."""
    return Caller("", normal(address))


def bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` header (RFC 6750); empty, which no token is, if it has none."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""
