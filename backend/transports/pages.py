"""The chat page, the usage page, the reference, and their files."""

from __future__ import annotations

import gzip
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_from_directory

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)

COMPRESSIBLE = ("text/html", "text/css", "text/javascript", "image/svg+xml")


def blueprint(static: Path) -> Blueprint:
    door = Blueprint("pages", __name__)
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
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
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
