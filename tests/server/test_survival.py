"""Kills, restarts and ends of the real server."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.clients import ask, call, get, resume, text_of
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer, chunk, head, stall
from tests.servers import PYTHONPATH, Server

FILE = "sqlite:///var/chat.db"

pytestmark = pytest.mark.server


def read_until(server: Server, stream_id: str, tokens: int) -> str:
    """The text of so many tokens, once they are there."""
    return text_of(resume(server, stream_id).take(tokens))


def test_a_killed_servers_answer_is_interrupted_and_nothing_checkpointed_is_lost(
    start_server: StartServer,
) -> None:
    server = start_server(STORE_URL=FILE, DEMO_TOKENS_PER_SECOND="200")
    following = ask(server, "[[demo tokens=1000]] go", session_id="s", key="k")
    stream_id = following.stream_id
    seen = text_of(following.take(200))
    wait_for_checkpoint(server, stream_id, 200)
    server.kill()
    server.restart()

    *tokens, failed = resume(server, stream_id).all()
    assert (failed.data["type"], failed.data["code"]) == ("interrupted", 503)
    text = text_of(tokens)
    assert text.startswith(seen)
    assert [event.number for event in tokens] == list(range(1, len(tokens) + 1))
    message = get(server, "/api/chat/sessions/s")["messages"][-1]
    assert (message["content"], message["status"]) == (text, "interrupted")
    after = len(tokens) // 2
    *rest, again = resume(server, stream_id, after).all()
    assert rest == tokens[after:]
    assert again.data["type"] == "interrupted"
    one_more = resume(server, stream_id, len(tokens) + 1).all()
    assert one_more[0].data == {"reset": True, "partial": text, "count": len(tokens)}
    assert one_more[1].data["type"] == "interrupted", "who had one piece more is told, not taken for done"
    url = f"{server.url}/api/chat/streams/{stream_id}?after={failed.number}"
    assert server.pool.request("GET", url).status == 204
    *joined, again = ask(server, "[[demo tokens=1000]] go", session_id="s", key="k").all()
    assert joined == tokens, "the same key joins the broken answer"
    assert again.id == failed.id
    assert get(server, "/api/chat/sessions/s")["live_stream"] is None
    assert ask(server, "[[demo tokens=3 tps=0]] again", session_id="s").all()[-1].data["done"]


def test_finished_answers_are_all_there_after_kills_at_random_moments(start_server: StartServer) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    server = start_server(STORE_URL=FILE, DEMO_TOKENS_PER_SECOND="0")
    done: dict[str, str] = {}
    for round_ in range(3):
        for n in range(dice.randint(1, 10)):
            events = ask(server, f"[[demo tokens=50]] question {n}", session_id=f"s{round_}-{n}").all()
            done[f"s{round_}-{n}"] = text_of(events)
        ask(server, "[[demo tokens=500 tps=100]] cut", session_id=f"cut{round_}").take(dice.randint(1, 20))
        server.kill()
        server.restart()
        for session_id, text in done.items():
            messages = get(server, f"/api/chat/sessions/{session_id}")["messages"]
            assert messages[-1]["content"] == text, f"seed {seed}"
        cut = get(server, f"/api/chat/sessions/cut{round_}")
        assert [message["status"] for message in cut["messages"]] == ["done", "interrupted"], f"seed {seed}"
        assert cut["live_stream"] is None


def test_a_terminated_server_lets_answers_end_and_exits_cleanly(start_server: StartServer) -> None:
    with FakeUpstream(answer(40, gap_s=0.05)) as upstream:
        server = start_server(STORE_URL=FILE, OPENAI_BASE_URL=upstream.base_url, OPENAI_MODELS="fake")
        following = ask(server, "go", session_id="s")
        next(iter(following))
        server.process.send_signal(signal.SIGTERM)
        wait_for_status(server, "/ready", 503)
        status, refusal = call(server, "POST", "/api/chat/stream", {"message": "another"})
        assert (status, refusal["type"]) == (503, "unavailable")
        assert get(server, "/health") == {"status": "healthy"}
        assert read_until(server, following.stream_id, 3) == "t0 t1 t2 ", "a running answer can be resumed"
        *_, done = following.all()
        assert done.data["full_response"] == "".join(f"t{n} " for n in range(40))
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


def test_what_has_not_ended_when_the_drain_is_over_is_interrupted_with_its_partial(
    start_server: StartServer,
) -> None:
    with FakeUpstream([head(), chunk("half"), stall()]) as upstream:
        server = start_server(
            STORE_URL=FILE, OPENAI_BASE_URL=upstream.base_url, OPENAI_MODELS="fake", DRAIN_S="0.5"
        )
        followings = [ask(server, "go", session_id=f"s{n}") for n in range(15)]
        for following in followings:
            assert next(iter(following)).data["token"] == "half"
        assert server.stop() == 0
        for following in followings:
            (failed,) = following.all()
            assert failed.data["type"] == "interrupted", "the reader is told, not cut off"
        server.restart()
        for n in range(15):
            message = get(server, f"/api/chat/sessions/s{n}")["messages"][-1]
            assert (message["content"], message["status"]) == ("half", "interrupted")


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGHUP, signal.SIGINT]]
)
def test_an_interrupt_or_a_second_signal_ends_at_once(
    start_server: StartServer, signals: list[signal.Signals]
) -> None:
    server = start_server(STORE_URL=FILE, DRAIN_S="60")
    following = ask(server, "[[demo hang=1]] go")
    next(iter(following))
    for number in signals[:-1]:
        server.process.send_signal(number)
        wait_for_status(server, "/ready", 503)
    server.process.send_signal(signals[-1])
    assert server.process.wait(15) == 0
    assert following.all()[-1].data["type"] == "interrupted"


@pytest.mark.any_runtime
def test_a_second_server_on_the_same_store_is_refused_with_a_sentence(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(STORE_URL=FILE)
    store = server.folder / "var" / "chat.db"
    refused = run_backend(tmp_path, STORE_URL=f"sqlite:///{store}", PORT="0")
    assert refused.returncode == 2
    assert "Another server is using" in refused.stderr
    taken = run_backend(tmp_path, PORT=str(server.port))
    assert taken.returncode == 2
    assert "set HOST or PORT" in taken.stderr


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"HOST": "0.0.0.0"}, "ALLOW_ANONYMOUS"),
        ({"PORT": "http"}, "PORT must be a whole number"),
        ({"RUNTIME": "asyncio"}, "RUNTIME must be eventlet or gevent, not 'asyncio'"),
        ({"AUTH": "maybe"}, "AUTH must be one of"),
        ({"JWT_SECRET": ""}, "JWT_SECRET is empty"),
        ({"JWT_SECRET": "a" * 31}, "JWT_SECRET has 31 bytes"),
        ({"JWT_ALGORITHM": "RS256"}, "needs JWT_PUBLIC_KEY or JWKS_URL"),
        ({"JWKS_URL": "https://id.example.org/keys"}, "set JWT_ALGORITHM"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS must be a comma list of origins"),
        (
            {"STORE_URL": "postgresql://localhost"},
            "STORE_URL must be memory://, sqlite:///<file> or redis://",
        ),
        ({"STORE_URL": "sqlite:////proc/nowhere/chat.db"}, "cannot be used"),
        ({"DEFAULT_MODEL": "gpt-9"}, "DEFAULT_MODEL=gpt-9 is none of the models: demo"),
        ({"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "localhost:1"}, "OPENAI_BASE_URL"),
        ({"MODELS_FILE": "none.toml"}, "MODELS_FILE"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_unsafe_or_wrong_setting_is_refused_with_what_to_set(
    tmp_path: Path, env: dict[str, str], says: str
) -> None:
    refused = run_backend(tmp_path, **env)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_server_out_of_descriptors_lives_and_serves_again_when_there_are_some(
    start_server: StartServer,
) -> None:
    server = start_server(STORE_URL="memory://")
    following = ask(server, "[[demo tokens=150 tps=50]] go")
    next(iter(following))
    few = len(os.listdir(f"/proc/{server.process.pid}/fd")) + 10
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (few, few))
    with ExitStack() as crowd:
        for _ in range(50):
            crowd.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        wait_for_log(server, "could not be accepted")
        assert following.all()[-1].data["done"], "who is there is served"
    wait_for_status(server, "/health", 200, patience_s=5)
    assert "Traceback" not in server.log


@pytest.mark.any_runtime
def test_the_check_command_asks_every_door(server: Server, tmp_path: Path) -> None:
    checked = run_backend(tmp_path, "check", server.url)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("pass") == 4
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failed = run_backend(tmp_path, "check", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert failed.returncode == 1
    assert failed.stdout.count("FAIL") == 4


@pytest.mark.any_runtime
def test_no_key_reaches_the_log_or_a_client(start_server: StartServer) -> None:
    key = "sk-canary-9f8e7d6c5b4a39281706"
    complaint = {"error": {"message": f"Incorrect API key provided: {key}"}}
    steps = [
        head(401, "application/json", framing="close"),
        str(complaint).encode(),
        lambda peer: peer.close(),
    ]
    with FakeUpstream(steps) as upstream:
        server = start_server(OPENAI_API_KEY=key, OPENAI_BASE_URL=upstream.base_url, LOG_LEVEL="debug")
        (failed,) = ask(server, "go").all()
        assert failed.data["type"] == "upstream_error"
        assert "key" in failed.data["error"]
        seen = str(failed.data) + server.log + str(get(server, "/api/status"))
        assert "canary" not in seen
        assert str(upstream.port) not in str(failed.data), "nor the upstream's address"


def run_backend(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH, "PORT": "0", **env}
    command = [sys.executable, "-m", "backend", *arguments]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=60)


def wait_for_checkpoint(server: Server, stream_id: str, tokens: int) -> None:
    """Until so many tokens are in the file."""
    query = "SELECT coalesce(sum(json_array_length(items)), 0) FROM entries WHERE stream_id = ?"
    deadline = time.monotonic() + 10
    with closing(sqlite3.connect(server.folder / "var" / "chat.db")) as db:
        while db.execute(query, (stream_id,)).fetchone()[0] < tokens:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def wait_for_log(server: Server, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in server.log:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_status(server: Server, path: str, status: int, patience_s: float = 10) -> None:
    deadline = time.monotonic() + patience_s
    while server.pool.request("GET", f"{server.url}{path}").status != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_crowd_that_reads_at_once_does_not_open_the_store_for_each(server: Server) -> None:
    def openings() -> int:
        folder = Path(f"/proc/{server.process.pid}/fd")
        found = 0
        for each in folder.iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                found += os.readlink(each).endswith("chat.db")
        return found

    ask(server, "hello", session_id="read").all()
    request = b"GET /api/chat/sessions/read HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        crowd = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(300)]
        for client in crowd:
            client.sendall(request)
        for client in crowd:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert openings() <= 1 + 20, "a writer, and a reader for each thread"
