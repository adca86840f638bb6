from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Unpack

from parley_client._async.line import AsyncLine
from parley_client.chat import (
    Deleted,
    Message,
    Session,
    SessionChanges,
    SessionPage,
    SessionSummary,
    Versions,
)
from parley_client.errors import NotFound
from parley_client.reading import read
from parley_client.requests import Request, given, path_of

ROOT = path_of("api", "chat", "sessions")


def _path(session_id: str) -> str:
    return f"{ROOT}{path_of(session_id)}"


class AsyncSessions:
    """The caller's conversations. An anonymous caller reaches those whose ids it knows, and lists none."""

    def __init__(self, line: AsyncLine) -> None:
        self._line = line

    async def create(
        self, title: str | None = None, model: str | None = None, system: str | None = None
    ) -> Session:
        """Not repeated when the line breaks, or there might be two."""
        body = given(title=title, model=model, system=system)
        return read(Session, await self._line.json(Request("POST", ROOT, body, repeatable=False)))

    async def list(self, limit: int = 50, cursor: str | None = None) -> SessionPage:
        """One page, newest first; `cursor` is the `next_cursor` of the page before."""
        params = given(limit=str(limit), cursor=cursor)
        return read(SessionPage, await self._line.json(Request("GET", ROOT, params=params)))

    async def all(self) -> AsyncIterator[SessionSummary]:
        """Every session, page by page."""
        page = await self.list()
        while True:
            for session in page.sessions:
                yield session
            if page.next_cursor is None:
                return
            page = await self.list(cursor=page.next_cursor)

    async def get(self, session_id: str, versions: Versions | None = None) -> Session:
        """Its messages are those that lead to the newest; of all `versions`, every one in the order made."""
        request = Request("GET", _path(session_id), params=given(versions=versions))
        return read(Session, await self._line.json(request))

    async def messages(self, session_id: str, versions: Versions | None = None) -> tuple[Message, ...]:
        return tuple((await self.get(session_id, versions)).messages)

    async def rename(self, session_id: str, title: str | None) -> Session:
        """None takes the title away."""
        return await self.update(session_id, title=title)

    async def update(self, session_id: str, **changes: Unpack[SessionChanges]) -> Session:
        """Set `title`, `model` or `system`; None clears one, and what is not named stays."""
        return read(Session, await self._line.json(Request("PATCH", _path(session_id), changes)))

    async def delete(self, session_id: str) -> Deleted:
        """Also stops what is running in it."""
        try:
            return read(Deleted, await self._line.json(Request("DELETE", _path(session_id))))
        except NotFound as exc:
            if exc.requests == 1:
                raise
            # An earlier request, whose answer was lost, has deleted it.
            return Deleted(deleted=True, session_id=session_id)

    async def export(
        self,
        session_id: str,
        format: Literal["markdown", "json"] = "markdown",
        versions: Versions | None = None,
    ) -> str:
        """The conversation as a document."""
        params = given(format=format, versions=versions)
        request = Request("GET", f"{_path(session_id)}/export", params=params)
        return (await self._line.send(request)).text
