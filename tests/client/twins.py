"""Both clients behind one face, so that a case is written once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import httpx

from parley_client import AsyncParley, Parley, Patience

TWINS = ("sync", "async")
QUICK = Patience(pause_s=0.01, longest_pause_s=0.1, silence_s=10.0, give_up_s=20.0, reconnects=1000)
LONE = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""Every request has a connection of its own."""

Connect = Callable[..., Any]


T = TypeVar("T")


class InThread:
    """An asyncio loop in a thread of its own: in the tests' one Playwright's may be running."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._runner = self._pool.submit(asyncio.Runner).result()

    def __enter__(self) -> InThread:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.submit(self._runner.close).result()
        self._pool.shutdown()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._pool.submit(self._runner.run, work).result()


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with InThread() as loop:
        return loop.run(work)


class Blocking:
    """Something asynchronous that is used as its synchronous twin is."""

    def __init__(self, target: Any, run: Callable[[Any], Any]) -> None:
        self.__dict__.update(target=target, run=run)

    def __getattr__(self, name: str) -> Any:
        return self._as_twin(getattr(self.target, "aclose" if name == "close" else name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.target, name, value)

    def _as_twin(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._as_twin(self.run(value))
        if inspect.ismethod(value):
            return lambda *args, **named: self._as_twin(value(*args, **named))
        is_ours = type(value).__module__.startswith("parley_client._async")
        return Blocking(value, self.run) if is_ours or hasattr(value, "__anext__") else value

    def __iter__(self) -> Blocking:
        return self

    def __next__(self) -> Any:
        async def step() -> Any:
            return await anext(self.target)

        try:
            return self.run(step())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Blocking:
        self.run(self.target.__aenter__())
        return self

    def __exit__(self, *exc: object) -> None:
        self.run(self.target.__aexit__(*exc))


@contextmanager
def connecting(twin: str) -> Iterator[Connect]:
    """`connect(url, key, team)` is a client of that kind; all are closed at the end."""
    with ExitStack() as stack:
        loop = stack.enter_context(InThread())

        def connect(*args: Any, alone: bool = False, patience: Patience = QUICK, **named: Any) -> Any:
            if twin == "sync":
                transport = httpx.HTTPTransport(limits=LONE) if alone else None
                client: Any = Parley(*args, patience=patience, transport=transport, **named)
            else:
                asynchronous = httpx.AsyncHTTPTransport(limits=LONE) if alone else None
                client = AsyncParley(*args, patience=patience, transport=asynchronous, **named)
                client = Blocking(client, loop.run)
            return stack.enter_context(client)

        yield connect
