"""Jobs, from the typed client to the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import urllib3

from parley_client import (
    Conflict,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    Parley,
    Unauthorized,
    UpstreamError,
)
from tests.access import signing
from tests.books import Books, books_of
from tests.servers import Server, servers, several

pytestmark = pytest.mark.server

HELLO = [{"role": "user", "content": "[[demo tokens=7]] Hello"}]
BROKEN = [{"role": "user", "content": "[[demo fail=3]] Hello"}]
MODELS_FILE = """
[model.demo]
price = { input = 1.0, output = 2.0 }
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server with jobs, whose built-in model has a price."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "models.toml").write_text(MODELS_FILE)
    with servers(folder) as started:
        env = {"DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": signing.SECRET, **several(runtime_name)}
        started.append(Server(folder, {"MAX_STREAMS_PER_CALLER": "100", **env}))
        yield started[0]


@pytest.fixture(scope="module")
def books(shop: Server) -> Iterator[Books]:
    with books_of(shop) as books:
        yield books


@pytest.fixture
def team(books: Books, request: pytest.FixtureRequest) -> str:
    """The id of a team with 10 credits; its key is in `keys`."""
    team_id = f"t{abs(hash(request.node.name))}"
    KEYS[team_id] = books.team(team_id, 10)
    return team_id


KEYS: dict[str, str] = {}


@pytest.fixture
def client(shop: Server, team: str) -> Iterator[Parley]:
    with Parley(shop.url, KEYS[team], team) as client:
        yield client


@pytest.fixture
def connect(shop: Server) -> Iterator[Callable[..., Parley]]:
    with ExitStack() as stack:
        yield lambda *who: stack.enter_context(Parley(shop.url, *who))


def send(
    server: Server, route: str, body: Any = None, key: str | None = None, **headers: str
) -> urllib3.BaseHTTPResponse:
    method, path = route.split()
    authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
    raw = None if body is None else json.dumps(body)
    return server.pool.request(method, server.url + path, body=raw, headers={**authorization, **headers})


def test_a_job_of_several_calls_has_one_bill(client: Parley, books: Books, team: str) -> None:
    job_id = client.create_job("chat", "user-1", {"a": 1})
    assert client.get_job().status == "pending"
    response = client.chat("chat-fast", HELLO, temperature=0.2, purpose="greeting", call_metadata={"k": 1})
    assert response.choices[0].message["content"] == response.response.content
    assert response.usage is not None
    assert response.usage.completion_tokens == 7
    assert response.metadata.tokens_used == response.usage.total_tokens
    stream = client.chat_stream(model_group="demo", messages=HELLO)
    said = "".join(chunk.text for chunk in stream)
    assert said == response.text
    assert stream.call_id == stream.stream_id
    assert books.credits(team).held == 1
    assert client.update_metadata({"b": 2}).metadata == {"a": 1, "b": 2}
    costs = client.job_costs()
    result = client.complete_job(metadata={"c": 3})
    assert (result.job_id, result.status, result.total_calls) == (job_id, "completed", 2)
    assert result.costs.total_tokens == 2 * response.usage.total_tokens
    prompt = response.usage.prompt_tokens
    assert result.costs.total_cost_usd == costs.costs.total_cost_usd == 2 * (prompt + 14) / 1_000_000
    assert (result.costs.credit_applied, result.credits_remaining) == (True, 9)
    assert [(call.purpose, call.model_group) for call in result.calls] == [
        ("greeting", "chat-fast"), (None, "demo")
    ]  # fmt: skip
    assert client.complete_job() == result, "charged once"
    assert client.complete_job("failed") == result
    assert client.get_job().metadata == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(Conflict) as ended:
        client.chat("chat-fast", HELLO)
    assert (ended.value.status, ended.value.type) == (409, "invalid_request")
    assert books.credits(team).spent == 1
    first = books.calls(team)[0]
    assert (first.metadata, first.model_group, first.model) == ({"k": 1}, "chat-fast", "demo")
    assert [job.job_id for job in client.list_jobs(status="completed").jobs] == [job_id]
    usage = client.usage(str(result.completed_at)[:7])
    assert (usage.summary.total_calls, usage.summary.credits_spent, usage.job_types["chat"].count) == (
        2,
        1,
        1,
    )


def test_a_job_takes_so_much_metadata_and_no_more(client: Parley, books: Books, team: str) -> None:
    job_id = client.create_job("chat")
    client.update_metadata({"first": "x" * 40_000})
    attempts: list[Callable[[], object]] = [
        lambda: client.update_metadata({"second": "x" * 40_000}),
        lambda: client.complete_job(metadata={"second": "x" * 40_000}),
        lambda: client.chat("chat-fast", HELLO, call_metadata={"of the call": "x" * 70_000}),
        lambda: client.create_job("chat", metadata={"all at once": "x" * 70_000}),
        lambda: client.create_and_call("chat", "chat-fast", HELLO, metadata={"all at once": "x" * 70_000}),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidRequest, match="metadata may have 65536 bytes in all") as refused:
            attempt()
        assert refused.value.status == 400
    assert [job.job_id for job in client.list_jobs().jobs] == [job_id]
    assert (books.credits(team).held, books.calls(team)) == (0, [])
    assert client.get_job(job_id).status == "pending"


