"""Teams, their keys and credits, and model groups, as who manages them writes and reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from backend.ledger.checks import MOST, NAME, RATE
from backend.ledger.records import Credits, Key, Team, Terms
from backend.wire.body import NO_NUL
from backend.wire.chat import Name, Strict, Whole

Amount = Annotated[int, Field(ge=0, le=MOST), Whole]
Rate = Annotated[int, Field(ge=1, le=MOST), Whole]


class TeamChanges(Strict):
    """What can be set of a team."""

    budget_mode: Literal["job_based", "consumption_usd", "consumption_tokens"] | None = None
    """`job_based`, `consumption_usd` or `consumption_tokens`."""
    credits_per_dollar: Rate | None = None
    """In `consumption_usd`."""
    tokens_per_credit: Rate | None = None
    """In `consumption_tokens`."""
    rate_limit: str | None = Field(default=None, pattern=f"^({RATE.pattern})$")
    """Such as `30/minute`, or `off`; null: as for everybody."""
    model_groups: Annotated[list[Name], Field(max_length=1000)] | None = None
    """Names of groups and models; null: all."""


class TeamBody(TeamChanges):
    """A team to be."""

    team_id: str = Field(pattern=f"^{NAME.pattern}$")
    """1 to 64 letters, digits, dashes, underscores or dots, no dot first."""
    credits: Amount = 0
    """Granted at once."""


class GrantBody(Strict):
    amount: Annotated[int, Field(ge=-MOST, le=MOST, json_schema_extra={"not": {"const": 0}}), Whole]
    """Credits; below 0 they are taken back, as far as they are free."""
    reason: str = Field(min_length=1, max_length=1000, pattern=NO_NUL)
    """Kept with it."""


class KeyBody(Strict):
    expires_at: str | None = None
    """A time such as `2030-01-31T12:00:00Z`; without it the key holds for good."""


class GroupBody(Strict):
    members: list[str] = Field(min_length=1, max_length=100)
    """Names of models, in the order in which they are asked."""


def terms_of(asked: TeamChanges) -> Terms:
    given = {name: getattr(asked, name) for name in Terms.__slots__}
    return Terms(**{name: value for name, value in given.items() if value is not None})


def changes_of(asked: TeamChanges) -> dict[str, Any]:
    """Those that are given; null means none where that is a choice, else nothing."""
    given = asked.model_dump(exclude_unset=True)
    return {name: value for name, value in given.items() if value is not None or name not in Terms.__slots__}


def team_fields(team: Team) -> dict[str, Any]:
    return {
        "team_id": team.team_id,
        **{name: getattr(team.terms, name) for name in Terms.__slots__},
        "rate_limit": team.rate_limit,
        "model_groups": None if team.model_groups is None else list(team.model_groups),
        "created_at": team.created_at,
        "credits": credits_fields(team.credits),
    }


def credits_fields(credits: Credits) -> dict[str, int]:
    return {name: getattr(credits, name) for name in Credits.__slots__}


def key_fields(key: Key) -> dict[str, Any]:
    """As it is listed: what it begins with is all that is kept of its text."""
    return {name: getattr(key, name) for name in Key.__slots__}
