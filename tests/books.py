"""A server's ledger, opened beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from backend.ledger.accounts import Accounts
from backend.ledger.database import Database
from backend.ledger.ledger import Ledger
from backend.ledger.records import Call, Credits, JobLimits, Terms
from tests.fakes.runtime import ThreadRuntime
from tests.programs import until
from tests.servers import Server


class Books:
    def __init__(self, url: str) -> None:
        runtime = ThreadRuntime()
        self.database = Database(url, runtime)
        self.ledger = Ledger(self.database, runtime, JobLimits())
        self.accounts = Accounts(self.database, runtime)

    def team(
        self, team_id: str = "acme", credits: int = 100, terms: Terms | None = None, **more: object
    ) -> str:
        """The key of a new team."""
        return self.accounts.create_team(team_id, terms or Terms(), credits, **more)[1]  # type: ignore[arg-type]

    def credits(self, team_id: str = "acme") -> Credits:
        return self.accounts.team(team_id).credits

    def calls(self, team_id: str = "acme") -> list[Call]:
        """All of a team's, the newest first."""
        jobs = self.ledger.jobs(team_id, 1000)
        return [call for job in jobs for call in self.ledger.calls(team_id, job.job_id)]

    def settled(self, stream_id: str) -> Call:
        """The call, once it is settled."""
        until(lambda: self.ledger.call(stream_id).settled_at is not None, "the call is settled")
        return self.ledger.call(stream_id)

    def charges(self, team_id: str = "acme") -> list[int]:
        """What was charged, each time."""
        found = self.accounts.entries(team_id, 10_000)
        return [entry.amount for entry in found if entry.kind == "charge"]


@contextmanager
def books_at(url: str) -> Iterator[Books]:
    """Whatever becomes of it is balanced in the end."""
    books = Books(url)
    try:
        yield books
        assert books.accounts.audit() == []
    finally:
        books.database.close()


def books_of(server: Server) -> AbstractContextManager[Books]:
    """Of a server that keeps them where it does by default."""
    return books_at(f"sqlite:///{server.folder}/var/ledger.db")
