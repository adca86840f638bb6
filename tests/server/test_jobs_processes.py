"""Calls whose process is killed or frozen while others go on: each is settled once, by whoever ends it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import urllib3

from tests.books import Books, books_at
from tests.clients import Following, resume
from tests.server.paying import TOKENS, check
from tests.server.processes import Upstream, next_of, processes, said, state
from tests.server.test_jobs import send
from tests.servers import Server

pytestmark = pytest.mark.server

LEASE_S = 1.5
SIZE = 150
MODELS = """
[[upstream]]
name = "fake"
base_url = "{url}"
models = ["fake"]
continues = "continue_final_message"

[model.fake]
price = {{ input = 1.0, output = 2.0 }}
"""

_numbers = count(1)


def question(what: str = f"{SIZE} tokens every 0.02 s") -> str:
    return f"money {next(_numbers)}. give me {what}"


@contextmanager
def sharing(
    folder: Path, runtime: str, redis_url: str, scripted: Upstream, **env: str
) -> Iterator[tuple[list[Server], Books]]:
    """Two servers on one Redis and one ledger."""
    models = folder / "models.toml"
    models.write_text(MODELS.format(url=scripted.base_url))
    url = f"sqlite:///{folder}/ledger.db"
    shared = {
        "DATABASE_URL": url, "MODELS_FILE": str(models), "OPENAI_BASE_URL": "", "OPENAI_API_KEY": "",
        "LEASE_S": str(LEASE_S), "CALL_LEASE_S": "1.5", **env,
    }  # fmt: skip
    with books_at(url) as books, processes(folder, 2, redis_url, scripted, runtime, **shared) as servers:
        yield servers, books


def asked(server: Server, key: str, message: str) -> Following:
    response = server.pool.request(
        "POST", f"{server.url}/api/chat/stream", json={"message": message, "partial": False},
        headers={"Authorization": f"Bearer {key}"}, preload_content=False,
    )  # fmt: skip
    return Following(server, response)


def called(server: Server, key: str, job_id: str, message: str) -> urllib3.BaseHTTPResponse:
    """A call whose answer is given to its end."""
    body = {"model": "fake", "messages": [{"role": "user", "content": message}]}
    response = server.pool.request(
        "POST", f"{server.url}/api/jobs/{job_id}/llm-call-stream", body=json.dumps(body),
        headers={"Authorization": f"Bearer {key}", "X-Stream-Resume": "1"}, preload_content=False,
    )  # fmt: skip
    assert response.status == 200, response.data
    server.opened.append(response.close)
    return response


def test_what_a_killed_process_generated_is_settled_by_those_who_end_it(
    tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream
) -> None:
    with sharing(tmp_path, one_runtime, redis_url, scripted) as ((a, b), books):
        key = books.team("acme", 100_000, TOKENS)
        job_id = send(a, "POST /api/jobs", {"job_type": "chat"}, key).json()["job_id"]
        chat, call = asked(a, key, question()), called(a, key, job_id, question())
        next_of(chat, 30)
        next(call.stream(1))
        a.kill()
        for stream_id in (chat.stream_id, call.headers["X-Call-Id"]):
            found, headers = books.settled(stream_id), {"Authorization": f"Bearer {key}"}
            assert (found.state, found.basis) == ("interrupted", "estimate")
            check(found, state(b, stream_id, **headers)["text"])
        assert books.credits().spent == 0, "the question's job has failed with its call"
        bill = send(b, f"POST /api/jobs/{job_id}/complete", {}, key).json()
        assert (bill["costs"]["failed_calls"], bill["credits_charged"]) == (1, found.tokens)
        assert (books.credits().held, books.credits().spent) == (0, found.tokens)


def test_an_answer_that_another_process_goes_on_with_is_paid_for_once_as_a_whole(
    tmp_path: Path, one_runtime: str, older_redis_url: str, scripted: Upstream
) -> None:
    env = {"CONTINUE_INTERRUPTED": "1"}
    with sharing(tmp_path, one_runtime, older_redis_url, scripted, **env) as ((a, _), books):
        key = books.team("acme", 100_000, TOKENS)
        message = question()
        chat = asked(a, key, message)
        next_of(chat, 30)
        a.kill()
        found = books.settled(chat.stream_id)
        assert scripted.calls_of(message) == 2
        assert found.state == "done"
        check(found, said(SIZE))
        assert books.credits().spent == found.tokens
        assert books.charges() == [found.tokens]


def test_what_a_frozen_process_generated_is_settled_when_it_wakes_up(
    tmp_path: Path, one_runtime: str, redis_url: str, scripted: Upstream
) -> None:
    """Others have ended its answer, and leave its call alone as long as its lease lasts."""
    with sharing(tmp_path, one_runtime, redis_url, scripted, CALL_LEASE_S="100") as ((a, b), books):
        key = books.team("acme", 100_000, TOKENS)
        headers = {"Authorization": f"Bearer {key}"}
        chat = asked(a, key, question())
        next_of(chat, 30)
        elsewhere = resume(b, chat.stream_id, **headers)
        a.process.send_signal(signal.SIGSTOP)
        try:
            assert elsewhere.all()[-1].data["type"] == "interrupted"
        finally:
            a.process.send_signal(signal.SIGCONT)
        found = books.settled(chat.stream_id)
        assert found.state == "interrupted"
        check(found, state(b, chat.stream_id, **headers)["text"])
        assert (books.credits().held, books.credits().spent) == (0, 0)
