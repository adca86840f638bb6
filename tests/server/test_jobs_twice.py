"""Requests that are sent again: one job, one generation, one charge, and the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.books import Books, books_of
from tests.fakes.questions import Questions
from tests.fakes.upstream import DONE, Peer, Step, chunk, end, finish, head, usage
from tests.programs import until
from tests.server import paying
from tests.server.paying import OF_A_JOB, PLENTY, STREAMED, TOKENS, WHOLE, Asking, Raw, words
from tests.server.test_jobs import send
from tests.servers import Server, servers, several
from tests.sockets import Socket

pytestmark = pytest.mark.server

MODELS = """
[[upstream]]
name = "first"
base_url = "{0}"
models = ["weak"]
"""
DOORS: dict[str, Callable[..., Asking]] = {**STREAMED, **WHOLE}


@pytest.fixture(scope="module")
def till(
    tmp_path_factory: pytest.TempPathFactory, runtime_name: str, questions: Questions
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("till")
    (folder / "models.toml").write_text(MODELS.format(questions.upstream.base_url) + paying.PRICES)
    with servers(folder) as started:
        started.append(Server(folder, {"MAX_STREAMS_PER_CALLER": "100", **several(runtime_name)}))
        yield started[0]


@pytest.fixture(scope="module")
def books(till: Server) -> Iterator[Books]:
    with books_of(till) as books:
        yield books


def gate(opened: Event) -> Step:
    def step(peer: Peer) -> None:
        while not opened.is_set():
            peer.wait(0.02)

    return step


def job_of(till: Server, key: str) -> str:
    job_id: str = send(till, "POST /api/jobs", {"job_type": "a"}, key).json()["job_id"]
    return job_id


@pytest.mark.parametrize("door", DOORS)
def test_a_question_sent_twice_at_every_moment_is_generated_and_paid_for_once(
    till: Server, books: Books, questions: Questions, door: str
) -> None:
    team_id = door.replace(" ", "-")
    key = books.team(team_id, PLENTY, TOKENS)
    job_id = job_of(till, key) if door in OF_A_JOB else ""
    begins, ends = Event(), Event()
    question = questions.new(
        [
            gate(begins),
            head(),
            *map(chunk, words(3)),
            gate(ends),
            chunk("word3 "),
            finish(),
            usage(30, 7),
            DONE,
            end(),
        ]
    )
    sent: list[Raw] = []

    def send_twice() -> None:
        asking = DOORS[door](question.text, job_id)
        sent.extend(Raw(till, key, asking, **{"Idempotency-Key": "k"}) for _ in range(2))

    try:
        send_twice()
        until(lambda: question.calls == 1, "the upstream is asked")
        send_twice()
        begins.set()
        if door in STREAMED:
            sent[0].take(3)
        send_twice()
        ends.set()
        with ThreadPoolExecutor(len(sent)) as pool:
            pool.map(Raw.rest, sent)
        send_twice()
        for raw in sent:
            raw.rest()
    finally:
        begins.set()
        ends.set()
        for raw in sent:
            raw.leave()
    twice = door in ("chat", "whole call", "whole job")  # where the end, or the response, tells it again
    assert {raw.words for raw in sent} == {8 if twice else 4}
    assert len({raw.stream_id for raw in sent}) == 1
    assert question.calls == 1
    if job_id:
        send(till, f"POST /api/jobs/{job_id}/complete", {}, key)
    until(lambda: books.credits(team_id).held == 0, "it is settled")
    assert books.charges(team_id) == [37]
    assert [call.tokens for call in books.calls(team_id)] == [37]


def test_a_question_over_several_sockets_is_paid_for_once(
    till: Server, books: Books, questions: Questions
) -> None:
    key, ends = books.team("sockets", PLENTY, TOKENS), Event()
    question = questions.new([head(), chunk("word0 "), gate(ends), finish(), usage(30, 7), DONE, end()])
    asking = {"message": question.text, "model": "weak", "session_id": "s", "idempotency_key": "k"}
    sockets = [Socket(till, key) for _ in range(4)]
    try:
        said = [socket.call("chat_stream", asking) for socket in sockets[:3]]
    finally:
        ends.set()
    for socket in sockets[:3]:
        assert socket.answer()[-1][0] == "chat_complete"
    said.append(sockets[3].call("chat_stream", asking))
    assert len({answer["stream_id"] for answer in said}) == 1
    other = sockets[0].call("chat_stream", {**asking, "message": "another"})
    assert other["type"] == "idempotency_mismatch"
    assert question.calls == 1
    assert books.settled(said[0]["stream_id"]).tokens == 37
    assert books.charges("sockets") == [37]


def test_making_and_ending_a_job_twice_is_making_and_ending_one(till: Server, books: Books) -> None:
    key, again = books.team("one", 10), {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(8) as pool:
        body = {"job_type": "a", "metadata": {"b": 1}}
        route = ("POST /api/jobs", "POST /api/jobs/create")
        made = list(pool.map(lambda n: send(till, route[n % 2], body, key, **again), range(8)))
        assert {answer.status for answer in made} == {201}
        (job_id,) = {answer.json()["job_id"] for answer in made}
        complete = f"POST /api/jobs/{job_id}/complete"
        ended = list(pool.map(lambda _: send(till, complete, {}, key, **again), range(8)))
    assert len({answer.data for answer in ended}) == 1
    assert books.charges("one") == [1]
    assert send(till, complete, {"status": "failed"}, key, **again).json()["type"] == "idempotency_mismatch"
    assert send(till, complete, {"status": "failed"}, key).data == ended[0].data
    assert len(books.ledger.jobs("one", 10)) == 1


@pytest.mark.parametrize("door", [*DOORS, "create", "complete"])
def test_a_key_is_for_one_body_of_one_team_and_not_too_long(till: Server, books: Books, door: str) -> None:
    mine, others = (books.team(f"{door}-{who}".replace(" ", "-"), 10) for who in ("mine", "others"))
    my_job, other_job = job_of(till, mine), job_of(till, others)

    def asking(text: str, job_id: str) -> tuple[str, Any]:
        if door == "create":
            return "/api/jobs/create", {"job_type": text}
        if door == "complete":
            return f"/api/jobs/{job_id}/complete", {"error_message": text}
        return DOORS[door](f"[[demo tokens=3 tps=0]] {text}", job_id, model="demo")

    def status(key: str, text: str, job_id: str, idempotency_key: str) -> int:
        path, body = asking(text, job_id)
        return send(till, f"POST {path}", body, key, **{"Idempotency-Key": idempotency_key}).status

    fine = 201 if door == "create" else 200
    longest = "k" * 255
    assert status(mine, "one", my_job, longest) == fine
    assert status(mine, "one", my_job, longest) == fine
    assert status(mine, "two", my_job, longest) == 422
    assert status(others, "two", other_job, longest) == fine
    assert status(mine, "one", my_job, "k" * 256) == 400
    assert status(mine, "one", my_job, "") == 400
