"""Teams, keys, groups, credits and what was used, on every kind of database."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from backend.chat.errors import Conflict, InvalidRequest, NotFound, Unauthorized
from backend.ledger.postings import MOVES
from backend.ledger.records import Cell, Credits, Most, Outcome, Terms, Used
from tests.ledger.world import BY_THE_JOB, TOKENS, World


def test_a_team_comes_with_credits_and_a_key(world: World) -> None:
    team, key = world.accounts.create_team("acme", TOKENS, 5, "30/minute", ["chat-fast"], who="ann")
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", key)
    assert team == world.accounts.team("acme")
    assert (team.terms, team.rate_limit, team.credits) == (TOKENS, "30/minute", Credits(5, 5, 0, 0))
    assert (team.may_use("chat-fast"), team.may_use("chat-smart")) == (True, False)
    entry = world.accounts.entries("acme", 9)[0]
    assert (entry.kind, entry.amount, entry.who) == ("grant", 5, "ann")


def test_a_team_without_a_list_of_groups_may_use_all(world: World) -> None:
    world.team()
    assert world.accounts.team("acme").may_use("anything")
    assert not world.accounts.change_team("acme", {"model_groups": []}).may_use("anything")
    assert world.accounts.change_team("acme", {"model_groups": None}).may_use("anything")


def test_a_name_that_is_taken_is_a_conflict_and_changes_nothing(world: World) -> None:
    world.team(5)
    with pytest.raises(Conflict) as refused:
        world.team(7)
    assert refused.value.status == 409
    assert world.credits().granted == 5
    assert len(world.accounts.keys("acme", 9)) == 1


@pytest.mark.parametrize("team_id", ["", "a b", "../x", "x" * 65, "ä", "a\0", "a\n", None, 5])
def test_a_team_has_a_plain_name(world: World, team_id: str) -> None:
    with pytest.raises(InvalidRequest):
        world.accounts.create_team(team_id, BY_THE_JOB)


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_mode": "free"},
        {"credits_per_dollar": 0},
        {"credits_per_dollar": 1.5},
        {"tokens_per_credit": -1},
        {"tokens_per_credit": True},
        {"rate_limit": "often"},
        {"model_groups": "all"},
        {"model_groups": [""]},
        {"model_groups": ["\0"]},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(world: World, changes: dict[str, object]) -> None:
    world.team()
    before = world.accounts.team("acme")
    with pytest.raises(InvalidRequest):
        world.accounts.change_team("acme", changes)
    assert world.accounts.team("acme") == before


def test_a_change_changes_what_it_names_and_never_the_credits(world: World) -> None:
    world.team(5)
    changed = world.accounts.change_team("acme", {"budget_mode": "consumption_usd", "free": 900})
    assert changed.terms == Terms("consumption_usd")
    assert changed.credits == Credits(5, 5, 0, 0)


def test_the_name_of_a_grant_is_no_name_of_ours(world: World) -> None:
    world.team(10)
    assert world.accounts.grant("acme", 5, "first credits", once="first").free == 15


def test_credits_are_given_and_taken_back_down_to_what_is_free(world: World) -> None:
    world.team(5)
    world.call(world.job())
    assert world.accounts.grant("acme", 10, "paid") == Credits(15, 14, 1, 0)
    assert world.accounts.grant("acme", -14, "refunded") == Credits(1, 0, 1, 0)
    with pytest.raises(InvalidRequest):
        world.accounts.grant("acme", -1, "too much")
    assert world.kinds() == [("grant", 5), ("hold", 1), ("grant", 10), ("grant", -14)]


@pytest.mark.parametrize("amount", [0, 1.0, 0.5, True, "5", None, float("nan"), 10**16, -(10**16), 10**30])
def test_an_amount_that_is_no_sensible_whole_number_is_refused(world: World, amount: int) -> None:
    world.team(5)
    with pytest.raises(InvalidRequest):
        world.accounts.grant("acme", amount, "why")
    assert world.credits() == Credits(5, 5, 0, 0)


def test_no_team_is_granted_more_than_can_be_counted(world: World) -> None:
    world.team(10**15)
    with pytest.raises(InvalidRequest):
        world.accounts.grant("acme", 1, "more")


def test_a_grant_that_is_repeated_is_one(world: World) -> None:
    world.team()
    world.team(team_id="rival")
    for _ in range(3):
        assert world.accounts.grant("acme", 7, "paid", once="invoice-1").free == 7
    with pytest.raises(Conflict):
        world.accounts.grant("acme", 8, "paid", once="invoice-1")
    world.accounts.grant("rival", 8, "paid", once="invoice-1")
    assert world.credits().granted == 7


def test_a_key_names_its_team_until_it_is_revoked(world: World) -> None:
    text = world.team(5)
    team, key = world.accounts.holder(text)
    assert (team.team_id, key.prefix) == ("acme", text[:10])
    revoked = world.accounts.revoke_key(key.key_id)
    assert world.accounts.revoke_key(key.key_id) == revoked
    with pytest.raises(Unauthorized):
        world.accounts.holder(text)


def test_a_key_expires_at_its_time(world: World) -> None:
    world.team()
    key, text = world.accounts.make_key("acme", "2026-11-20T14:00:00+01:00")
    assert key.expires_at == "2026-11-20T13:00:00.000000+00:00"
    world.clock.forward(3500)
    assert world.accounts.holder(text)[1] == key
    world.clock.forward(200)
    with pytest.raises(Unauthorized):
        world.accounts.holder(text)


@pytest.mark.parametrize("expires_at", ["tomorrow", "2026-11-20", "2026-11-20T12:00:00", "", "9" * 50])
def test_what_is_no_moment_is_no_expiry(world: World, expires_at: str) -> None:
    world.team()
    with pytest.raises(InvalidRequest):
        world.accounts.make_key("acme", expires_at)


def test_a_rotated_key_is_replaced_by_one_that_expires_with_it(world: World) -> None:
    world.team()
    old, old_text = world.accounts.make_key("acme", "2027-01-01T00:00:00Z")
    new, text = world.accounts.rotate_key(old.key_id)
    assert world.accounts.holder(text)[1] == new
    assert new.expires_at == old.expires_at
    with pytest.raises(Unauthorized):
        world.accounts.holder(old_text)
    with pytest.raises(Conflict):
        world.accounts.rotate_key(old.key_id)
    assert [key.key_id for key in world.accounts.keys("acme", 2)] == [new.key_id, old.key_id]


def test_a_key_in_another_case_or_with_anything_about_it_is_refused(world: World) -> None:
    text = world.team()
    for other in (text.upper(), text.swapcase(), f" {text}", f"{text}\n", f"{text}=", text[:-1], "", "sk-",
                  f"{text}'--", "sk-" + "\u212a" * 43):  # fmt: skip
        with pytest.raises(Unauthorized):
            world.accounts.holder(other)


def test_no_key_is_kept_as_it_is(world: World) -> None:
    texts = [world.team(), world.accounts.make_key("acme")[1]]
    kept = world.database.read(lambda tx: str(tx.exec_driver_sql("SELECT * FROM keys").all()))
    assert all(text not in kept and text[11:] not in kept for text in texts)
    assert all(text not in repr(key) for text in texts for key in world.accounts.keys("acme", 9))


def test_model_groups_are_put_listed_and_deleted(world: World) -> None:
    world.accounts.put_group("smart", ["big", "demo"])
    world.accounts.put_group("fast", ["demo"])
    world.accounts.put_group("smart", ["bigger", "demo"])
    assert world.accounts.groups() == {"fast": ["demo"], "smart": ["bigger", "demo"]}
    assert [world.accounts.delete_group("fast") for _ in range(2)] == [True, False]
    for name, members in (("", ["demo"]), ("a b", ["demo"]), ("empty", []), ("nul", ["\0"])):
        with pytest.raises(InvalidRequest):
            world.accounts.put_group(name, members)


def test_what_there_is_not_is_not_found(world: World) -> None:
    accounts = world.accounts
    for attempt in (
        lambda: accounts.team("none"),
        lambda: accounts.change_team("none", {}),
        lambda: accounts.grant("none", 1, "why"),
        lambda: accounts.entries("none", 1),
        lambda: accounts.make_key("none"),
        lambda: accounts.keys("none", 1),
        lambda: accounts.revoke_key("none"),
        lambda: accounts.rotate_key("none"),
        lambda: accounts.usage("none", "2026-11"),
        lambda: accounts.daily_usage("none", "2026-11", 1),
        lambda: accounts.statement("none", 1),
        lambda: world.job("none"),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_lists_come_in_pages(world: World) -> None:
    for name in ("c", "a", "b"):
        world.team(1, team_id=name)
    assert [team.team_id for team in world.accounts.teams(2)] == ["a", "b"]
    assert [team.team_id for team in world.accounts.teams(2, 2)] == ["c"]
    for amount in (2, 3):
        world.accounts.grant("a", amount, "more")
    assert [entry.amount for entry in world.accounts.entries("a", 2)] == [3, 2]
    assert [entry.amount for entry in world.accounts.entries("a", 2, 2)] == [1]


def used(world: World, status: str, *calls: tuple[str, int, int], job_type: str = "chat") -> None:
    job = world.job(job_type=job_type)
    for model, tokens, micro_usd in calls:
        call = world.call(job, Most(tokens, 0))
        world.ledger.settle(
            Outcome(call.stream_id, "done", tokens - 1, 1, micro_usd, "usage", ttft_ms=tokens, model=model)
        )
    if status:
        world.end(job, status)


def test_usage_is_told_by_month_and_day_job_type_and_model(world: World) -> None:
    world.team(100, TOKENS)
    used(world, "completed", ("big", 1500, 30), ("demo", 500, 0))
    used(world, "failed", ("demo", 100, 1), job_type="mail")
    world.settle(world.call(world.job(job_type="mail")), state="withdrawn")
    world.clock.forward(86_400)
    used(world, "completed", ("demo", 3001, 5))
    world.clock.forward(86_400 * 10)
    used(world, "completed", ("demo", 50, 50))  # in December
    month = world.accounts.usage("acme", "2026-11")
    assert month["summary"] == {
        "total_jobs": 4, "successful_jobs": 2, "failed_jobs": 1, "total_calls": 4, "total_tokens": 5101,
        "total_micro_usd": 36, "avg_ttft_ms": 1275, "credits_spent": 6,
    }  # fmt: skip
    assert month["job_types"] == {"chat": {"count": 2, "micro_usd": 35}, "mail": {"count": 2, "micro_usd": 1}}
    assert month["models"] == {
        "big": {"calls": 1, "tokens": 1500, "micro_usd": 30, "avg_ttft_ms": 1500},
        "demo": {"calls": 3, "tokens": 3601, "micro_usd": 6, "avg_ttft_ms": 1200},
    }
    assert {day: (row["calls"], row["credits"]) for day, row in month["days"].items()} == {
        "2026-11-20": (3, 2),
        "2026-11-21": (1, 4),
    }
    assert world.accounts.usage("acme", "2026-11-21")["summary"]["total_tokens"] == 3001
    assert world.accounts.usage("acme", "2026-12")["summary"]["credits_spent"] == 1
    assert world.accounts.usage("acme", "2025-01")["days"] == {}


@pytest.mark.parametrize(
    "period", ["", "2026", "2026-13", "2026-11-31", "2026-1", "all", "٢٠٢٦-11", "9999-12"]
)
def test_a_period_is_a_month_or_a_day(world: World, period: str) -> None:
    world.team()
    with pytest.raises(InvalidRequest):
        world.accounts.usage("acme", period)
    with pytest.raises(InvalidRequest):
        world.accounts.daily_usage("acme", period, 1)


def test_usage_is_told_by_day_and_model_in_pages(world: World) -> None:
    world.team(100)
    used(world, "completed", ("big", 1500, 30), ("demo", 500, 0))
    broken = world.call(world.job())
    world.ledger.settle(Outcome(broken.stream_id, "failed", 3, 0, 2, error="no use"))
    world.settle(world.call(world.job()), state="withdrawn")
    world.clock.forward(86_400)
    used(world, "completed", ("demo", 3001, 5), ("demo", 2001, 6))
    world.clock.forward(86_400 * 10)
    used(world, "completed", ("demo", 50, 50))  # in December
    cells = [
        Cell("2026-11-20", "big", Used(1, 0, 1499, 1, 30, 1, 1500)),
        Cell("2026-11-20", "demo", Used(2, 1, 502, 1, 2, 1, 500)),
        Cell("2026-11-21", "demo", Used(2, 0, 5000, 2, 11, 2, 5002)),
    ]
    assert world.accounts.daily_usage("acme", "2026-11", 10) == cells
    for n in range(4):
        assert world.accounts.daily_usage("acme", "2026-11", 2, n) == cells[n : n + 2]
    assert world.accounts.daily_usage("acme", "2026-11-21", 10) == cells[2:]
    assert [cell.used.avg_ttft_ms for cell in cells] == [1500, 500, 2501]
    assert Used().avg_ttft_ms is None


def test_a_statement_says_what_there_was_after_each_posting(world: World) -> None:
    world.team(100, TOKENS)
    used(world, "completed", ("demo", 1500, 30))
    used(world, "failed", ("demo", 1500, 30))
    world.accounts.grant("acme", -20, "taken back")
    world.call(world.job(), Most(5000, 0))
    now, lines = world.accounts.statement("acme", 100)
    assert now == world.credits() == lines[0].balance
    assert [line.entry for line in lines] == world.accounts.entries("acme", 100)
    column = [0, 0, 0, 0]
    for line in reversed(lines):
        for at, name in enumerate(Credits.__slots__):
            column[at] += MOVES[line.entry.kind].get(name, 0) * line.entry.amount
        assert line.balance == Credits(*column)
    for n in range(len(lines) + 2):
        assert world.accounts.statement("acme", 2, n) == (now, lines[n : n + 2])


def test_what_usage_sums_up_stands_in_an_index(tmp_path: Path, made: Path) -> None:
    """So that a team may have made a million calls."""
    shutil.copy(made, tmp_path / "ledger.db")
    world, asked = World(f"sqlite:///{tmp_path}/ledger.db"), []
    world.team()

    @event.listens_for(world.database.engine, "before_cursor_execute")
    def listen(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    world.accounts.usage("acme", "2026-11")
    world.accounts.daily_usage("acme", "2026-11", 10)
    event.remove(world.database.engine, "before_cursor_execute", listen)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        for statement, parameters in asked:
            if "teams." not in statement and statement.startswith("SELECT"):
                plan = database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
                steps = [row[3] for row in plan if row[3].startswith(("SCAN", "SEARCH"))]
                assert steps
                assert [step for step in steps if "USING COVERING INDEX" not in step] == []
    world.close()
