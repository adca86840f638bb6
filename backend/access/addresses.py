"""One spelling for each client address, so that one client is one caller."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

UNKNOWN = "unknown"
LONGEST = 80
"""Characters: no address has as many, with its zone and its port."""

_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[\d.]+):\d+")
_HOST_BITS = 64


def normal(address: str) -> str:
    """`address` without its port; an IPv4 address in IPv6 clothes as IPv4; any other IPv6 address as its
    /64, since a customer is given a whole one. What is no address is UNKNOWN: all of that is one caller."""
    return _normal(address) if len(address) <= LONGEST else UNKNOWN


@lru_cache(maxsize=4096)
def _normal(address: str) -> str:
    found = _WITH_PORT.fullmatch(address)
    host = (found["v6"] or found["v4"] or "") if found else address
    try:
        parsed: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"
