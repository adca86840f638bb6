# Made by generate.py from _async/streams.py: change that.

from __future__ import annotations

from collections.abc import Generator
from time import sleep
from typing import Generic, Self, TypeVar

from parley_client._sync.line import Line
from parley_client.chat import ChatEvent, Done, Reset, Stopped, Token
from parley_client.completions import Chunk, Usage
from parley_client.cursor import Cursor
from parley_client.doors import Door
from parley_client.errors import BadAnswer, ParleyError
from parley_client.patience import Outage, may_repeat
from parley_client.reading import read
from parley_client.requests import Request, path_of

T = TypeVar("T")


class Stream(Generic[T]):
    """An answer while it is written: iterate over it, once. It is asked for with the first step.

    A line that breaks is made anew, and reading goes on at the very next event. Leaving a stream does not
    stop the answer: `stop` does.
    """

    def __init__(self, line: Line, door: Door[T], stream_id: str | None = None, after: int = 0) -> None:
        self._line = line
        self._cursor = Cursor(door, stream_id, after)
        self._items = follow(line, self._cursor)

    @property
    def stream_id(self) -> str | None:
        """None until the server has begun the answer."""
        return self._cursor.stream_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = next(self._items)
        self._note(item)
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave it, and free the connection."""
        self._items.close()

    def stop(self) -> Stopped:
        """End the answer here; what there is of it stands. Who reads on gets its last event."""
        if self.stream_id is None:
            raise ValueError("This stream has not been asked for yet: read from it first")
        return stop(self._line, self.stream_id)

    def _note(self, item: T) -> None:
        """Keep what the whole answer is known by."""


def follow(line: Line, cursor: Cursor[T]) -> Generator[T, None, None]:
    """What is new, over as many connections as it takes. It knows no stream, so that one that is dropped is
    freed at once, and its connection with it."""
    outage = Outage(line.patience)
    while True:
        failure: ParleyError | None = None
        try:
            with line.open(cursor.request) as response:
                cursor.opened(response.status_code, response.headers)
                for data in response.iter_bytes():
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
        sleep(outage.pause_s(failure, cursor.begun))


class ChatStream(Stream[ChatEvent]):
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

    def read(self) -> Done:
        """The whole answer, once it is there."""
        for _ in self:
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


class ChunkStream(Stream[Chunk]):
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


def stop(line: Line, stream_id: str) -> Stopped:
    request = Request("POST", path_of("api", "chat", "streams", stream_id, "stop"))
    return read(Stopped, line.json(request))
