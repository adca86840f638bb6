from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncGenerator
from typing import Generic, Self, TypeVar

from parley_client._async.line import AsyncLine
from parley_client.chat import ChatEvent, Done, Reset, Stopped, Token
from parley_client.completions import Chunk, Usage
from parley_client.cursor import Cursor
from parley_client.doors import Door
from parley_client.errors import BadAnswer, ParleyError
from parley_client.patience import Outage, may_repeat
from parley_client.reading import read
from parley_client.requests import Request, path_of

T = TypeVar("T")


class AsyncStream(Generic[T]):
    """An answer while it is written: iterate over it, once. It is asked for with the first step.

    A line that breaks is made anew, and reading goes on at the very next event. Leaving a stream does not
    stop the answer: `stop` does.
    """

    def __init__(self, line: AsyncLine, door: Door[T], stream_id: str | None = None, after: int = 0) -> None:
        self._line = line
        self._cursor = Cursor(door, stream_id, after)
        self._items = follow(line, self._cursor)

    @property
    def stream_id(self) -> str | None:
        """None until the server has begun the answer."""
        return self._cursor.stream_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        item = await anext(self._items)
        self._note(item)
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave it, and free the connection."""
        await self._items.aclose()

    async def stop(self) -> Stopped:
        """End the answer here; what there is of it stands. Who reads on gets its last event."""
        if self.stream_id is None:
            raise ValueError("This stream has not been asked for yet: read from it first")
        return await stop(self._line, self.stream_id)

    def _note(self, item: T) -> None:
        """Keep what the whole answer is known by."""


async def follow(line: AsyncLine, cursor: Cursor[T]) -> AsyncGenerator[T, None]:
    """What is new, over as many connections as it takes. It knows no stream, so that one that is dropped is
    freed at once, and its connection with it."""
    outage = Outage(line.patience)
    while True:
        failure: ParleyError | None = None
        try:
            async with line.open(cursor.request) as response:
                cursor.opened(response.status_code, response.headers)
                async for data in response.aiter_bytes():
                    outage.alive()
                    for item in cursor.read(data):
                        outage.over()
                        yield item
                    if cursor.ended:
                        break
        except ParleyError as exc:
            exc.stream_id = exc.stream_id or cursor.stream_id
            if cursor.ended or not may_repeat(exc, repeatable=True):
                raise
            failure = exc
        if cursor.ended:
            return
        failure = failure or BadAnswer("The answer ended without its end", stream_id=cursor.stream_id)
        await sleep(outage.pause_s(failure, cursor.begun))


class AsyncChatStream(AsyncStream[ChatEvent]):
    """Yields Token, last Done; rarely Reset, which replaces all text before it. `text` is what there is."""

    text: str = ""
    done: Done | None = None

    @property
    def session_id(self) -> str | None:
        """None until the server has begun the answer."""
        return self._cursor.session_id

    @property
    def question_id(self) -> str | None:
        """The message that it answers; None until the server has begun the answer."""
        return self._cursor.question_id

    async def read(self) -> Done:
        """The whole answer, once it is there."""
        async for _ in self:
            pass
        if self.done is None:
            raise BadAnswer("There was nothing left of this answer", stream_id=self.stream_id)
        return self.done

    def _note(self, item: ChatEvent) -> None:
        if isinstance(item, Token):
            self.text += item.token
        elif isinstance(item, Reset):
            self.text = item.partial
        else:
            self.done = item


class AsyncChunkStream(AsyncStream[Chunk]):
    """Yields OpenAI's chunks. `text` is the first choice so far; `usage` comes with the end."""

    text: str = ""
    usage: Usage | None = None
    model: str | None = None

    @property
    def call_id(self) -> str | None:
        """Of a job's call, once it has begun."""
        return self._cursor.call_id

    def _note(self, item: Chunk) -> None:
        self.text += item.text
        self.usage = item.usage or self.usage
        self.model = item.model or self.model


async def stop(line: AsyncLine, stream_id: str) -> Stopped:
    request = Request("POST", path_of("api", "chat", "streams", stream_id, "stop"))
    return read(Stopped, await line.json(request))