def test_all_three_steps_in_one(client: Parley, books: Books, team: str) -> None:
    done = client.create_and_call("extract", "chat-smart", HELLO, "user-2", {"a": 1}, idempotency_key="k")
    assert (done.status, done.costs.total_calls, done.credits_remaining) == ("completed", 1, 9)
    again = client.create_and_call("extract", "chat-smart", HELLO, "user-2", {"a": 1}, idempotency_key="k")
    assert again.model_dump() == done.model_dump()
    job = client.get_job(done.job_id)
    assert (job.job_type, job.user_id, job.metadata) == ("extract", "user-2", {"a": 1})
    assert books.credits(team).spent == 1


def test_a_failed_job_costs_nothing_and_what_it_generated_is_recorded(
    client: Parley, books: Books, team: str
) -> None:
    client.create_job("chat")
    with pytest.raises(UpstreamError):
        list(client.chat_stream("demo", BROKEN))
    with pytest.raises(UpstreamError):
        client.chat("demo", BROKEN)
    result = client.complete_job("failed", error_message="no use")
    assert (result.costs.failed_calls, result.costs.credit_applied, result.credits_remaining) == (
        2,
        False,
        10,
    )
    assert all(call.tokens > 0 and call.micro_usd > 0 for call in books.calls(team))
    with pytest.raises(UpstreamError):
        client.create_and_call("chat", "demo", BROKEN)
    assert books.credits(team).free == 10
    assert {job.status for job in client.list_jobs().jobs} == {"failed"}


def test_failing_a_job_stops_its_calls_and_its_bill_has_what_they_generated(
    client: Parley, shop: Server, books: Books, team: str
) -> None:
    job_id = client.create_job("chat")
    endless = [{"role": "user", "content": "[[demo tokens=3000 tps=100]] Hello"}]
    with client.chat_stream("demo", endless) as stream:
        next(chunk for chunk in stream if chunk.text)
        assert books.credits(team).held == 1
        failed = send(shop, f"POST /api/jobs/{job_id}/complete", {"status": "failed"}, KEYS[team]).json()
        assert [*stream][-1]
    assert failed["status"] == "failed"
    (line,) = failed["calls"]
    assert line["state"] == "stopped"
    assert 0 < line["tokens"] == failed["costs"]["total_tokens"] < 3000
    assert client.complete_job().costs.total_tokens == line["tokens"]
    assert (books.credits(team).held, books.credits(team).spent) == (0, 0)


def test_null_is_as_good_as_nothing_in_what_a_job_is_asked(shop: Server, team: str) -> None:
    job_id = send(shop, "POST /api/jobs", {"job_type": "chat"}, KEYS[team]).json()["job_id"]
    asked = {"model": "demo", "model_group": None, "messages": HELLO, "purpose": None}
    assert send(shop, f"POST /api/jobs/{job_id}/llm-call", asked, KEYS[team]).status == 200
    ended = send(shop, f"POST /api/jobs/{job_id}/complete", {"status": None}, KEYS[team])
    assert ended.json()["status"] == "completed"


def test_a_key_sends_a_question_again_and_is_answered_once(client: Parley, books: Books, team: str) -> None:
    first, second = client.create_job("a"), client.create_job("b")
    one = client.chat("demo", HELLO, job_id=first, idempotency_key="same")
    assert client.chat("demo", HELLO, job_id=first, idempotency_key="same") == one
    stream = client.chat_stream("demo", HELLO, job_id=first, idempotency_key="same")
    assert [*stream][-1]
    assert stream.call_id == one.call_id
    with pytest.raises(Exception, match="another body"):
        client.chat("demo", HELLO, job_id=second, idempotency_key="same")
    client.complete_job(job_id=first)
    assert client.chat("demo", HELLO, job_id=first, idempotency_key="same") == one, "after its end, too"
    assert len(books.calls(team)) == 1


