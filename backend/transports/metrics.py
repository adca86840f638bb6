"""`/metrics`, for Prometheus and whoever else may read it."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from flask import Blueprint, Request, Response, request

from backend.access.origins import LOOPBACK
from backend.chat.errors import Unauthorized
from backend.telemetry.meters import CONTENT_TYPE

PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
"""A proxy on this machine is a loopback caller, too, and passes on requests from anywhere."""


def blueprint(expose: Callable[[], bytes], token: str | None, *, behind_proxy: bool) -> Blueprint:
    """Without a token only this machine may read, and behind a proxy nobody: who called is then what
    headers say."""
    door = Blueprint("metrics", __name__)

    @door.get("/metrics")
    def metrics() -> Response:
        if token is not None:
            if not knows(request, token):
                raise Unauthorized("Metrics are read with Authorization: Bearer and the METRICS_TOKEN")
        elif behind_proxy or not is_local(request):
            raise Unauthorized("Metrics are shown to this machine only; set METRICS_TOKEN to read them here")
        return Response(expose(), content_type=CONTENT_TYPE)

    return door


def knows(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"


def is_local(request: Request) -> bool:
    """Whether it came from this machine, straight, and under a loopback name: a page whose own name an
    attacker has pointed at us comes from here as well."""
    if any(name in request.headers for name in PASSED_ON):
        return False
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    return host in LOOPBACK and is_loopback(request.environ.get("REMOTE_ADDR", ""))


def is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found.is_loopback
