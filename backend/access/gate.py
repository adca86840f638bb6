"""Who calls, and whether they may: what every door asks first."""

from __future__ import annotations

from collections.abc import Callable

from backend.access.addresses import normal
from backend.access.keyring import PREFIX, Keyring
from backend.access.rates import Refusals
from backend.access.tokens import Tokens
from backend.chat.errors import Unauthorized
from backend.chat.requests import Caller

ADMIN = "admin"
"""The scope of who may manage teams."""
NOBODY = "anonymous"
"""The token of who has none, for clients that insist on sending one."""


class Gate:
    """`tokens` None: nobody is asked who they are (AUTH=off), but where they must say it; then `late` gives
    what tokens are checked with. Addresses are taken as the connection, or the trusted proxy, gives them."""

    def __init__(
        self,
        tokens: Tokens | None,
        required: bool,
        refusals: Refusals | None = None,
        keyring: Keyring | None = None,
        late: Callable[[], Tokens] | None = None,
    ) -> None:
        self._tokens = tokens
        self._required = required
        self._refusals = refusals
        self._keyring = keyring
        self._late = late

    def enter(self, address: str) -> None:
        """Raises RateLimited while too many requests of this address have been refused."""
        if self._refusals is not None:
            self._refusals.check(normal(address))

    def count_refusal(self, address: str) -> None:
        """To be told of each request that was refused, but for those that `enter` refused itself."""
        if self._refusals is not None:
            self._refusals.count(normal(address))

    def identify(self, token: str | None, address: str, *, always: bool = False) -> Caller:
        """`token` is the bare token, or a team's key; None: none was sent. `always`: whatever AUTH says, they
        must say who they are. Raises Unauthorized, and Unavailable when that cannot be checked just now."""
        if self._tokens is None and not always:
            return stranger(address)
        if token is None or token == NOBODY:
            if self._required or always:
                raise Unauthorized(
                    "Sign in: send a token, as Authorization: Bearer <token> or, on a socket, as auth.token"
                )
            return stranger(address)
        if self._keyring is not None and token.startswith(PREFIX):
            team = self._keyring.holder(token)
            owner = f"team:{team.team_id}"
            return Caller(owner, normal(address), team.team_id, team.rate_limit, team.models)
        tokens = self._tokens or (self._late and self._late())
        if not tokens:
            raise Unauthorized("Tokens are not taken here")
        named = tokens.read(token)
        return Caller(f"user:{named.subject}", normal(address), admin=ADMIN in named.scopes)


def stranger(address: str) -> Caller:
    """Whoever is there, without a name."""
    return Caller("", normal(address))


def bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` header (RFC 6750); empty, which no token is, if it has none."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""
