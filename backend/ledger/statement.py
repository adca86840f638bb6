"""A team's postings, with what it had after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from backend.ledger import teams
from backend.ledger.postings import MOVES, moved
from backend.ledger.records import Credits, Entry, Line
from backend.ledger.tables import entries

COLUMNS = Credits.__slots__


def page(tx: Connection, team_id: str, limit: int, offset: int) -> tuple[Credits, list[Line]]:
    """What the team has now, and its postings, the newest first. Balances are reckoned back from now: nobody
    reads the beginning of a long ledger to see its end. Raises NotFound."""
    now = teams.find(tx, team_id).credits
    newest = select(entries).where(entries.c.team_id == team_id).order_by(entries.c.number.desc())
    skipped = newest.limit(offset).subquery()
    since = tx.execute(select(*[moved(column, skipped) for column in COLUMNS])).one()
    found = [Entry(*row) for row in tx.execute(newest.limit(limit).offset(offset))]
    return now, [*_lines(found, _less(now, [int(step) for step in since]))]


def _lines(found: Sequence[Entry], balance: Credits) -> Iterator[Line]:
    for entry in found:
        yield Line(entry, balance)
        steps = MOVES[entry.kind]
        balance = _less(balance, [steps.get(column, 0) * entry.amount for column in COLUMNS])


def _less(credits: Credits, steps: Sequence[int]) -> Credits:
    return Credits(*(getattr(credits, column) - step for column, step in zip(COLUMNS, steps, strict=True)))
