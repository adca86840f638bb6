"""The server behind real proxies, with the configurations of docs/deploying/."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients import ask, get, resume, text_of
from tests.fakes.upstream import FakeUpstream, Peer, Script, chunk, finish, head, stall
from tests.ports import free_port
from tests.proxies import PROXIES, Proxy, proxy_to
from tests.servers import ROOT, Server, servers
from tests.sockets import Polling, Socket
from tests.sockets import text_of as text_on_a_socket

pytestmark = pytest.mark.server

TOKENS = [f"t{n} " for n in range(20)]


class Reader:
    """Whom an upstream waits for: it makes a token when the one before has been had."""

    def __init__(self) -> None:
        self._had = threading.Semaphore(0)

    def has_it(self) -> None:
        self._had.release()

    def script(self) -> Script:
        steps: list[object] = [head()]
        for token in TOKENS:
            steps += [chunk(token), self._wait]
        return [*steps, finish(), lambda peer: peer.end()]

    def _wait(self, peer: Peer) -> None:
        assert self._had.acquire(timeout=10), "the token before did not reach the reader"


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def upstream(reader: Reader) -> Iterator[FakeUpstream]:
    silent = [head(), chunk("a"), stall()]
    with FakeUpstream(lambda body: silent if body["model"] == "silent" else reader.script()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with servers(folder) as started:
        env = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_MODELS": "waits,silent"}
        env |= {"TRUSTED_PROXIES": "1", "DETACH_GRACE": "0.2", "DEFAULT_MODEL": "demo"}
        started.append(Server(folder, {**env, "DEMO_TOKENS_PER_SECOND": "0"}))
        yield started[0]


@pytest.fixture(scope="module", params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, behind: Server, kind: str) -> Iterator[Proxy]:
    with proxy_to(kind, tmp_path_factory.mktemp(kind), [behind.port]) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def logs(proxy: Proxy, behind: Server) -> Iterator[None]:
    """A test that fails shows what both of them said."""
    yield
    print(proxy.log, behind.log, sep="\n")


def test_each_token_arrives_when_it_is_made(proxy: Proxy, reader: Reader) -> None:
    events, began = [], time.monotonic()
    for event in ask(proxy, "go", model="waits"):
        events.append(event)
        if "token" in event.data:
            reader.has_it()
    assert [event.data["token"] for event in events[:-1]] == TOKENS, "none was put together with another"
    assert time.monotonic() - began < 0.1 * len(TOKENS), "nor held back for a moment"


def test_each_token_arrives_on_a_websocket_when_it_is_made(proxy: Proxy, reader: Reader) -> None:
    client = Socket(proxy)
    assert client.call("chat_stream", {"message": "go", "model": "waits"})["ok"]
    tokens = []
    while len(tokens) < len(TOKENS):
        name, data = client.next()
        assert name == "chat_token"
        tokens.append(data["token"])
        reader.has_it()
    assert tokens == TOKENS
    assert client.next()[0] == "chat_complete"


def test_polling_works(proxy: Proxy) -> None:
    client = Polling(proxy)
    client.connect()
    client.post('42["chat_stream",{"message":"Say hello"}]')
    *tokens, (last, complete) = client.events(until="chat_complete")
    assert last == "chat_complete"
    assert complete["full_response"] == text_on_a_socket(tokens)


def test_a_client_that_leaves_is_noticed(proxy: Proxy, behind: Server, upstream: FakeUpstream) -> None:
    following = ask(proxy, "go", model="silent")
    following.take(1)
    upstream.closed_within(10.0)
    *_, done = resume(behind, following.stream_id).all()
    assert done.data["finish_reason"] == "detached"


def test_a_lost_answer_is_taken_up_where_it_was(proxy: Proxy) -> None:
    first = ask(proxy, "[[demo tokens=100 tps=200]] go")
    some = first.take(10)
    rest = resume(proxy, first.stream_id, some[-1].number).all()
    assert text_of(some + rest) == rest[-1].data["full_response"]


def test_the_check_command_passes(proxy: Proxy, tmp_path: Path) -> None:
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "backend", "check", proxy.url]
    checked = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout.count("pass")) == (0, 4), checked.stdout


def test_a_body_as_large_as_the_server_takes_gets_through_and_no_larger(proxy: Proxy) -> None:
    size = 1_048_576
    url = f"{proxy.url}/api/chat/stream"
    answers = [proxy.pool.request("POST", url, body=b"x" * length).status for length in (size, size + 1)]
    assert answers == [400, 413], "the first was read, and is no JSON"


def test_a_forged_forwarded_for_changes_nothing(kind: str, tmp_path: Path) -> None:
    with servers(tmp_path) as started:
        env = {"TRUSTED_PROXIES": "1", "RATE_LIMIT": "1/minute", "DEMO_TOKENS_PER_SECOND": "0"}
        started.append(Server(tmp_path, env))
        with proxy_to(kind, tmp_path / kind, [started[0].port]) as proxy:
            forged = [{}, {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2, 192.0.2.3"}]
            url = f"{proxy.url}/v1/chat/completions"
            question = {"prompt": "Hi", "stream": True}
            answers = [proxy.pool.request("POST", url, json=question, headers=each) for each in forged]
            assert [answer.status for answer in answers] == [200, 429, 429]


def test_a_server_that_cannot_be_reached_is_passed_over(kind: str, behind: Server, tmp_path: Path) -> None:
    with proxy_to(kind, tmp_path, [free_port(), behind.port]) as proxy:
        for _ in range(6):
            assert ask(proxy, "[[demo tokens=1]] go").all()[-1].data["done"]
            assert get(proxy, "/health") == {"status": "healthy"}


def test_a_question_that_a_server_has_seen_is_not_sent_to_another(kind: str, tmp_path: Path) -> None:
    with Dropping.some(2) as both, proxy_to(kind, tmp_path, [each.port for each in both]) as proxy:
        answer = proxy.pool.request("POST", f"{proxy.url}/api/chat/stream", json={"message": "Hi"})
        assert answer.status == 502
        assert sum(each.questions for each in both) == 1


class Dropping:
    """A server that reads a question and goes away."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.questions = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    self.questions += b"POST " in client.recv(65_536)

    @classmethod
    @contextmanager
    def some(cls, count: int) -> Iterator[list[Dropping]]:
        servers = [cls() for _ in range(count)]
        try:
            yield servers
        finally:
            for server in servers:
                server._listener.shutdown(socket.SHUT_RDWR)
                server._listener.close()
