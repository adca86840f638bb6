"""OpenAI's own Python SDK, both kinds of it, used in one plain way: a test is written once for the two."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread
from typing import Any

from httpx2 import MockTransport, Request, Response
from openai import (
    AsyncOpenAI,
    AsyncStream,
    DefaultAsyncHttpxClient,
    DefaultHttpxClient,
    OpenAI,
    Stream,
)

from tests.servers import Server

BARE: Any = {"trust_env": False, "verify": False}
"""No proxy, and no certificates, which take longer to load than a test."""


class Wire:
    """What went out and what came back. Who is told to wait before asking again asks at once, so that tests
    take no time; `waits` are the seconds that were told."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.waits: list[str | None] = []

    def sent(self, request: Request) -> None:
        self.requests.append(request)

    def came(self, response: Response) -> None:
        self.waits.append(response.headers.get("Retry-After"))
        response.headers["Retry-After-Ms"] = "1"


class Sync:
    kind: Any = OpenAI
    stream_type: Any = Stream

    def __init__(self, base_url: str, transport: MockTransport | None = None) -> None:
        """`transport` stands for the network, if there is to be none."""
        self.wire = Wire()
        http_client = self.http_client(transport=transport, **BARE)
        self.client: Any = self.kind(
            base_url=base_url, http_client=http_client, api_key="anonymous", max_retries=0
        )

    def http_client(self, **options: Any) -> Any:
        hooks = {"request": [self.wire.sent], "response": [self.wire.came]}
        return DefaultHttpxClient(event_hooks=hooks, **options)

    def wait(self, value: Any) -> Any:
        """The result of a call."""
        return value

    def each(self, stream: Any) -> Iterator[Any]:
        """The items of a stream as they come."""
        return iter(stream)

    def entered(self, manager: Any) -> AbstractContextManager[Any]:
        """A context manager for a `with`."""
        entering: AbstractContextManager[Any] = manager
        return entering

    def create(self, **fields: Any) -> Any:
        """A whole completion, or the stream of one."""
        return self.wait(self.client.chat.completions.create(**fields))

    def chunks(self, **fields: Any) -> list[Any]:
        """The chunks of a streamed completion, to its end."""
        return list(self.each(self.create(stream=True, **fields)))

    def close(self) -> None:
        self.wait(self.client.close())


class Loop:
    """asyncio in a thread of its own: in the tests' own thread Playwright may have a loop already."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Async(Sync):
    kind = AsyncOpenAI
    stream_type = AsyncStream

    def __init__(self, base_url: str, transport: MockTransport | None = None) -> None:
        self._loop = Loop()
        super().__init__(base_url, transport)

    def http_client(self, **options: Any) -> Any:
        async def sent(request: Request) -> None:
            self.wire.sent(request)

        async def came(response: Response) -> None:
            self.wire.came(response)

        hooks = {"request": [sent], "response": [came]}
        return DefaultAsyncHttpxClient(event_hooks=hooks, **options)

    def wait(self, value: Any) -> Any:
        async def awaited() -> Any:
            return await value

        return self._loop.run(awaited()) if inspect.isawaitable(value) else value

    def each(self, stream: Any) -> Iterator[Any]:
        items, end = aiter(stream), object()
        while (item := self.wait(anext(items, end))) is not end:
            yield item

    @contextmanager
    def entered(self, manager: Any) -> Iterator[Any]:
        value = self.wait(manager.__aenter__())
        try:
            yield value
        finally:
            self.wait(manager.__aexit__(*sys.exc_info()))

    def close(self) -> None:
        super().close()
        self._loop.close()


SDKS = {"sync": Sync, "async": Async}
"""By the name that a test's id has."""


@contextmanager
def connected(kind: str, server: Server) -> Iterator[Sync]:
    """A client of this server, closed at the end."""
    sdk = SDKS[kind](f"{server.url}/v1")
    try:
        yield sdk
    finally:
        sdk.close()


def text_of(chunks: list[Any], index: int = 0) -> str:
    """The text of one choice."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)
