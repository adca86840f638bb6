"""Calls that break off, wherever they do: what was generated is recorded and paid for, no more, and once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from backend.ledger.records import Call
from tests.books import Books, books_of
from tests.fakes.questions import Questions, said
from tests.fakes.upstream import Script, answer, chunk, head, rate_limited, rst, stall, status, usage
from tests.programs import until
from tests.server import paying
from tests.server.paying import OF_A_JOB, PLENTY, STREAMED, TOKENS, WHOLE, asked, check, count_tokens, words
from tests.server.test_jobs import send
from tests.servers import Server, servers

pytestmark = pytest.mark.server

SIZE = 12
MODELS = """
[[upstream]]
name = "first"
base_url = "{0}"
models = ["weak"]

[[upstream]]
name = "hurried"
base_url = "{0}"
models = ["hasty"]
first_byte_s = 0.3
between_s = 0.3

[[upstream]]
name = "second"
base_url = "{0}"
models = ["strong"]

[group.either]
members = [{{ model = "weak" }}, {{ model = "strong" }}]
cooldown_s = 0
"""


@pytest.fixture(scope="module")
def till(
    tmp_path_factory: pytest.TempPathFactory, runtime_name: str, questions: Questions
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("till")
    (folder / "models.toml").write_text(MODELS.format(questions.upstream.base_url) + paying.PRICES)
    with servers(folder) as started:
        env = {"MAX_STREAMS_PER_CALLER": "100", "DETACH_GRACE": "0.1", "RUNTIME": runtime_name}
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(scope="module")
def books(till: Server) -> Iterator[Books]:
    with books_of(till) as books:
        yield books


@dataclass
class Team:
    """One that asks once."""

    team_id: str
    key: str
    door: str
    till: Server
    job_id: str = ""

    def __post_init__(self) -> None:
        if self.door in OF_A_JOB:
            self.job_id = send(self.till, "POST /api/jobs", {"job_type": "a"}, self.key).json()["job_id"]

    def bill(self) -> dict[str, Any]:
        route = f"POST /api/jobs/{self.job_id}/complete"
        fields: dict[str, Any] = send(self.till, route, {}, self.key).json()
        return fields


def team_of(till: Server, books: Books, door: str, name: object) -> Team:
    team_id = f"{door}-{name}".replace(" ", "-")
    return Team(team_id, books.team(team_id, PLENTY, TOKENS), door, till)


def only_call(books: Books, team: Team) -> Call:
    until(lambda: [call for call in books.calls(team.team_id) if call.settled_at], "the call is settled")
    (call,) = books.calls(team.team_id)
    return call


def paid(books: Books, team: Team, call: Call) -> None:
    """Once, for all its tokens; a job of several calls when it is completed."""
    if team.job_id:
        bill = team.bill()
        assert (bill["total_calls"], bill["credits_charged"]) == (1, call.tokens)
    assert books.charges(team.team_id) == [max(1, call.tokens)]
    assert books.credits(team.team_id).held == 0


@pytest.mark.parametrize("door", STREAMED)
def test_a_stream_cut_at_any_token_is_recorded_and_paid_for_as_far_as_it_came(
    till: Server, books: Books, questions: Questions, door: str
) -> None:
    def cut(index: int) -> Team:
        team = team_of(till, books, door, index)
        question = questions.new([head(), *map(chunk, words(index)), stall()])
        with asked(till, team.key, STREAMED[door](question.text, team.job_id)) as raw:
            raw.take(index)
            until(lambda: question.calls == 1, "the upstream is asked")
        question.closed_s()
        return team

    with ThreadPoolExecutor(SIZE + 1) as pool:
        teams = list(pool.map(cut, range(SIZE + 1)))
    for index, team in enumerate(teams):
        call = only_call(books, team)
        assert (call.state, call.basis) == ("cut", "estimate")
        check(call, "".join(words(index)))
        paid(books, team, call)


@pytest.mark.parametrize("door", WHOLE)
def test_who_leaves_before_the_whole_answer_is_there_pays_for_what_there_was(
    till: Server, books: Books, questions: Questions, door: str
) -> None:
    team = team_of(till, books, door, "left")
    question = questions.new([head(), *map(chunk, words(5)), stall()])
    with asked(till, team.key, WHOLE[door](question.text, team.job_id)):
        until(lambda: books.calls(team.team_id), "the call has begun")
        (call,) = books.calls(team.team_id)
        until(lambda: state_of(till, team, call)["count"] == 5, "all words are there")
    question.closed_s()
    call = books.settled(call.stream_id)
    assert call.state == "cut"
    check(call, "".join(words(5)))
    paid(books, team, call)


def state_of(till: Server, team: Team, call: Call) -> dict[str, Any]:
    route = f"GET /api/chat/streams/{call.stream_id}"
    fields: dict[str, Any] = send(till, route, None, team.key, Accept="application/json").json()
    return fields


def test_a_stop_at_any_token_closes_the_upstream_and_bills_what_it_gave(
    till: Server, books: Books, questions: Questions
) -> None:
    def stopped(index: int) -> tuple[Team, dict[str, Any]]:
        # The others have no headers before the first token, and so no id to stop.
        door = [*STREAMED][index % 3] if index else "chat"
        team = team_of(till, books, door, f"stop-{index}")
        question = questions.new([head(), *map(chunk, words(index)), stall()])
        with asked(till, team.key, STREAMED[door](question.text, team.job_id)) as raw:
            raw.take(index)
            until(lambda: question.calls == 1, "the upstream is asked")
            stop = f"POST /api/chat/streams/{raw.stream_id}/stop"
            ends = [send(till, stop, None, team.key).json() for _ in range(2)]
            raw.rest()
        question.closed_s()
        assert ends[0] == ends[1]
        return team, ends[0]

    with ThreadPoolExecutor(SIZE + 1) as pool:
        ends = list(pool.map(stopped, range(SIZE + 1)))
    for index, (team, end) in enumerate(ends):
        assert (end["state"], end["tokens"]) == ("stopped", index)
        assert end["upstream_closed_ms"] < 1000  # 250 on a machine with nothing else to do
        call = only_call(books, team)
        assert call.state == "stopped"
        check(call, "".join(words(index)))
        paid(books, team, call)


@dataclass(frozen=True)
class Ending:
    """What an upstream does, and what the call is then: `completion_tokens` None is what we count of two
    words, `micro_usd` None what the price makes of it."""

    script: Script
    state: str = "done"
    status: int = 200
    tokens: tuple[int, int] | None = None
    micro_usd: int | None = None
    model: str = "weak"


TWO = words(2)
HALF: Script = [head(framing="close"), *map(chunk, TWO)]
ENDINGS: dict[str, Ending] = {
    "usage": Ending(answer(TWO, used=usage(30, 7)), tokens=(30, 7), micro_usd=44),
    "no usage": Ending(answer(TWO, used=None)),
    "negative usage": Ending(answer(TWO, used=usage(-30, -7))),
    "half negative usage": Ending(answer(TWO, used=usage(30, -7))),
    "more than can be": Ending(answer(TWO, used=usage(10**30, 1))),
    "as much as can be": Ending(answer(TWO, used=usage(10**9, 10**9)), tokens=(10**9, 10**9)),
    "a cost of its own": Ending(answer(TWO, used=usage(30, 7, cost=0.0123)), tokens=(30, 7), micro_usd=12300),
    "a negative cost": Ending(answer(TWO, used=usage(30, 7, cost=-5)), tokens=(30, 7), micro_usd=44),
    "no cost": Ending(answer(TWO, used=usage(30, 7, cost=0)), tokens=(30, 7), micro_usd=0),
    "a cost that is none": Ending(answer(TWO, used=usage(30, 7, cost=1e300)), tokens=(30, 7), micro_usd=44),
    "500": Ending(status(500, {"error": {"message": "down"}}), "failed", 502, (0, 0), 0),
    "429": Ending(rate_limited("1"), "failed", 429, (0, 0), 0),
    "html": Ending(status(200, b"<html>", content_type="text/html"), "failed", 502, (0, 0), 0),
    "reset": Ending([head(), rst()], "failed", 502, (0, 0), 0),
    "reset after two": Ending([*HALF, rst()], "failed", 502),
    "silence at first": Ending([head(), stall()], "failed", 504, (0, 0), 0, "hasty"),
    "silence after two": Ending([head(), *map(chunk, TWO), stall()], "failed", 504, None, 0, "hasty"),
    "the other one": Ending(said(*map(chunk, TWO), used=usage(30, 7)), tokens=(30, 7), micro_usd=440,
                            model="either"),
}  # fmt: skip
"""Where `either` answers, its first has failed: it is the second's price."""


