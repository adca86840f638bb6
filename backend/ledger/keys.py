"""Virtual keys: made, shown once, looked up by their digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from backend.chat.errors import Conflict, NotFound, Unauthorized
from backend.chat.ids import new_id
from backend.ledger import checks
from backend.ledger import teams as team_rows
from backend.ledger.records import Key, Team
from backend.ledger.tables import keys, teams

SECRET_BYTES = 32
PREFIX_CHARS = 10


@dataclass(frozen=True, slots=True)
class Secret:
    """A new key, and the one time its text is there."""

    key_id: str = field(default_factory=new_id)
    text: str = field(default_factory=lambda: f"sk-{token_urlsafe(SECRET_BYTES)}", repr=False)


def digest(text: str) -> str:
    """What is kept of a key. Its secret has 256 random bits: guessing is hopeless, so nothing slow is needed,
    and how long a look-up by digest takes says nothing of any key."""
    return sha256(text.encode()).hexdigest()


def make(tx: Connection, team_id: str, secret: Secret, at: str, expires_at: str | None) -> Key:
    """Raises NotFound for an unknown team."""
    team_rows.find(tx, team_id)
    if not there_is(tx, secret.key_id):
        tx.execute(
            insert(keys).values(
                key_id=secret.key_id,
                team_id=team_id,
                digest=digest(secret.text),
                prefix=secret.text[:PREFIX_CHARS],
                created_at=at,
                expires_at=expires_at,
            )
        )
    return find(tx, secret.key_id)


def there_is(tx: Connection, key_id: str) -> bool:
    return tx.execute(select(keys.c.key_id).where(keys.c.key_id == key_id)).one_or_none() is not None


def find(tx: Connection, key_id: str, *, locked: bool = False) -> Key:
    """Raises NotFound."""
    query = select(keys).where(keys.c.key_id == key_id)
    row = tx.execute(query.with_for_update(key_share=True) if locked else query).one_or_none()
    if row is None:
        raise NotFound("There is no such key")
    return key_of(row)


def page(tx: Connection, team_id: str, limit: int, offset: int) -> list[Key]:
    """The newest first. Raises NotFound for an unknown team."""
    team_rows.find(tx, team_id)
    query = select(keys).where(keys.c.team_id == team_id)
    newest = query.order_by(keys.c.created_at.desc(), keys.c.key_id.desc())
    return [key_of(row) for row in tx.execute(newest.limit(limit).offset(offset))]


def revoke(tx: Connection, key_id: str, at: str) -> Key:
    """It is refused from here on; one that is revoked stays so, since when it was. Raises NotFound."""
    find(tx, key_id)
    tx.execute(update(keys).where(keys.c.key_id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=at))
    return find(tx, key_id)


def rotate(tx: Connection, key_id: str, secret: Secret, at: str) -> Key:
    """A new key for the same team and time, and the old one revoked. Raises NotFound, and Conflict for one
    that is revoked."""
    old = find(tx, key_id, locked=True)
    if there_is(tx, secret.key_id):
        return find(tx, secret.key_id)
    if old.revoked_at is not None:
        raise Conflict("This key is revoked; make a new one for its team")
    new = make(tx, old.team_id, secret, at, old.expires_at)
    revoke(tx, key_id, at)
    return new


def holder(tx: Connection, text: str, now: str) -> tuple[Team, Key]:
    """Whose key it is. Raises Unauthorized: unknown, expired or revoked, all in the same words."""
    checks.virtual_key(text)
    joined = keys.join(teams, keys.c.team_id == teams.c.team_id)
    wanted = keys.c.digest == digest(text)
    row = tx.execute(select(keys).where(wanted)).one_or_none()
    team = tx.execute(select(teams).select_from(joined).where(wanted)).one_or_none()
    if row is None or team is None:
        raise Unauthorized(checks.REFUSED)
    key = key_of(row)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Unauthorized(checks.REFUSED)
    return team_rows.team_of(team), key


def key_of(row: Row[Any]) -> Key:
    return Key(row.key_id, row.team_id, row.prefix, row.created_at, row.expires_at, row.revoked_at)
