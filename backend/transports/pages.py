"""The chat page, the usage page, the reference, and their files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_from_directory

COMPRESSIBLE = ("text/html", "text/css", "text/javascript", "image/svg+xml")


def content_security_policy(image_hosts: Iterable[str]) -> str:
    """Nothing from elsewhere, except images of these."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            " ".join(("img-src 'self' data:", *image_hosts)),
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types dompurify",
        )
    )


def blueprint(static: Path, image_hosts: Iterable[str]) -> Blueprint:
    door = Blueprint("pages", __name__)
    policy = content_security_policy(image_hosts)
    squeezed: dict[str, bytes] = {}
    """By entity tag, which a file has however it is asked for."""

    @door.get("/")
    def page() -> Response:
        return file("index.html")

    @door.get("/docs")
    def docs() -> Response:
        return file("docs.html")

    @door.get("/usage")
    def usage() -> Response:
        return file("usage.html")

    @door.get("/static/<path:name>")
    def file(name: str) -> Response:
        """Checked with the server each time, and sent only if it has changed."""
        response = send_from_directory(static, name, max_age=0, conditional=False)
        if response.mimetype in COMPRESSIBLE:
            response.vary.add("Accept-Encoding")
            if request.accept_encodings["gzip"] and "Range" not in request.headers:
                squeeze(response)
        response.make_conditional(request, accept_ranges=True, complete_length=response.content_length)
        if response.status_code == 412:
            abort(412)  # it would carry the file all the same
        response.headers["Content-Security-Policy"] = policy
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return response

    def squeeze(response: Response) -> None:
        tag = f"{response.get_etag()[0]}-gzip"
        response.direct_passthrough = False
        if tag not in squeezed:
            squeezed[tag] = gzip.compress(response.get_data(), mtime=0)
        response.set_data(squeezed[tag])
        response.content_encoding = "gzip"
        response.set_etag(tag)

    return door
