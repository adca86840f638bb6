"""The chat page, the usage page, the reference, and their files."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, send_from_directory

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


def blueprint(static: Path) -> Blueprint:
    door = Blueprint("pages", __name__)

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
        response = send_from_directory(static, name, max_age=0)
        if response.status_code == 412:
            abort(412)  # it would carry the file all the same
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return response

    return door
