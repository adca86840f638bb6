from __future__ import annotations

from typing import Self

import httpx

from parley_client._async.chat import AsyncChat
from parley_client._async.line import AsyncLine
from parley_client._async.sessions import AsyncSessions
from parley_client._async.structured import AsyncStructuredJobs
from parley_client.patience import Patience


class AsyncParley(AsyncChat, AsyncStructuredJobs):
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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._line = AsyncLine(api_url, virtual_key, patience or Patience(), transport)
        self.sessions = AsyncSessions(self._line)
        self.team_id = team_id
        self.job_id = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Answers under way go on at the server."""
        await self._line.aclose()
