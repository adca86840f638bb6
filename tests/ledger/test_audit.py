"""An audit finds whatever somebody changes behind the ledger's back, and nothing else."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from backend.chat.errors import ParleyError
from backend.ledger.records import Most
from tests.ledger.world import TOKENS, World


@pytest.fixture
def lived_in(world: World) -> World:
    world.team(100, TOKENS)
    done = world.job(job_id="done")
    world.settle(world.call(done, Most(3000, 0)), tokens=1500)
    world.end(done)
    world.call(world.job(job_id="going"), Most(2000, 0))
    world.end(world.job(job_id="lost"), "failed")
    world.team(50, team_id="rival")
    assert world.accounts.audit() == []
    return world


@pytest.mark.parametrize(
    ("change", "back", "found"),
    [
        (
            "UPDATE teams SET free = free + 1, granted = granted + 1 WHERE team_id = 'acme'",
            "UPDATE teams SET free = free - 1, granted = granted - 1 WHERE team_id = 'acme'",
            "free is 97, by the entries 96",
        ),
        (
            "UPDATE teams SET free = free + 1, spent = spent - 1 WHERE team_id = 'acme'",
            "UPDATE teams SET free = free - 1, spent = spent + 1 WHERE team_id = 'acme'",
            "spent is 1, by the entries 2",
        ),
        (
            "UPDATE jobs SET held = 0 WHERE job_id = 'going'",
            "UPDATE jobs SET held = 2 WHERE job_id = 'going'",
            "job going (in_progress) holds 0, by the entries 2",
        ),
        (
            "UPDATE jobs SET charged = 1 WHERE job_id = 'done'",
            "UPDATE jobs SET charged = 2 WHERE job_id = 'done'",
            "was charged 1 of 2 due, by the entries 2 in 1",
        ),
        (
            "UPDATE entries SET kind = 'grant' WHERE kind = 'charge'",
            "UPDATE entries SET kind = 'charge' WHERE kind = 'grant' AND job_id = 'done'",
            "granted is 100, by the entries 102",
        ),
        (
            "UPDATE entries SET job_id = NULL WHERE kind = 'charge'",
            "UPDATE entries SET job_id = 'done' WHERE kind = 'charge'",
            "a charge, is of no job of the team",
        ),
        (
            "UPDATE entries SET team_id = 'rival' WHERE kind = 'charge'",
            "UPDATE entries SET team_id = 'acme' WHERE kind = 'charge'",
            "a charge, is of no job of the team",
        ),
        (
            "UPDATE calls SET job_id = 'done' WHERE job_id = 'going'",
            "UPDATE calls SET job_id = 'going' WHERE settled_at IS NULL",
            "is not on the bill of job done",
        ),
        (
            "INSERT INTO entries (team_id, kind, amount, job_id, reason, who, at, once)"
            " SELECT team_id, kind, amount, job_id, reason, who, at, 'again' FROM entries"
            " WHERE kind = 'charge'",
            "DELETE FROM entries WHERE once = 'again'",
            "by the entries 4 in 2",
        ),
    ],
)
def test_a_change_behind_its_back_is_found(lived_in: World, change: str, back: str, found: str) -> None:
    lived_in.run(change)
    told = [f"{row.team_id}: {row.what}" for row in lived_in.accounts.audit()]
    assert any(found in line for line in told), told
    lived_in.run(back)
    assert lived_in.accounts.audit() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE teams SET free = free - 1 WHERE team_id = 'acme'",
        "UPDATE teams SET free = -1, spent = spent + free + 1 WHERE team_id = 'acme'",
        "UPDATE teams SET held = -1, free = free + held + 1 WHERE team_id = 'acme'",
        "UPDATE jobs SET charged = due + 1 WHERE job_id = 'done'",
        "UPDATE jobs SET held = -1 WHERE job_id = 'going'",
        "UPDATE calls SET settled_at = 'now' WHERE job_id = 'going'",
        "INSERT INTO entries (team_id, kind, amount, reason, who, at, once)"
        " SELECT team_id, kind, amount, reason, who, at, once FROM entries",
        "UPDATE entries SET amount = 0 WHERE kind = 'charge'",
        "DELETE FROM teams",
    ],
)
def test_the_database_itself_refuses_what_can_never_be(lived_in: World, change: str) -> None:
    with pytest.raises(ParleyError) as refused:
        lived_in.run(change)
    assert isinstance(refused.value.__cause__, IntegrityError)
