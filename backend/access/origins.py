"""From which pages and under which names the server may be reached."""

from __future__ import annotations

from collections.abc import Set
from urllib.parse import urlsplit

from backend.chat.errors import Forbidden

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Origins:
    """Keeps other sites' pages out.

    A page elsewhere could post to us without asking (any JSON is read whatever its type), so a request
    that names a foreign origin is refused unless it is in `cors_origins`. A name that an attacker has
    pointed at us would make a page of theirs "same origin", so names are limited to `allowed_hosts`;
    with none of these and `signed_in`, any will do: such a page has no token to send.
    """

    def __init__(
        self, host: str, allowed_hosts: Set[str], cors_origins: Set[str], signed_in: bool = False
    ) -> None:
        self._hosts = LOOPBACK | {host.lower()} | allowed_hosts
        self._any_host = "*" in allowed_hosts or (signed_in and not allowed_hosts)
        self._origins = cors_origins

    def admit(self, host: str, origin: str | None) -> None:
        """`host` and `origin` as the request's headers say. Raises Forbidden."""
        name = urlsplit(f"//{host}").hostname
        if not self._any_host and name not in self._hosts:
            raise Forbidden("This server is not known by that host name; add it to ALLOWED_HOSTS")
        if origin is not None and not self.is_foreign_allowed(origin) and not self._is_own(host, origin):
            raise Forbidden("Pages of this origin may not call this server; add it to CORS_ORIGINS")

    def is_foreign_allowed(self, origin: str) -> bool:
        return origin.lower() in self._origins

    def _is_own(self, host: str, origin: str) -> bool:
        """The scheme is left out: a proxy that ends TLS does not pass it on."""
        return origin.lower().partition("://")[2] == host.lower()
