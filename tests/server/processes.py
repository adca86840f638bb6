"""Several servers on one store, before an upstream that answers as each question says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from tests import clients
from tests.access.signing import SECRET
from tests.clients import Event, Following
from tests.fakes.upstream import FakeUpstream, Request, Script, answer, chunk, head, stall
from tests.programs import until
from tests.servers import Server, servers

HANGS = "and hang"
"""A question that says so gets one token, `half`, and then silence."""

S = TypeVar("S")
T = TypeVar("T")

_ASKED = re.compile(r"(\d+) tokens(?: every ([\d.]+) s)?")


def tokens_of(count: int) -> list[str]:
    """What an answer of so many is made of: hard to get right, and no two alike."""
    return [f"{n}:\u2028 ü€😀\r\n\x85 " for n in range(count)]


def said(count: int) -> str:
    return "".join(tokens_of(count))


def script_of(body: dict[str, Any]) -> Script:
    """`… 40 tokens every 0.02 s …` is answered so; the rest of it, where the beginning is given."""
    text = question_in(body)
    if HANGS in text:
        return [head(), chunk("half"), stall()]
    found = _ASKED.search(text)
    assert found is not None, text
    tokens = tokens_of(int(found[1]))
    partial = partial_in(body)
    begun = next(n for n in range(len(tokens) + 1) if said(n) == partial)
    return answer(tokens[begun:], gap_s=float(found[2] or 0))


def question_in(body: dict[str, Any]) -> str:
    """The last one, after what was said before."""
    return str([message for message in body["messages"] if message["role"] == "user"][-1]["content"])


def partial_in(body: dict[str, Any]) -> str:
    """The beginning of the answer that is wanted."""
    last = body["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


class Upstream(FakeUpstream):
    def __init__(self) -> None:
        super().__init__(script_of)

    def requests_of(self, message: str) -> list[Request]:
        return [request for request in list(self.requests) if question_in(request.body) == message]

    def calls_of(self, message: str) -> int:
        return len(self.requests_of(message))

    def lets_go_of(self, message: str, within_s: float) -> None:
        """Wait until the last request of this question has been closed."""

        def is_closed() -> bool:
            requests = self.requests_of(message)
            return bool(requests) and requests[-1].closed_s is not None

        self.until(is_closed, within_s)


@contextmanager
def processes(
    folder: Path, count: int, store_url: str | Sequence[str], upstream: FakeUpstream, runtime: str, **env: str
) -> Iterator[list[Server]]:
    """So many servers, started side by side; each with its own address of the store, if there are many."""
    urls = [store_url] * count if isinstance(store_url, str) else store_url
    shared = {
        "RUNTIME": runtime,
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": "sk-test-0123456789",
        "OPENAI_MODELS": "fake",
        "DEFAULT_MODEL": "fake",
        "MAX_STREAMS_PER_CALLER": "500",
        "JWT_SECRET": SECRET,
        **env,
    }
    with servers(folder) as started, ThreadPoolExecutor(count) as pool:
        folders = [folder / f"process{number}" for number in range(count)]
        for each in folders:
            each.mkdir(parents=True)
        made = [
            pool.submit(Server, each, {**shared, "STORE_URL": url})
            for each, url in zip(folders, urls, strict=True)
        ]
        for each in made:
            started.append(each.result())
        yield started


def exact(events: Sequence[Event], count: int, after: int = 0) -> None:
    """They are an answer of so many tokens past one of its numbers: each once, in order, and its end."""
    *tokens, done = events
    assert [event.number for event in events] == list(range(after + 1, count + 2))
    assert [event.data["token"] for event in tokens] == tokens_of(count)[after:]
    assert done.data.get("done"), done.data
    assert done.data["full_response"] == said(count)


def is_prefix(events: Sequence[Event], count: int, after: int = 0) -> None:
    """They are tokens of such an answer, without a gap, from one of its numbers on."""
    assert [event.number for event in events] == list(range(after + 1, after + 1 + len(events)))
    assert [event.data.get("token") for event in events] == tokens_of(count)[after : after + len(events)]


def next_of(following: Following, count: int = 1) -> list[Event]:
    """The next so many events; the line stays."""
    return [next(iter(following)) for _ in range(count)]


def state(server: Server, stream_id: str, **headers: str) -> dict[str, Any]:
    """What an answer is at, as JSON."""
    response = look(server, stream_id, **headers)
    assert response.status == 200, response.data
    fields: dict[str, Any] = response.json()
    return fields


def look(server: Server, stream_id: str, **headers: str) -> urllib3.BaseHTTPResponse:
    url = f"{server.url}/api/chat/streams/{stream_id}"
    return server.pool.request("GET", url, headers={"Accept": "application/json", **headers})


def ends_as(server: Server, stream_id: str, wanted: str, patience_s: float = 20.0) -> None:
    """Wait for an answer's end."""
    until(lambda: state(server, stream_id)["state"] == wanted, f"the answer is {wanted}", patience_s)


def at_once(work: Callable[[S], T], things: Sequence[S]) -> list[T]:
    """What it gives for each, all of them done side by side."""
    with ThreadPoolExecutor(len(things)) as pool:
        return list(pool.map(work, things))


def completion(server: Server, message: str, **headers: str) -> urllib3.BaseHTTPResponse:
    """An answer over OpenAI's door, not read yet."""
    body = {"model": "fake", "messages": [{"role": "user", "content": message}], "stream": True}
    url = f"{server.url}/v1/chat/completions"
    response = server.pool.request("POST", url, json=body, headers=headers, preload_content=False)
    server.opened.append(response.close)
    return response


def completion_again(server: Server, stream_id: str, last: str) -> urllib3.BaseHTTPResponse:
    """The rest of it, past the event with this id."""
    url = f"{server.url}/v1/chat/completions/{stream_id}"
    return server.pool.request("GET", url, headers={"Last-Event-ID": last}, preload_content=False)


def chunks_of(response: urllib3.BaseHTTPResponse) -> tuple[list[str], str, bool]:
    """The ids and the text of an OpenAI stream, and whether it says that it is done."""
    assert response.status == 200, response.data
    events = clients.events(response.data.replace(b": ping\n", b""))
    done = events[-1]["data"] == "[DONE]"
    bodies = [json.loads(event["data"]) for event in (events[:-1] if done else events)]
    text = "".join(choice["delta"].get("content") or "" for body in bodies for choice in body["choices"])
    return [event["id"] for event in events if "id" in event], text, done
