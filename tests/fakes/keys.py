"""An issuer that publishes its keys, as a real HTTP server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class KeyServer:
    """Up while it is entered. `publish` says which keys; `asked` counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self._document = b'{"keys": []}'
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def publish(self, *rows: dict[str, Any]) -> None:
        self._document = json.dumps({"keys": rows}).encode()

    def __enter__(self) -> KeyServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(issuer._document)

            def log_message(self, *said: object) -> None:
                """Quiet."""

        return Handler
