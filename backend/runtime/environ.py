"""What a WSGI application is told of a request (PEP 3333)."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from backend.wire.framing import Head


def environ_of(head: Head, server: tuple[str, int], client: tuple[str, int]) -> dict[str, Any]:
    """Without the body. Addresses are (host, port)."""
    path, _, query = head.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/1.{head.minor_version}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, values in head.fields.items():
        # With an underscore it would be taken for the one with a dash, which a proxy may vouch for.
        if b"_" not in name:
            joined = (b"; " if name == b"cookie" else b",").join(values).decode("latin-1")
            environ["HTTP_" + name.decode().upper().replace("-", "_")] = joined
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if "HTTP_" + key in environ:
            environ[key] = environ.pop("HTTP_" + key)
    return environ
