"""Jobs, their calls and their bills, with a server that keeps to the contract by the letter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from parley_client import (
    BadAnswer,
    Conflict,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    JobResult,
    NotFound,
    Patience,
    RateLimited,
    SaaSLLMClient,
    Unauthorized,
    Unavailable,
    UpstreamError,
)
from tests.client.twins import Connect, run
from tests.fakes.jobs import KEY, TEAM, Fault, JobsServer, serving, stream_of

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def jobs() -> JobsServer:
    return JobsServer()


@pytest.fixture
def url(jobs: JobsServer) -> Iterator[str]:
    with serving(jobs) as url:
        yield url


@pytest.fixture
def client(url: str, connect: Connect) -> Any:
    return connect(url, KEY, TEAM)


def test_a_job_is_made_called_and_completed(client: Any, jobs: JobsServer) -> None:
    job_id = client.create_job("chat", "user-1", {"a": 1})
    assert client.job_id == job_id
    response = client.chat("chat-fast", HELLO, temperature=0.2, purpose="greeting", top_p=0.9)
    assert response.choices[0].message["content"] == response.response.content == "Hello there, dear user"
    assert response.usage.model_dump()["total_tokens"] == response.metadata.tokens_used
    assert jobs.generations[0].body == {
        "model_group": "chat-fast", "messages": HELLO, "purpose": "greeting", "temperature": 0.2, "top_p": 0.9
    }  # fmt: skip
    result = client.complete_job(metadata={"b": 2}, result={"said": "hello"})
    assert (result.status, result.total_calls, result["credits_remaining"]) == ("completed", 1, 9)
    assert (result.calls[0].purpose, result.costs.credit_applied) == ("greeting", True)
    assert result.completed_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert client.complete_job(job_id=job_id) == result
    assert client.get_job().metadata == {"a": 1, "b": 2, "result": {"said": "hello"}}
    with pytest.raises(Conflict) as ended:
        client.chat("chat-fast", HELLO)
    assert (ended.value.status, ended.value.type) == (409, "job_ended")


def test_a_call_is_streamed(client: Any) -> None:
    client.create_job("chat")
    said, ends = "", []
    stream = client.chat_stream(model_group="chat-fast", messages=HELLO)
    for chunk in stream:
        if chunk.choices and "content" in chunk.choices[0].delta:
            said += chunk.choices[0].delta["content"]
        assert chunk.choices[0].delta.get("content", "") == chunk.text
        ends.append(chunk.choices[0].finish_reason)
    assert said == stream.text == "Hello there, dear user"
    assert ends[-1] == "stop"
    assert (stream.call_id, stream.stream_id) == ("call-1", "stream-call-1")


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
@pytest.mark.parametrize("clean", [True, False], ids=["drained", "cut"])
def test_a_streamed_call_goes_on_after_any_byte_and_is_generated_once(
    connect: Connect, numbered: bool, clean: bool
) -> None:
    jobs = JobsServer(["Hello"])
    jobs.numbered = numbered
    with serving(jobs) as url:
        client = connect(url, KEY, TEAM)
        client.create_job("chat")
        expected = [chunk.choices for chunk in client.chat_stream("chat-fast", HELLO)]
        size = len(stream_of(jobs.generations[0], "stream-call-1", 0, numbered))
        for at in range(0, size, 19):
            jobs.faults += [Fault("stream", cut=at, clean=clean), Fault("stream", cut=40, clean=clean)]
            assert [chunk.choices for chunk in client.chat_stream("chat-fast", HELLO)] == expected
        assert len(jobs.generations) == 1 + len(range(0, size, 19))
        assert any("last-event-id" in headers for *_, headers in jobs.requests) is numbered


def test_a_call_whose_answer_was_lost_is_made_once(client: Any, jobs: JobsServer) -> None:
    client.create_job("chat")
    jobs.faults += [Fault("llm-call", drop=True), Fault("llm-call", status=503), Fault("complete", drop=True)]
    assert client.chat("chat-fast", HELLO).call_id == "call-1"
    assert client.complete_job().total_calls == 1
    assert (len(jobs.generations), jobs.charged, jobs.credits) == (1, ["job-1"], 9)
    jobs.faults += [Fault("create-and-call", drop=True)]
    assert client.create_and_call("chat", "chat-fast", HELLO).status == "completed"
    assert (len(jobs.generations), len(jobs.charged), jobs.credits) == (2, 2, 8)


def test_a_job_whose_answer_was_lost_is_made_once(client: Any, jobs: JobsServer) -> None:
    jobs.faults += [Fault("create", drop=True), Fault("create", status=502, body=b"<html>")]
    jobs.faults += [Fault("create", status=503), Fault("create", status=429, type="rate_limited")]
    job_id = client.create_job("chat", idempotency_key="mine")
    assert client.create_job("chat", idempotency_key="mine") == job_id
    assert list(jobs.jobs) == [job_id]
    assert client.create_job("chat") != job_id, "each has a key of its own"


def test_a_verdict_is_not_asked_for_again(client: Any, jobs: JobsServer) -> None:
    client.create_job("chat")
    jobs.faults += [Fault("llm-call", status=502, type="upstream_error")]
    with pytest.raises(UpstreamError):
        client.chat("chat-fast", HELLO)
    assert jobs.generations == [], "under this key it would only come back"


def test_a_pause_that_is_asked_for_is_kept_if_it_is_not_too_long(connect: Connect, jobs: JobsServer) -> None:
    with serving(jobs) as url:
        client = connect(url, KEY, TEAM, patience=Patience(pause_s=0.01, longest_wait_s=2))
        limit = {"route": "create", "status": 429, "type": "rate_limited"}
        jobs.faults += [Fault(**limit, headers={"Retry-After": "1"})]
        assert client.create_job("chat")
        jobs.faults += [Fault(**limit, headers={"Retry-After": "3"})]
        with pytest.raises(RateLimited) as refused:
            client.create_job("chat")
        assert (refused.value.retry_after, refused.value.status) == (3.0, 429)
        jobs.faults += [Fault("create", status=503)] * 9
        with pytest.raises(Unavailable) as full:
            client.create_job("chat")
        assert full.value.requests == 5


def test_gateways_that_have_no_answer_are_asked_again(client: Any, jobs: JobsServer) -> None:
    client.create_job("chat")
    jobs.faults += [Fault("llm-call", status=status, body=b"<html>") for status in (502, 503, 504)]
    assert client.chat("chat-fast", HELLO).text
    jobs.faults += [Fault("llm-call", status=status, body=b"<html>") for status in (502, 503, 504)]
    assert list(client.chat_stream("chat-fast", HELLO))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": 5}', b"", b'{"job_id": 1}'])
def test_nonsense_is_an_error_of_its_own(client: Any, jobs: JobsServer, body: bytes) -> None:
    client.create_job("chat")
    for ask in (client.get_job, lambda: client.usage("2026-11"), lambda: client.chat("chat-fast", HELLO)):
        jobs.faults += [Fault("", status=200, body=body)]
        with pytest.raises(BadAnswer):
            ask()
    jobs.faults += [Fault("stream", status=200, body=body)]
    with pytest.raises(BadAnswer):
        list(client.chat_stream("chat-fast", HELLO))


def test_refusals_have_types(connect: Connect, url: str, jobs: JobsServer) -> None:
    client = connect(url, KEY, TEAM)
    with pytest.raises(Unauthorized):
        connect(url, "sk-other", TEAM).create_job("chat")
    with pytest.raises(Forbidden):
        connect(url, KEY, "team-beta").create_job("chat")
    with pytest.raises(NotFound):
        client.chat("chat-fast", HELLO, job_id="job-9")
    with pytest.raises(ValueError, match="create_job"):
        client.chat("chat-fast", HELLO)
    client.create_job("chat")
    with pytest.raises(InvalidRequest, match="api_key"):
        client.chat("chat-fast", HELLO, api_key="k")
    jobs.credits = 0
    for call in (client.chat, lambda *args: list(client.chat_stream(*args))):
        with pytest.raises(InsufficientCredits) as broke:
            call("chat-fast", HELLO)
        assert (broke.value.status, broke.value.type) == (402, "insufficient_credits")


def test_jobs_and_their_costs_are_read(client: Any) -> None:
    first, second = client.create_job("chat"), client.create_job("report", metadata={"a": 1})
    client.chat("chat-fast", HELLO, job_id=first)
    assert client.get_job(first).status == "in_progress"
    assert client.get_job().job_id == client.job_id == second
    assert client.update_metadata({"b": 2}).metadata == {"a": 1, "b": 2}
    costs = client.job_costs(first)
    assert costs.calls[0].cost_usd == costs.costs.total_cost_usd > 0
    assert [job.job_id for job in client.list_jobs(limit=5, status="pending").jobs] == [first, second]
    usage = client.usage("2026-11")
    assert (usage.period, usage.summary.total_calls, usage.job_types["chat"].count) == ("2026-11", 1, 2)
    with pytest.raises(NotFound):
        client.usage("2026-11", team_id="team-beta")
    assert client.complete_job("failed", error_message="no use").status == "failed"


class Person(BaseModel):
    name: str
    age: int


def test_a_program_of_the_usual_shape_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async def program(api_url: str, virtual_key: str, team_id: str) -> tuple[Person, JobResult]:
        async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
            job_id = await client.create_job("chat")
            async for chunk in client.chat_stream(
                model_group="chat-fast", messages=[{"role": "user", "content": "Hello"}]
            ):
                if chunk.choices and "content" in chunk.choices[0].delta:
                    print(chunk.choices[0].delta["content"], end="", flush=True)
            person = await client.structured_output(
                model_group="chat-fast",
                messages=[{"role": "user", "content": "Ada is 36"}],
                response_model=Person,
            )
            result = await client.complete_job()
            assert result.job_id == job_id
            return person, result

    jobs = JobsServer(["Hello there", '{"name": "Ada", "age": 36}'])
    with serving(jobs) as url:
        person, result = run(program(url, KEY, TEAM))
    assert capsys.readouterr().out == "Hello there"
    assert person == Person(name="Ada", age=36)
    assert (result.total_calls, jobs.charged) == (2, ["job-1"])