def test_however_a_call_ends_its_bill_is_right_and_its_job_goes_on(
    till: Server, books: Books, questions: Questions
) -> None:
    key = books.team("endings", 3 * 10**9)
    job_id = send(till, "POST /api/jobs", {"job_type": "endings"}, key).json()["job_id"]

    def called(ending: Ending) -> tuple[int, Call]:
        scripts = [status(500), ending.script] if ending.model == "either" else [ending.script]
        body = {"messages": questions.new(*scripts).messages, "model": ending.model}
        answered = send(till, f"POST /api/jobs/{job_id}/llm-call", body, key)
        return answered.status, books.settled(answered.headers["X-Call-Id"])

    with ThreadPoolExecutor(len(ENDINGS)) as pool:
        ended = dict(zip(ENDINGS, pool.map(called, ENDINGS.values()), strict=True))
    for name, (status_, call) in ended.items():
        wanted = ENDINGS[name]
        assert (status_, call.state) == (wanted.status, wanted.state), name
        if wanted.tokens is not None:
            assert (call.prompt_tokens, call.completion_tokens) == wanted.tokens, name
        else:
            assert (call.completion_tokens, call.basis) == (count_tokens("".join(TWO)), "estimate"), name
        by_price = call.prompt_tokens + 2 * call.completion_tokens
        assert call.micro_usd == (by_price if wanted.micro_usd is None else wanted.micro_usd), name
    calls = [call for _, call in ended.values()]
    bill = send(till, f"POST /api/jobs/{job_id}/complete", {}, key).json()
    failed = sum(call.state == "failed" for call in calls)
    assert (bill["costs"]["failed_calls"], bill["costs"]["successful_calls"]) == (failed, len(calls) - failed)
    assert bill["costs"]["total_tokens"] == sum(call.tokens for call in calls)
    assert round(bill["costs"]["total_cost_usd"] * 10**6) == sum(call.micro_usd for call in calls)
    assert bill["credits_charged"] == 1


@pytest.mark.parametrize("door", ["whole job", "whole v1", "chat"])
def test_who_got_nothing_pays_nothing(till: Server, books: Books, questions: Questions, door: str) -> None:
    team = team_of(till, books, door, "nothing")
    path, body = {**paying.STREAMED, **paying.WHOLE}[door](questions.new(status(500)).text)
    assert send(till, f"POST {path}", body, team.key).status in (502, 200)
    call = only_call(books, team)
    assert (call.state, call.tokens, call.micro_usd) == ("failed", 0, 0)
    assert books.charges(team.team_id) == []
    assert (books.credits(team.team_id).free, books.credits(team.team_id).held) == (PLENTY, 0)
