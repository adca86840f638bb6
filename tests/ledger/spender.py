"""A process that uses a ledger, and may be killed at it. It says each thing it is about to do on a line.

`python -m tests.ledger.spender jobs|grants <url> <name> <first> <count>`
"""

from __future__ import annotations

import sys

from backend.chat.errors import InsufficientCredits
from backend.ledger.accounts import Accounts
from backend.ledger.database import Database
from backend.ledger.ledger import Ledger
from backend.ledger.records import JobLimits, NewCall, NewJob, Outcome
from tests.fakes.runtime import ThreadRuntime
from tests.ledger.world import NOTHING


def jobs(database: Database, name: str, numbers: range) -> None:
    """Jobs of one call each, one after the other; who has no credit for one goes on to the next."""
    ledger = Ledger(database, ThreadRuntime(), JobLimits(job_ttl_s=5.0, lease_s=5.0))
    for number in numbers:
        print(number, flush=True)
        mine = f"{name}-{number}"
        try:
            ledger.begin_call(
                NewCall(mine, mine, "acme", mine, "demo", NOTHING), NewJob(mine, "acme", "chat")
            )
        except InsufficientCredits:
            continue
        ledger.settle(Outcome(mine, "done", 1, 1, 1, "usage"), job_status="completed")


def grants(database: Database, name: str, numbers: range) -> None:
    """A credit each, by its number."""
    accounts = Accounts(database, ThreadRuntime())
    for number in numbers:
        print(number, flush=True)
        accounts.grant("acme", 1, "a credit", who=name, once=f"{name}-{number}")


if __name__ == "__main__":
    what, url, name, first, count = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    {"jobs": jobs, "grants": grants}[what](Database(url, ThreadRuntime(), patience_s=30.0), name, numbers)
