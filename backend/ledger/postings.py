"""Change a team's credits, in the one place that does: the columns and the entry together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from backend.chat.errors import InsufficientCredits, InvalidRequest, NotFound
from backend.ledger.records import Credits
from backend.ledger.tables import entries, teams

MOVES = {
    "grant": {"granted": 1, "free": 1},
    "hold": {"free": -1, "held": 1},
    "release": {"held": -1, "free": 1},
    "charge": {"held": -1, "spent": 1},
}
"""What each kind adds its amount to, and takes it from."""

_AMOUNT: BindParameter[int] = bindparam("amount")
_CHANGE = {
    kind: update(teams)
    .where(teams.c.team_id == bindparam("team"), teams.c.free + steps.get("free", 0) * _AMOUNT >= 0)
    .values({name: teams.c[name] + sign * _AMOUNT for name, sign in steps.items()})
    for kind, steps in MOVES.items()
}
_CREDITS = select(*[teams.c[name] for name in Credits.__slots__]).where(teams.c.team_id == bindparam("team"))


def credits(tx: Connection, team_id: str) -> Credits:
    """What the team has, which nobody else changes until the transaction ends. Raises NotFound.

    A job is locked before its team, never after; and rows are locked with `key_share`, as an update locks
    them, for a new row that refers to one shares it: what is stronger would be a deadlock.
    """
    row = tx.execute(_CREDITS.with_for_update(key_share=True), {"team": team_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such team")
    return credits_of(row)


def credits_of(row: Row[*tuple[Any, ...]]) -> Credits:
    return Credits(row.granted, row.free, row.held, row.spent)


def moved(column: str, rows: FromClause = entries) -> ColumnElement[int]:
    """What all entries among the rows did to a column together."""
    signs = {kind: steps[column] for kind, steps in MOVES.items() if column in steps}
    whens = [(rows.c.kind == kind, sign * rows.c.amount) for kind, sign in signs.items()]
    return func.coalesce(func.sum(case(*whens, else_=0)), 0)


def post(
    tx: Connection,
    team_id: str,
    kind: str,
    amount: int,
    once: str,
    at: str,
    *,
    job_id: str | None = None,
    reason: str = "",
    who: str = "",
) -> None:
    """Make a posting. `once` names it: who asks has seen to it that there is none of this name, and the
    database refuses a second.

    Raises NotFound, InsufficientCredits for a hold on more than is free, and InvalidRequest for taking back
    more than that.
    """
    if not tx.execute(_CHANGE[kind], {"team": team_id, "amount": amount}).rowcount:
        raise _refusal(tx, team_id, kind, amount)
    tx.execute(
        insert(entries),
        {
            "team_id": team_id,
            "kind": kind,
            "amount": amount,
            "job_id": job_id,
            "reason": reason,
            "who": who,
            "at": at,
            "once": once,
        },
    )


def _refusal(tx: Connection, team_id: str, kind: str, amount: int) -> InsufficientCredits | InvalidRequest:
    free = credits(tx, team_id).free
    if kind == "hold":
        return InsufficientCredits(f"This needs {amount} credits and the team has {free} free", free=free)
    return InvalidRequest(f"Only {free} credits are free; no more can be taken back")
