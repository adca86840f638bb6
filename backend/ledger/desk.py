"""The ledger as a server has it: opened when it is first needed, whatever becomes of its database."""

from __future__ import annotations

import logging
from pathlib import Path

from backend.chat.errors import Misconfigured, Unavailable
from backend.chat.ports import Runtime
from backend.ledger.accounts import Accounts
from backend.ledger.database import BROKEN, Database, address_of
from backend.ledger.ledger import Ledger

logger = logging.getLogger(__name__)


class Desk:
    """`ledger` and `accounts` open it, and raise Unavailable as long as that cannot be done."""

    def __init__(self, url: str, runtime: Runtime, job_ttl_s: float, lease_s: float) -> None:
        """Raises Misconfigured for an address that cannot be one."""
        self._url = url
        self._runtime = runtime
        self._job_ttl_s = job_ttl_s
        self._lease_s = lease_s
        address = address_of(url)
        self._file = Path(str(address.database)) if address.drivername == "sqlite" else None
        self._database: Database | None = None
        self._books: tuple[Ledger, Accounts] | None = None

    @property
    def ledger(self) -> Ledger:
        return self._opened()[0]

    @property
    def accounts(self) -> Accounts:
        return self._opened()[1]

    @property
    def in_use(self) -> bool:
        """Whether there may be something in it: a file that nobody has needed is not made to look."""
        return self._books is not None or self._file is None or self._file.exists()

    def close(self) -> None:
        """Call when nobody uses it any more."""
        if self._database is not None:
            self._database.close()

    def _opened(self) -> tuple[Ledger, Accounts]:
        if self._books is None:
            try:
                database = Database(self._url, self._runtime)
            except Misconfigured as exc:
                logger.error("the ledger cannot be opened: %s", exc)
                raise Unavailable(BROKEN) from exc
            if self._books is not None:  # others have opened it meanwhile
                database.close()
                return self._books
            ledger = Ledger(database, self._runtime, self._job_ttl_s, self._lease_s)
            self._database, self._books = database, (ledger, Accounts(database, self._runtime))
        return self._books
