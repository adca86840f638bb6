"""Model groups: names for the models that a team may be limited to."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from backend.chat.errors import InvalidRequest
from backend.ledger import checks
from backend.ledger.tables import groups


def put(tx: Connection, name: str, members: Sequence[str], at: str) -> None:
    """Make it, or give it other members, in their order."""
    checks.named("a model group's name", name)
    models = checks.groups(members)
    if not models:
        raise InvalidRequest("A model group needs a model")
    changed = update(groups).where(groups.c.name == name).values(members=models, updated_at=at)
    if not tx.execute(changed).rowcount:
        tx.execute(insert(groups).values(name=name, members=models, updated_at=at))


def remove(tx: Connection, name: str) -> bool:
    """False if there was none. Teams may go on naming it."""
    return bool(tx.execute(delete(groups).where(groups.c.name == name)).rowcount)


def every(tx: Connection) -> dict[str, list[str]]:
    """All there are, by name."""
    return {row.name: list(row.members) for row in tx.execute(select(groups).order_by(groups.c.name))}
