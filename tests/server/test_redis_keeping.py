"""What several processes leave in Redis, and what an answer costs on the way there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest

from tests.access import signing
from tests.clients import Following, ask, call, resume
from tests.programs import until
from tests.redises import Redis
from tests.server.processes import (
    HANGS,
    Upstream,
    chunks_of,
    completion,
    exact,
    next_of,
    processes,
    said,
)
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

_numbers = count(1)

KEPT = re.compile(r"parley:(processes|\{[^}]*\}:(sessions|[\w-]+:(session|messages|numbers)))")
"""What stays for as long as a session does, without SESSION_TTL; and the processes' registry."""


def question(what: str) -> str:
    return f"keeping {next(_numbers)}. give me {what}"


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, one_runtime: str, redis_server: Redis, scripted: Upstream
) -> Iterator[list[Server]]:
    redis_server.flush()
    folder = tmp_path_factory.mktemp("pair")
    env = {"RATE_LIMIT": "1000/minute", "SESSION_TTL": "", "LEASE_S": "2"}
    with processes(folder, 2, redis_server.url, scripted, one_runtime, **env) as started:
        yield started


def mixed_load(servers: list[Server]) -> None:
    """Everything there is to do, named and nameless, to its end."""
    a, b = servers
    named = {"Authorization": f"Bearer {signing.token(sub='keeper')}"}
    exact(ask(a, question("5 tokens"), session_id="kept", key="k").all(), 5)
    url = f"{a.url}/api/chat/stream"
    body = {"message": question("5 tokens"), "partial": False}
    own = Following(a, a.pool.request("POST", url, json=body, headers=named, preload_content=False))
    exact(own.all(), 5)
    assert chunks_of(completion(b, question("5 tokens"), **{"Idempotency-Key": "v"}))[2]
    member = Socket(b)
    member.call("session_join", {"session_id": "kept"})
    exact(ask(a, question("5 tokens"), session_id="kept").all(), 5)
    member.answer()
    stopped = ask(a, question(f"one token {HANGS}"), session_id="stopped")
    next_of(stopped)
    next_of(resume(b, stopped.stream_id))
    busy = call(b, "POST", "/api/chat/stream", {"message": "another", "session_id": "stopped"})
    assert busy[0] == 409
    assert call(b, "POST", "/api/chat/stream", {"message": "no", "model": "none"})[0] == 404
    call(b, "POST", f"/api/chat/streams/{stopped.stream_id}/stop")
    ask(a, question("5 tokens"), session_id="deleted", key="d").all()
    assert call(b, "DELETE", "/api/chat/sessions/deleted")[0] == 200
    gone = ask(a, question(f"one token {HANGS}"), session_id="gone")
    next_of(gone)
    assert call(b, "DELETE", "/api/chat/sessions/gone")[0] == 200


def without_ttl(redis: Redis) -> list[str]:
    client = redis.client
    return sorted(key for key in client.scan_iter(count=1000) if client.ttl(key) == -1)


def test_nothing_stays_without_a_time_but_sessions_and_the_names_of_processes(
    pair: list[Server], redis_server: Redis
) -> None:
    mixed_load(pair)
    kept = without_ttl(redis_server)
    assert [key for key in kept if not KEPT.fullmatch(key)] == []
    assert not [key for key in redis_server.client.scan_iter() if ":deleted:" in key or ":gone:" in key]
    assert not redis_server.client.keys("*:running"), "nobody has anything running"
    assert not redis_server.client.keys("*:claim")
    assert not redis_server.client.keys("*:live")


def test_a_process_that_was_killed_leaves_nothing_of_its_own(pair: list[Server], redis_server: Redis) -> None:
    a, b = pair
    followings = [ask(a, question(f"one token {HANGS}"), session_id=f"left{n}") for n in range(5)]
    for following in followings:
        next_of(following)
    a.kill()
    for following in followings:
        assert resume(b, following.stream_id).all()[-1].data["type"] == "interrupted"
    client = redis_server.client
    until(lambda: client.zcard("parley:processes") == 1, "its name is forgotten")
    until(lambda: len(client.keys("*:lease")) == 1, "its lease has run out")
    assert not client.keys("*:running")
    assert not client.keys("*:live")
    assert not client.keys("*:claim")
    a.restart()
    exact(ask(a, question("5 tokens"), session_id="left0").all(), 5)
    assert a.stop() == 0
    assert client.zcard("parley:processes") == 1, "who ends in peace is forgotten at once"
    a.restart()


def test_with_a_session_ttl_nothing_stays_without_a_time(
    tmp_path_factory: pytest.TempPathFactory, one_runtime: str, redis_server: Redis, scripted: Upstream
) -> None:
    redis_server.flush()
    folder = tmp_path_factory.mktemp("brief")
    env = {"SESSION_TTL": "600"}
    with processes(folder, 2, redis_server.url, scripted, one_runtime, **env) as servers:
        mixed_load(servers)
        kept = without_ttl(redis_server)
        assert [key for key in kept if key != "parley:processes"] == []


def test_what_goes_to_redis_grows_with_the_length_of_an_answer_and_no_faster(
    pair: list[Server], redis_server: Redis
) -> None:
    a, b = pair

    def sent_for(size: int) -> int:
        """Bytes to Redis for an answer with a reader on each process."""
        before = int(redis_server.info("stats")["total_net_input_bytes"])
        following = ask(a, question(f"{size} tokens every 0.0005 s"))
        exact(resume(b, following.stream_id).all(), size)
        exact(following.all(), size)
        return int(redis_server.info("stats")["total_net_input_bytes"]) - before

    sent_for(10)
    short, long = sent_for(1000), sent_for(4000)
    assert long < 6 * short
    assert long < 40 * len(said(4000).encode())
