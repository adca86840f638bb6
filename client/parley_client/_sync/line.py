# Made by generate.py from _async/line.py: change that.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import httpx

from parley_client.errors import BadAnswer, ParleyError
from parley_client.patience import Outage, Patience, may_repeat
from parley_client.requests import Request
from parley_client.verdicts import border, refusal


class Line:
    """Requests to one server; each is repeated while that may help and does no harm."""

    def __init__(
        self,
        api_url: str,
        token: str | None,
        patience: Patience,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.patience = patience
        self._http = httpx.Client(
            base_url=api_url.rstrip("/"),
            headers={b"Authorization": f"Bearer {token}".encode()} if token else None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            transport=transport,
        )

    def close(self) -> None:
        self._http.close()

    def send(self, request: Request) -> httpx.Response:
        """The answer, read whole. Raises ParleyError."""
        outage = Outage(self.patience)
        while True:
            try:
                return self._send_once(request)
            except ParleyError as failure:
                failure.requests = outage.requests
                if not may_repeat(failure, request.repeatable):
                    raise
                pause_s = outage.pause_s(failure)
            sleep(pause_s)

    def json(self, request: Request) -> Any:
        """The JSON of the answer."""
        response = self.send(request)
        try:
            return response.json()
        except ValueError as exc:
            raise BadAnswer("The server's answer is not JSON", status=response.status_code) from exc

    @contextmanager
    def open(self, request: Request) -> Iterator[httpx.Response]:
        """An event stream, asked for once and not read yet."""
        with border():
            with self._http.stream(**self._parts(request)) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield response

    def _send_once(self, request: Request) -> httpx.Response:
        with border():
            response = self._http.request(**self._parts(request))
        if not response.is_success:
            raise _refusal(response)
        return response

    def _parts(self, request: Request) -> dict[str, Any]:
        patience = self.patience
        wait_s = patience.answer_s if request.generates else patience.silence_s
        return {
            "method": request.method,
            "url": request.path,
            "json": request.body,
            "params": request.params or None,
            # httpx sends no text but ASCII; what a header may be is the server's to say.
            "headers": {name.encode(): value.encode() for name, value in request.headers.items()},
            "timeout": httpx.Timeout(wait_s, connect=patience.connect_s),
        }


def _refusal(response: httpx.Response) -> ParleyError:
    return refusal(response.status_code, response.headers, response.content)
