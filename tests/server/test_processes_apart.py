"""A process that is far from Redis, and one that is near: the near one's readers know of tokens first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest

from tests.clients import ask, resume
from tests.line import Line, line_to
from tests.redises import Redis
from tests.server.processes import (
    Upstream,
    chunks_of,
    completion,
    completion_again,
    exact,
    processes,
    said,
)
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

FAR_S = 0.1
"""From the far process to Redis, and back again."""

_numbers = count(1)


def question(what: str) -> str:
    return f"apart {next(_numbers)}. give me {what}"


@pytest.fixture(scope="module")
def line(redis_server: Redis) -> Iterator[Line]:
    redis_server.flush()
    with line_to(redis_server.port) as line:
        yield line


@pytest.fixture(scope="module")
def apart(
    tmp_path_factory: pytest.TempPathFactory,
    one_runtime: str,
    redis_server: Redis,
    line: Line,
    scripted: Upstream,
) -> Iterator[list[Server]]:
    """The far one, and the near one."""
    urls = [f"redis://127.0.0.1:{line.port}/0", redis_server.url]
    folder = tmp_path_factory.mktemp("apart")
    with processes(folder, 2, urls, scripted, one_runtime) as started:
        line.slow(latency_s=FAR_S)
        yield started


def test_who_comes_back_to_the_writer_knowing_more_than_it_does_is_not_reset(apart: list[Server]) -> None:
    """What it writes is known elsewhere before it hears that it is written."""
    far, near = apart
    size = 40
    stream_id = ask(far, question(f"{size} tokens every 0.03 s")).stream_id
    has = []
    while not has or "token" in has[-1].data:
        has += resume(near, stream_id, len(has)).take(4)
        if "token" in has[-1].data:
            has += resume(far, stream_id, len(has)).take(4)
    exact(has, size)


def test_who_comes_back_with_the_end_is_told_that_it_is_the_end(apart: list[Server]) -> None:
    """As a browser's EventSource does, to whichever process."""
    far, near = apart
    following = ask(far, question("3 tokens every 0.03 s"))
    done = resume(near, following.stream_id).all()[-1]
    url = f"{far.url}/api/chat/streams/{following.stream_id}?after={done.number}"
    assert far.pool.request("GET", url).status == 204


def test_nor_is_one_who_comes_back_over_a_socket(apart: list[Server]) -> None:
    far, near = apart
    size, text, after, name = 40, "", 0, ""
    stream_id = ask(far, question(f"{size} tokens every 0.03 s")).stream_id
    for turn in count():
        socket = Socket((near, far)[turn % 2])
        socket.call("chat_resume", {"stream_id": stream_id, "after": after})
        for _ in range(3):
            name, data = socket.next()
            assert name in ("chat_token", "chat_complete")
            if name == "chat_complete":
                break
            text, after = text + data["token"], data["count"]
        socket.close()
        if name == "chat_complete":
            break
    assert text == said(size)


def test_nor_is_one_who_comes_back_to_a_completion_refused(apart: list[Server]) -> None:
    far, near = apart
    size = 40
    asked = completion(far, question(f"{size} tokens every 0.03 s"), **{"X-Stream-Resume": "1"})
    stream_id = asked.headers["X-Stream-Id"]
    last = f"{stream_id}:0"
    elsewhere = completion_again(near, stream_id, last)
    read = b""
    for piece in elsewhere.stream():
        read += piece
        if read.count(b"\n\n") > size // 2:
            break
    elsewhere.close()
    read = read[: read.rindex(b"\n\n") + 2]
    last = read.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    before = "".join(chunk_text(block) for block in read.split(b"\n\n"))
    _, rest, done = chunks_of(completion_again(far, stream_id, last))
    assert (before + rest, done) == (said(size), True)


def chunk_text(block: bytes) -> str:
    data = block.partition(b"data: ")[2]
    choices = json.loads(data)["choices"] if data else []
    return "".join(choice["delta"].get("content") or "" for choice in choices)
