"""Every legal combination of runtime, store and workers that the rest of the tests does not serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import ask, call, get, resume, text_of
from tests.redises import Cluster, Redis, Sentinels, sentinels
from tests.servers import Server, servers
from tests.sockets import Socket

COMBINATIONS = [
    ("eventlet", "memory", 1),
    ("gevent", "memory", 1),
    ("gevent", "sqlite", 1),
    ("eventlet", "redis", 3),
    ("gevent", "unix", 1),
    ("eventlet", "cluster", 3),
    ("gevent", "cluster", 1),
    ("eventlet", "sentinels", 1),
    ("gevent", "sentinels", 3),
]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    with sentinels(tmp_path_factory.mktemp("sentinels")) as watched:
        yield watched


@pytest.fixture
def addresses(redis_server: Redis, nodes: Cluster, watched: Sentinels) -> dict[str, str]:
    return {
        "memory": "memory://",
        "sqlite": "sqlite:///var/chat.db",
        "redis": redis_server.url,
        "unix": redis_server.unix_url,
        "cluster": nodes.url,
        "sentinels": watched.url,
    }


@pytest.mark.parametrize(("runtime", "store", "workers"), COMBINATIONS)
def test_it_serves(runtime: str, store: str, workers: int, addresses: dict[str, str], tmp_path: Path) -> None:
    env = {"RUNTIME": runtime, "STORE_URL": addresses[store], "WORKERS": str(workers)}
    with servers(tmp_path) as started:
        started.append(server := Server(tmp_path, {**env, "DEMO_TOKENS_PER_SECOND": "200"}))
        first = ask(server, "[[demo tps=1000]] Say hello", session_id=f"{runtime}-{store}", partial=False)
        taken = first.take(3)
        rest = resume(server, first.stream_id, 3).all()
        closing = rest[-1].data
        assert text_of([*taken, *rest]) == closing["full_response"]
        assert [event.number for event in rest[:-1]] == list(range(4, closing["tokens"] + 1))
        socket = Socket(server)
        asked = socket.call("chat_stream", {"message": "And again", "session_id": f"{runtime}-{store}"})
        assert asked["ok"], asked
        assert socket.next()[0] == "chat_token"
        stopped = call(server, "POST", f"/api/chat/streams/{asked['stream_id']}/stop")[1]
        assert stopped["state"] == "stopped"
        messages = get(server, f"/api/chat/sessions/{runtime}-{store}")["messages"]
        assert [message["status"] for message in messages] == ["done", "done", "done", "stopped"]
        socket.close()
        assert server.stop() == 0
