"""Teams: made, changed, found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from backend.chat.errors import Conflict, NotFound
from backend.ledger import checks
from backend.ledger.postings import credits_of
from backend.ledger.records import Team, Terms
from backend.ledger.tables import teams

CHANGEABLE = ("budget_mode", "credits_per_dollar", "tokens_per_credit", "rate_limit", "model_groups")


def create(
    tx: Connection,
    team_id: str,
    terms: Terms,
    at: str,
    rate_limit: str | None = None,
    model_groups: Sequence[str] | None = None,
) -> None:
    """A team without credits. Raises Conflict if there is one of this name."""
    checks.named("team_id", team_id)
    if tx.execute(select(teams.c.team_id).where(teams.c.team_id == team_id)).one_or_none():
        raise Conflict(f"There is a team {team_id} already")
    values = {
        **terms_values(checks.terms(terms)),
        "rate_limit": checks.rate_limit(rate_limit),
        "model_groups": checks.groups(model_groups),
    }
    nothing = {"granted": 0, "free": 0, "held": 0, "spent": 0}
    tx.execute(insert(teams).values(team_id=team_id, created_at=at, **values, **nothing))


def change(tx: Connection, team_id: str, changes: Mapping[str, Any]) -> Team:
    """Of CHANGEABLE those that are given. Jobs that have begun keep their terms. Raises NotFound."""
    team = find(tx, team_id, locked=True)
    values = {**terms_values(team.terms), "rate_limit": team.rate_limit, "model_groups": team.model_groups}
    values.update({name: value for name, value in changes.items() if name in CHANGEABLE})
    checks.terms(Terms(*(values[name] for name in Terms.__slots__)))
    values["rate_limit"] = checks.rate_limit(values["rate_limit"])
    values["model_groups"] = checks.groups(values["model_groups"])
    tx.execute(update(teams).where(teams.c.team_id == team_id).values(values))
    return find(tx, team_id)


def find(tx: Connection, team_id: str, *, locked: bool = False) -> Team:
    """Raises NotFound."""
    query = select(teams).where(teams.c.team_id == team_id)
    row = tx.execute(query.with_for_update(key_share=True) if locked else query).one_or_none()
    if row is None:
        raise NotFound("There is no such team")
    return team_of(row)


def page(tx: Connection, limit: int, offset: int) -> list[Team]:
    """By name."""
    rows = tx.execute(select(teams).order_by(teams.c.team_id).limit(limit).offset(offset))
    return [team_of(row) for row in rows]


def terms_values(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in Terms.__slots__}


def terms_of(row: Row[Any]) -> Terms:
    return Terms(row.budget_mode, row.credits_per_dollar, row.tokens_per_credit)


def team_of(row: Row[Any]) -> Team:
    credits = credits_of(row)
    return Team(row.team_id, terms_of(row), row.rate_limit, row.model_groups, row.created_at, credits)