def test_a_stream_goes_on_where_its_reader_left(shop: Server, team: str) -> None:
    key = KEYS[team]
    job_id = send(shop, "POST /api/jobs", {"job_type": "chat"}, key).json()["job_id"]
    route, body = f"POST /api/jobs/{job_id}/llm-call-stream", {"model": "demo", "messages": HELLO}
    whole = send(shop, route, body, key, **{"X-Stream-Resume": "1", "Idempotency-Key": "k"})
    assert whole.headers["X-Call-Id"] == whole.headers["X-Stream-Id"]
    events = whole.data.split(b"\n\n")[:-1]
    assert events[-1].endswith(b"data: [DONE]")
    for n in range(len(events)):
        headers = {"X-Stream-Resume": "1", "Idempotency-Key": "k"}
        if n:
            headers["Last-Event-ID"] = f"{whole.headers['X-Stream-Id']}:{n}"
        again = send(shop, route, body, key, **headers)
        assert again.data.split(b"\n\n")[:-1] == events[n:]
    other = send(shop, "POST /api/jobs", {"job_type": "chat"}, key).json()["job_id"]
    headers = {"Last-Event-ID": f"{whole.headers['X-Stream-Id']}:1"}
    assert send(shop, f"POST /api/jobs/{other}/llm-call-stream", body, key, **headers).status == 404
    assert send(shop, f"GET /v1/chat/completions/{whole.headers['X-Stream-Id']}", None, key).status == 200


def test_refusals_have_their_status_and_type(
    shop: Server, client: Parley, connect: Callable[..., Parley], books: Books, team: str
) -> None:
    with pytest.raises(Unauthorized):
        connect("sk-" + "x" * 43, team).create_job("chat")
    with pytest.raises(Forbidden):
        connect(KEYS[team], "another").create_job("chat")
    with pytest.raises(Forbidden):
        connect(signing.token(), None).create_job("chat")
    assert send(shop, "POST /api/jobs", {"job_type": "chat"}).status == 401
    assert send(shop, "POST /api/jobs", {"job_type": "chat"}, "anonymous").status == 401
    assert send(shop, "POST /api/jobs", {"job_type": "chat"}, KEYS[team].upper()).status == 401
    with pytest.raises(NotFound):
        client.chat("demo", HELLO, job_id="nowhere")
    with pytest.raises(NotFound):
        client.usage("2026-11", team_id="another")
    other = connect(books.team(f"{team}-other"), f"{team}-other")
    job_id = client.create_job("chat")
    for ask in (other.get_job, other.job_costs, lambda job: other.chat("demo", HELLO, job_id=job)):
        with pytest.raises(NotFound):
            ask(job_id)
    with pytest.raises(ModelNotFound):
        client.chat("nothing", HELLO)
    for wrong in ({"api_key": "k"}, {"temperature": 3}, {"stream": True}, {"purpose": 5}, {"max_tokens": -1}):
        with pytest.raises(InvalidRequest):
            client.chat("demo", HELLO, **wrong)
    for body in ({}, {"job_type": ""}, {"job_type": "a", "b": 1}, {"job_type": 1}, {"job_type": "a" * 256}):
        assert send(shop, "POST /api/jobs/create", body, KEYS[team]).status == 400
    for body in (
        {"messages": HELLO},
        {"model": "demo"},
        {"model": "demo", "model_group": "x", "messages": HELLO},
    ):
        answer = send(shop, f"POST /api/jobs/{job_id}/llm-call", body, KEYS[team])
        assert (answer.status, answer.json()["type"]) == (400, "invalid_request")
    for query in ("limit=0", "limit=x", "offset=-1", "status=odd"):
        assert send(shop, f"GET /api/teams/{team}/jobs?{query}", None, KEYS[team]).status == 400
    assert send(shop, f"GET /api/teams/{team}/usage?period=2026-13", None, KEYS[team]).status == 400
    assert client.get_job().status == "pending", "nothing of it was a call"
    assert books.credits(team).held == 0


def test_without_credit_no_upstream_is_asked(client: Parley, books: Books, team: str) -> None:
    books.accounts.grant(team, -10, "taken back")
    client.create_job("chat")
    asks: list[Callable[[], object]] = [
        lambda: client.chat("demo", HELLO),
        lambda: list(client.chat_stream("demo", HELLO)),
        lambda: client.create_and_call("chat", "demo", HELLO),
        lambda: client.completion(HELLO, "demo"),
        lambda: list(client.stream_chat("Hello")),
    ]
    for ask in asks:
        with pytest.raises(InsufficientCredits) as broke:
            ask()
        assert (broke.value.status, broke.value.type) == (402, "insufficient_credits")
    assert books.calls(team) == []


def test_a_key_on_v1_and_chat_is_a_job_of_one_call(client: Parley, books: Books, team: str) -> None:
    client.completion(HELLO, "demo")
    list(client.completion_stream(HELLO, "demo"))
    stream = client.stream_chat("[[demo tokens=7]] Hello")
    stream.read()
    jobs = client.list_jobs().jobs
    assert [(job.status, job.job_type) for job in jobs] == [
        ("completed", "chat"), ("completed", "completion"), ("completed", "completion")
    ]  # fmt: skip
    assert (books.credits(team).spent, books.credits(team).held) == (3, 0)
    assert all(call.completion_tokens == 7 for call in books.calls(team))
    assert [session.session_id for session in client.sessions.all()] == [stream.session_id]
