"""Jobs, their calls and their bills, from a real server behind a line that is faulty where it is told so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from parley_client import (
    BadAnswer,
    Conflict,
    ConnectionLost,
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidRequest,
    JobResult,
    ModelNotFound,
    NotFound,
    Patience,
    RateLimited,
    SaaSLLMClient,
    Unauthorized,
    Unavailable,
    UpstreamError,
)
from tests.access import signing
from tests.books import Books
from tests.client.conftest import CREDITS
from tests.client.faulty import Fault, FaultyLine
from tests.client.twins import Connect, run
from tests.servers import Server

pytestmark = pytest.mark.server

TEXT = "Hello there, dear user"
HELLO = [{"role": "user", "content": f"[[demo echo]] {TEXT}"}]
BROKEN = [{"role": "user", "content": "[[demo fail=2]] Hello"}]
GATEWAYS = (502, 503, 504)


def test_a_job_is_made_called_and_completed(client: Any, line: FaultyLine) -> None:
    job_id = client.create_job("chat", "user-1", {"a": 1})
    assert client.job_id == job_id
    assert client.get_job().status == "pending"
    response = client.chat("chat-fast", HELLO, temperature=0.2, purpose="greeting", top_p=0.9)
    assert response.choices[0].message["content"] == response.response.content == TEXT
    assert response.usage.model_dump()["total_tokens"] == response.metadata.tokens_used
    assert (response.job_id, response.metadata.model) == (job_id, "chat-fast")
    assert line.asked("llm-call")[0].json == {
        "model_group": "chat-fast", "messages": HELLO, "purpose": "greeting", "temperature": 0.2, "top_p": 0.9
    }  # fmt: skip
    result = client.complete_job(metadata={"b": 2}, result={"said": "hello"})
    assert (result.status, result.total_calls, result["credits_remaining"]) == ("completed", 1, CREDITS - 1)
    assert (result.calls[0].purpose, result.calls[0].state) == ("greeting", "done")
    assert (result.costs.credit_applied, result.credits_charged) == (True, 1)
    assert timedelta() <= datetime.now(UTC) - result.completed_at < timedelta(minutes=1)
    assert client.complete_job(job_id=job_id) == client.complete_job("failed") == result
    job = client.get_job()
    assert job.metadata == {"a": 1, "b": 2, "result": {"said": "hello"}}
    assert (job.status, job.user_id, job.credits_charged, job.credits_held) == ("completed", "user-1", 1, 0)
    with pytest.raises(Conflict) as ended:
        client.chat("chat-fast", HELLO)
    assert (ended.value.status, ended.value.type) == (409, "invalid_request")


def test_a_call_is_streamed(client: Any, books: Books, team: str) -> None:
    client.create_job("chat")
    said, ends = "", []
    stream = client.chat_stream(model_group="chat-fast", messages=HELLO)
    for chunk in stream:
        if chunk.choices and "content" in chunk.choices[0].delta:
            said += chunk.choices[0].delta["content"]
        assert chunk.choices[0].delta.get("content", "") == chunk.text
        ends.append(chunk.choices[0].finish_reason)
    assert said == stream.text == TEXT
    assert ends[-1] == "stop"
    assert [stream.call_id] == [call.call_id for call in books.calls(team)]


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "unnumbered"])
@pytest.mark.parametrize("way", ["ends_after", "breaks_after"])
def test_a_streamed_call_goes_on_after_any_byte_and_is_generated_once(
    client: Any, line: FaultyLine, books: Books, team: str, numbered: bool, way: str
) -> None:
    """Without numbers, as where a proxy takes the wish for them away, it is read again from its start."""
    line.withheld = set() if numbered else {"x-stream-resume"}
    client.create_job("chat")
    expected = [chunk.choices for chunk in client.chat_stream("chat-fast", HELLO)]
    size = line.requests[-1].answer_bytes
    cuts = range(0, size, 89)
    for at in cuts:
        line.faults = [Fault("stream", **{way: at}), Fault("stream", **{way: 40})]
        assert [chunk.choices for chunk in client.chat_stream("chat-fast", HELLO)] == expected
    assert len(books.calls(team)) == 1 + len(cuts)
    assert any("last-event-id" in request.headers for request in line.requests) is numbered


def test_a_call_whose_answer_was_lost_is_made_once(
    client: Any, line: FaultyLine, books: Books, team: str
) -> None:
    client.create_job("chat")
    line.faults = [Fault("llm-call", breaks_after=0), Fault("llm-call", status=503)]
    line.faults += [Fault("complete", breaks_after=0, by_reset=True)]
    call_id = client.chat("chat-fast", HELLO).call_id
    assert [call.call_id for call in client.complete_job().calls] == [call_id]
    assert (len(books.calls(team)), books.credits(team).spent) == (1, 1)
    line.faults = [Fault("create-and-call", breaks_after=0)]
    assert client.create_and_call("chat", "chat-fast", HELLO).status == "completed"
    assert (len(books.calls(team)), books.credits(team).spent) == (2, 2)
    assert line.faults == []


def test_a_job_whose_answer_was_lost_is_made_once(client: Any, line: FaultyLine) -> None:
    line.faults = [Fault("create", breaks_after=0), Fault("create", status=502, body=b"<html>")]
    line.faults += [Fault("create", status=503), Fault("create", status=429, type="rate_limited")]
    job_id = client.create_job("chat", idempotency_key="mine")
    assert client.create_job("chat", idempotency_key="mine") == job_id
    assert [job.job_id for job in client.list_jobs().jobs] == [job_id]
    with pytest.raises(IdempotencyMismatch):
        client.create_job("report", idempotency_key="mine")
    assert client.create_job("chat") != job_id, "each has a key of its own"
    assert len({client.create_job("chat", idempotency_key="…") for _ in range(2)}) == 1


def test_what_is_not_safe_is_not_repeated(client: Any, line: FaultyLine) -> None:
    line.faults = [Fault("sessions", breaks_after=0)]
    with pytest.raises(ConnectionLost) as lost:
        client.sessions.create("one")
    assert lost.value.requests == 1
    line.faults = [Fault("sessions", status=502, body=b"<html>")]
    with pytest.raises(BadAnswer) as odd:
        client.sessions.create("two")
    assert odd.value.status == 502
    line.faults = [Fault("sessions", status=503), Fault("sessions", status=429, type="rate_limited")]
    client.sessions.create("three")
    assert [session.title for session in client.sessions.all()] == ["three", "one"], "refused is not done"


def test_a_verdict_is_not_asked_for_again(client: Any, line: FaultyLine) -> None:
    """Under its key it would only come back."""
    client.create_job("chat")
    line.faults = [Fault("llm-call", status=502, type="upstream_error")]
    with pytest.raises(UpstreamError):
        client.chat("chat-fast", HELLO)
    for call in (client.chat, lambda *args: list(client.chat_stream(*args))):
        with pytest.raises(UpstreamError) as broken:
            call("chat-fast", BROKEN)
        assert (broken.value.status, broken.value.type) == (502, "upstream_error")
    assert len(line.asked("llm-call")) == 3
    result = client.complete_job("failed", error_message="no use")
    assert (result.costs.failed_calls, result.credits_charged, result.credits_remaining) == (2, 0, CREDITS)
    assert [(call.state, call.error) for call in result.calls] == [("failed", broken.value.message)] * 2
    assert client.get_job().error_message == "no use"


def test_a_pause_that_is_asked_for_is_kept_if_it_is_not_too_long(
    connect: Connect, line: FaultyLine, key: str
) -> None:
    client = connect(line.url, key, patience=Patience(pause_s=0.01, longest_wait_s=2))
    limit: dict[str, Any] = {"route": "create", "status": 429, "type": "rate_limited"}
    line.faults = [Fault(**limit, headers={"Retry-After": "1"})]
    assert client.create_job("chat")
    line.faults = [Fault(**limit, headers={"Retry-After": "3"})]
    with pytest.raises(RateLimited) as refused:
        client.create_job("chat")
    assert (refused.value.retry_after, refused.value.status) == (3.0, 429)
    line.faults = [Fault("create", status=503)] * 9
    with pytest.raises(Unavailable) as full:
        client.create_job("chat")
    assert full.value.requests == 5


def test_a_team_with_a_rate_of_its_own_waits_for_its_turn(
    connect: Connect, line: FaultyLine, books: Books, team: str
) -> None:
    client = connect(line.url, books.team(team, rate_limit="1/second"), team)
    client.create_job("chat")
    assert {client.chat("chat-fast", HELLO).text for _ in range(2)} == {TEXT}
    assert len(books.calls(team)) == 2
    assert len(line.asked("llm-call")) == 3


def test_gateways_that_have_no_answer_are_asked_again(client: Any, line: FaultyLine) -> None:
    client.create_job("chat")
    line.faults = [Fault("llm-call", status=status, body=b"<html>") for status in GATEWAYS]
    assert client.chat("chat-fast", HELLO).text
    line.faults = [Fault("llm-call", status=status, body=b"<html>") for status in GATEWAYS]
    assert list(client.chat_stream("chat-fast", HELLO))
    assert line.faults == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": 5}', b"", b'{"job_id": 1}'])
def test_nonsense_is_an_error_of_its_own(client: Any, line: FaultyLine, body: bytes) -> None:
    client.create_job("chat")
    for ask in (client.get_job, lambda: client.usage("2026-11"), lambda: client.chat("chat-fast", HELLO)):
        line.faults = [Fault(status=200, body=body)]
        with pytest.raises(BadAnswer):
            ask()
    line.faults = [Fault("stream", status=200, body=body)]
    with pytest.raises(BadAnswer):
        list(client.chat_stream("chat-fast", HELLO))


def test_refusals_have_types(connect: Connect, client: Any, server: Server, books: Books, key: str) -> None:
    for bad in ("sk-other", "sk-" + "x" * 43, "sk-…", None):
        with pytest.raises(Unauthorized):
            connect(server.url, bad).create_job("chat")
    with pytest.raises(Forbidden, match="virtual key"):
        connect(server.url, signing.token()).create_job("chat")
    with pytest.raises(Forbidden, match="another team"):
        connect(server.url, key, "team-beta").create_job("chat")
    with pytest.raises(NotFound):
        client.chat("chat-fast", HELLO, job_id="job-9")
    with pytest.raises(ValueError, match="create_job"):
        client.chat("chat-fast", HELLO)
    client.create_job("chat")
    with pytest.raises(InvalidRequest, match="api_key"):
        client.chat("chat-fast", HELLO, api_key="k")
    with pytest.raises(ModelNotFound):
        client.chat("chat-slow", HELLO)


def test_what_a_team_may_not_do_is_said_before_a_model_is_asked(
    client: Any, server: Server, books: Books, team: str
) -> None:
    def both_are_refused(kind: type[Exception], status: int, type_: str) -> None:
        for call in (client.chat, lambda *args: list(client.chat_stream(*args))):
            with pytest.raises(kind) as refused:
                call("chat-fast", HELLO)
            assert (refused.value.status, refused.value.type) == (status, type_)  # type: ignore[attr-defined]

    def admin(method: str, path: str, **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {signing.token(scope='admin')}"}
        url = f"{server.url}/api/admin/{path}"
        return server.pool.request(method, url, json=fields or None, headers=headers).json()

    client.create_job("chat")
    admin("PATCH", f"teams/{team}", model_groups=["chat-smart"])
    both_are_refused(Forbidden, 403, "forbidden")
    admin("PATCH", f"teams/{team}", model_groups=None)
    books.accounts.grant(team, -CREDITS, "taken back")
    both_are_refused(InsufficientCredits, 402, "insufficient_credits")
    admin("DELETE", f"keys/{admin('GET', f'teams/{team}/keys')['keys'][0]['key_id']}")
    both_are_refused(Unauthorized, 401, "unauthorized")
    assert books.calls(team) == []


def test_jobs_and_their_costs_are_read(client: Any, team: str) -> None:
    first, second = client.create_job("chat"), client.create_job("report", metadata={"a": 1})
    called = client.chat("chat-fast", HELLO, job_id=first)
    assert client.get_job(first).status == "in_progress"
    assert client.get_job().job_id == client.job_id == second
    assert client.update_metadata({"b": 2}).metadata == {"a": 1, "b": 2}
    costs = client.job_costs(first)
    assert (costs.job_id, costs.status) == (first, "in_progress")
    assert (costs.calls[0].model_group, costs.calls[0].model) == ("chat-fast", "demo"), "who answered"
    assert costs.calls[0].cost_usd == costs.costs.total_cost_usd == called.metadata.cost_usd > 0
    assert [job.job_id for job in client.list_jobs(limit=5).jobs] == [second, first], "the newest first"
    page = client.list_jobs(limit=1, offset=1)
    assert (page.limit, page.offset, [job.job_id for job in page.jobs]) == (1, 1, [first])
    assert [job.job_id for job in client.list_jobs(status="pending").jobs] == [second]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for period in (today, today[:7]):
        usage = client.usage(period)
        assert (usage.team_id, usage.period, usage.summary.total_calls) == (team, period, 1)
        assert (usage.job_types["chat"].count, usage.job_types["report"].cost_usd) == (1, 0.0)
        assert usage.models["demo"].tokens == usage.days[today].tokens == called.usage.total_tokens
        assert (usage.days[today].credits, usage.summary.credits_spent) == (0, 0)
    with pytest.raises(NotFound):
        client.usage("2026-11", team_id="team-beta")
    assert client.complete_job("failed", error_message="no use").status == "failed"


class Person(BaseModel):
    name: str
    age: int


def test_a_program_of_the_usual_shape_runs(
    server: Server, books: Books, capsys: pytest.CaptureFixture[str]
) -> None:
    async def program(api_url: str, virtual_key: str, team_id: str) -> tuple[str, Person, JobResult]:
        async with SaaSLLMClient(api_url, virtual_key, team_id) as client:
            job_id = await client.create_job("chat")
            async for chunk in client.chat_stream(model_group="chat-fast", messages=HELLO):
                if chunk.choices and "content" in chunk.choices[0].delta:
                    print(chunk.choices[0].delta["content"], end="", flush=True)
            response = await client.chat(model_group="chat-fast", messages=HELLO)
            question = [{"role": "user", "content": '[[demo echo]] {"name": "Ada", "age": 36}'}]
            person = await client.structured_output(
                model_group="chat-fast", messages=question, response_model=Person
            )
            async for growing in client.structured_output_stream("chat-fast", question, Person):
                assert growing.name is None or person.name.startswith(growing.name)
            result = await client.complete_job("completed")
            assert result == await client.complete_job(status="completed", job_id=job_id)
            return response.choices[0].message["content"], person, result

    said, person, result = run(program(server.url, books.team("usual"), "usual"))
    assert capsys.readouterr().out == said == TEXT
    assert person == Person(name="Ada", age=36)
    assert (result.total_calls, books.credits("usual").spent) == (4, 1)
