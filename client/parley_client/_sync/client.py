# Made by generate.py from _async/client.py: change that.

from __future__ import annotations

from typing import Self

import httpx

from parley_client._sync.chat import Chat
from parley_client._sync.line import Line
from parley_client._sync.sessions import Sessions
from parley_client._sync.structured import StructuredJobs
from parley_client.patience import Patience


class Parley(Chat, StructuredJobs):
    """A client of one server, for one caller; close it, or use it in a `with` block.

    `virtual_key` is a team's key, or a signed token; without one the caller is anonymous. `transport` takes
    the place of httpx's own, for proxies, certificates and tests.
    """

    def __init__(
        self,
        api_url: str = "http://127.0.0.1:5000",
        virtual_key: str | None = None,
        team_id: str | None = None,
        *,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._line = Line(api_url, virtual_key, patience or Patience(), transport)
        self.sessions = Sessions(self._line)
        self.team_id = team_id
        self.job_id = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Answers under way go on at the server."""
        self._line.close()
