"""Who may spend: teams, keys, groups and credits, and how to see what was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from backend.chat.errors import Conflict, InvalidRequest
from backend.chat.ids import new_id
from backend.chat.ports import Runtime
from backend.ledger import audit, checks, groups, keys, postings, statement, teams, usage
from backend.ledger.database import Database
from backend.ledger.keys import Secret
from backend.ledger.records import Cell, Credits, Discrepancy, Entry, Key, Line, Team, Terms
from backend.ledger.tables import entries


class Accounts:
    """Each method is one transaction. All raise Unavailable, and NotFound for what there is not."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime

    def create_team(
        self,
        team_id: str,
        terms: Terms,
        credits: int = 0,
        rate_limit: str | None = None,
        model_groups: Sequence[str] | None = None,
        who: str = "",
    ) -> tuple[Team, str]:
        """The team, and its first key, whose text nobody sees again. Raises Conflict if there is one of this
        name, and InvalidRequest."""
        secret, now = Secret(), self._runtime.now()
        checks.whole("credits", credits)

        def work(tx: Connection) -> Team:
            if not keys.there_is(tx, secret.key_id):
                teams.create(tx, team_id, terms, now, rate_limit, model_groups)
                keys.make(tx, team_id, secret, now, None)
                if credits:
                    first = f"grant:{team_id}:first"
                    postings.post(tx, team_id, "grant", credits, first, now, reason="first credits", who=who)
            return teams.find(tx, team_id)

        return self._database.write(work), secret.text

    def change_team(self, team_id: str, changes: Mapping[str, Any]) -> Team:
        """As `teams.change`."""
        return self._database.write(lambda tx: teams.change(tx, team_id, changes))

    def team(self, team_id: str) -> Team:
        return self._database.read(lambda tx: teams.find(tx, team_id))

    def teams(self, limit: int, offset: int = 0) -> list[Team]:
        return self._database.read(lambda tx: teams.page(tx, limit, offset))

    def grant(
        self, team_id: str, amount: int, reason: str, who: str = "", once: str | None = None
    ) -> Credits:
        """Give credits, or take back what is free of them; what the team has then. With the same `once` it is
        done once. Raises InvalidRequest, and Conflict if `once` was another grant's."""
        checks.whole("the size of amount", abs(amount) if type(amount) is int else amount, 1)
        checks.some_text("reason", reason, 1000)
        checks.text("who", who)
        checks.text("once", once, 100)
        name, now = f"grant:{team_id}:{f'once:{once}' if once else new_id()}", self._runtime.now()

        def work(tx: Connection) -> Credits:
            before = postings.credits(tx, team_id)
            posted = select(entries.c.amount, entries.c.reason).where(entries.c.once == name)
            known = tx.execute(posted).one_or_none()
            if known is not None and tuple(known) != (amount, reason):
                raise Conflict("Something else was granted under this name; give a new one")
            if known is not None:
                return before
            if before.granted + amount > checks.MOST:
                raise InvalidRequest(f"A team can be granted {checks.MOST} credits in all")
            postings.post(tx, team_id, "grant", amount, name, now, reason=reason, who=who)
            return postings.credits(tx, team_id)

        return self._database.write(work)

    def entries(self, team_id: str, limit: int, offset: int = 0) -> list[Entry]:
        """A team's postings, the newest first."""

        def query(tx: Connection) -> list[Entry]:
            teams.find(tx, team_id)
            newest = select(entries).where(entries.c.team_id == team_id).order_by(entries.c.number.desc())
            return [Entry(*row) for row in tx.execute(newest.limit(limit).offset(offset))]

        return self._database.read(query)

    def statement(self, team_id: str, limit: int, offset: int = 0) -> tuple[Credits, list[Line]]:
        """As `statement.page`."""
        return self._database.read(lambda tx: statement.page(tx, team_id, limit, offset))

    def make_key(self, team_id: str, expires_at: str | None = None) -> tuple[Key, str]:
        """A new key, and its text, which nobody sees again. Raises InvalidRequest for what is no time."""
        secret, now, ends = Secret(), self._runtime.now(), checks.moment("expires_at", expires_at)
        return self._database.write(lambda tx: keys.make(tx, team_id, secret, now, ends)), secret.text

    def keys(self, team_id: str, limit: int, offset: int = 0) -> list[Key]:
        """A team's, the newest first, with their prefixes only."""
        return self._database.read(lambda tx: keys.page(tx, team_id, limit, offset))

    def revoke_key(self, key_id: str) -> Key:
        """At once."""
        now = self._runtime.now()
        return self._database.write(lambda tx: keys.revoke(tx, key_id, now))

    def rotate_key(self, key_id: str) -> tuple[Key, str]:
        """A new key in its place, and its text; the old one is revoked. Raises Conflict if it was before."""
        secret, now = Secret(), self._runtime.now()
        return self._database.write(lambda tx: keys.rotate(tx, key_id, secret, now)), secret.text

    def holder(self, key: str) -> tuple[Team, Key]:
        """As `keys.holder`: raises Unauthorized."""
        now = self._runtime.now()
        return self._database.read(lambda tx: keys.holder(tx, key, now))

    def put_group(self, name: str, members: Sequence[str]) -> None:
        """As `groups.put`."""
        now = self._runtime.now()
        self._database.write(lambda tx: groups.put(tx, name, members, now))

    def delete_group(self, name: str) -> bool:
        return self._database.write(lambda tx: groups.remove(tx, name))

    def groups(self) -> dict[str, list[str]]:
        return self._database.read(groups.every)

    def usage(self, team_id: str, period: str) -> dict[str, Any]:
        """As `usage.of_team`."""
        return self._database.read(lambda tx: usage.of_team(tx, team_id, period))

    def daily_usage(self, team_id: str, period: str, limit: int, offset: int = 0) -> list[Cell]:
        """As `usage.daily`."""
        return self._database.read(lambda tx: usage.daily(tx, team_id, period, limit, offset))

    def audit(self) -> list[Discrepancy]:
        """As `audit.discrepancies`."""
        return self._database.read(audit.discrepancies)
