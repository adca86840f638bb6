"""All of the ledger that needs SQL, behind one import: a server that nobody shows a key does without."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from backend.chat.errors import Misconfigured, Unavailable
from backend.chat.ports import Runtime
from backend.ledger.accounts import Accounts
from backend.ledger.database import BROKEN, Database, address_of
from backend.ledger.ledger import Ledger
from backend.ledger.records import JobLimits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    database: Database
    ledger: Ledger
    accounts: Accounts


def check_address(url: str) -> None:
    """Raises Misconfigured for one that names no database."""
    address_of(url)


def open_(url: str, runtime: Runtime, limits: JobLimits) -> Books:
    """Raises Unavailable."""
    try:
        database = Database(url, runtime)
    except Misconfigured as exc:
        logger.error("the ledger cannot be opened: %s", exc)
        raise Unavailable(BROKEN) from exc
    return Books(database, Ledger(database, runtime, limits), Accounts(database, runtime))
