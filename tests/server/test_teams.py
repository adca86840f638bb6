"""A team, what it used day by day and how its credits moved, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from parley_client import Parley
from tests.access import signing
from tests.books import Books, books_of
from tests.reference.documents import closed, served
from tests.server.test_jobs import MODELS_FILE, send
from tests.servers import Server, servers, several

pytestmark = pytest.mark.server

ADMIN = signing.token(scope="admin")
HELLO = [{"role": "user", "content": "[[demo tokens=7]] Hello"}]
BROKEN = [{"role": "user", "content": "[[demo fail=3]] Hello"}]
ROUTES = ("GET /api/teams/{}/usage/daily", "GET /api/teams/{}/credits")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "models.toml").write_text(MODELS_FILE)
    with servers(folder) as started:
        env = {"DEMO_TOKENS_PER_SECOND": "0", "JWT_SECRET": signing.SECRET, **several(runtime_name)}
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(scope="module")
def books(shop: Server) -> Iterator[Books]:
    with books_of(shop) as books:
        yield books


def get(server: Server, path: str, key: str, status: int = 200) -> Any:
    answer = send(server, f"GET {path}", None, key)
    assert answer.status == status, answer.data
    return answer.json()


def ask(server: Server, key: str, messages: list[dict[str, str]]) -> None:
    body = {"job_type": "chat", "model": "demo", "messages": messages}
    send(server, "POST /api/jobs/create-and-call", body, key)


def test_a_key_knows_its_team(shop: Server, books: Books) -> None:
    key = books.team("known", 5)
    own = get(shop, "/api/team", key)
    assert own == get(shop, "/api/admin/teams/known", ADMIN)
    assert (own["team_id"], own["credits"]["free"]) == ("known", 5)
    assert get(shop, "/api/team", ADMIN, 403)["type"] == "forbidden"
    assert get(shop, "/api/team", "sk-" + "x" * 43, 401)["type"] == "unauthorized"
    assert shop.pool.request("GET", f"{shop.url}/api/team").status == 401


def test_usage_by_day_and_model_adds_up_to_the_month(shop: Server, books: Books) -> None:
    key = books.team("busy", 5)
    for messages in (HELLO, HELLO, BROKEN):
        ask(shop, key, messages)
    month = get(shop, "/api/teams/busy/usage", key)
    told = get(shop, f"/api/teams/busy/usage/daily?period={month['period']}", key)
    assert told == get(shop, "/api/teams/busy/usage/daily", ADMIN)
    (row,) = told["usage"]
    assert (row["model"], row["calls"], row["failed_calls"]) == ("demo", 3, 1)
    assert row["completion_tokens"] > 7 + 7
    assert row["prompt_tokens"] + row["completion_tokens"] == month["summary"]["total_tokens"]
    assert row["cost_usd"] == month["summary"]["total_cost_usd"]
    assert row["avg_ttft_ms"] == month["models"]["demo"]["avg_ttft_ms"]
    assert get(shop, "/api/teams/busy/usage/daily?period=2020-01", key)["usage"] == []


def test_the_ledger_ends_with_what_there_is(shop: Server, books: Books) -> None:
    key = books.team("saver", 5)
    ask(shop, key, HELLO)
    ask(shop, key, BROKEN)
    told = get(shop, "/api/teams/saver/credits", key)
    assert (
        told["credits"] == told["entries"][0]["balance"] == {"granted": 5, "free": 4, "held": 0, "spent": 1}
    )
    kinds = [entry["kind"] for entry in told["entries"]]
    assert kinds == ["release", "hold", "charge", "hold", "grant"]
    assert [entry["balance"]["free"] for entry in told["entries"]] == [4, 3, 4, 4, 5]
    assert "who" not in told["entries"][-1]
    for n in range(6):
        page = get(shop, f"/api/teams/saver/credits?limit=2&offset={n}", key)
        assert page["entries"] == told["entries"][n : n + 2]
        assert (page["limit"], page["offset"]) == (2, n)


@pytest.mark.parametrize("route", ROUTES)
def test_a_team_sees_itself_and_who_manages_teams_sees_all(shop: Server, books: Books, route: str) -> None:
    own, other = (f"{route.split('/')[-1]}-{name}" for name in ("own", "other"))
    key = books.team(own)
    books.team(other)

    def status(team_id: str, token: str | None) -> int:
        return send(shop, route.format(team_id), None, token).status

    assert status(own, key) == status(own, ADMIN) == 200
    assert status(other, key) == status("nobody", key) == status("nobody", ADMIN) == 404
    assert status(own, signing.token()) == 403
    assert status(own, None) == status(own, "sk-" + "x" * 43) == 401


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "limit=a"])
def test_a_page_that_cannot_be_is_refused(shop: Server, books: Books, route: str, query: str) -> None:
    team_id = f"paged-{abs(hash((route, query)))}"
    key = books.team(team_id)
    answer = send(shop, f"{route.format(team_id)}?{query}", None, key)
    assert (answer.status, answer.json()["type"]) == (400, "invalid_request")


def test_a_period_that_cannot_be_is_refused(shop: Server, books: Books) -> None:
    key = books.team("timeless")
    for period in ("2026", "2026-13", "2026-02-30", "x"):
        get(shop, f"/api/teams/timeless/usage/daily?period={period}", key, 400)


def test_answers_are_as_the_reference_says(shop: Server, books: Books) -> None:
    key = books.team("told", 5)
    ask(shop, key, HELLO)
    document = served("openapi")
    shapes = {
        "/api/team": "Team",
        "/api/teams/told/usage/daily": "DailyUsage",
        "/api/teams/told/credits": "CreditLedger",
    }
    for path, name in shapes.items():
        jsonschema_rs.Draft202012Validator(closed(document, name)).validate(get(shop, path, key))


def test_the_typed_client_reads_all_of_it(shop: Server, books: Books) -> None:
    key = books.team("typed", 5)
    ask(shop, key, HELLO)
    with Parley(shop.url, key, "typed") as client:
        period = get(shop, "/api/teams/typed/usage", key)["period"]
        (row,) = client.daily_usage(period).usage
        assert (row.model, row.calls, row.completion_tokens) == ("demo", 1, 7)
        assert client.usage(period).summary.avg_ttft_ms == row.avg_ttft_ms
        assert client.daily_usage(period, offset=1).usage == []
        ledger = client.credits(limit=2)
        assert [entry.kind for entry in ledger.entries] == ["charge", "hold"]
        assert ledger.entries[0].balance == ledger.credits == client.own_team().credits
        assert client.own_team().team_id == "typed"
