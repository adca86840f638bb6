"""The ledger as a server has it: loaded and opened when it is first needed, whatever becomes of it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from backend.chat.ports import Runtime
from backend.ledger.records import JobLimits

if TYPE_CHECKING:
    from backend.ledger.accounts import Accounts
    from backend.ledger.ledger import Ledger
    from backend.ledger.opening import Books

SQLITE = "sqlite:///"


class Desk:
    """`ledger` and `accounts` open it, and raise Unavailable as long as that cannot be done."""

    def __init__(self, url: str, runtime: Runtime, limits: JobLimits) -> None:
        """Raises Misconfigured for an address that cannot be one."""
        self._url = url
        self._runtime = runtime
        self._limits = limits
        self._file = Path(url.removeprefix(SQLITE).partition("?")[0]) if url.startswith(SQLITE) else None
        self._books: Books | None = None
        if self.in_use:
            sql().check_address(url)

    @property
    def ledger(self) -> Ledger:
        return self._opened().ledger

    @property
    def accounts(self) -> Accounts:
        return self._opened().accounts

    @property
    def in_use(self) -> bool:
        """Whether there may be something in it: a file that nobody has needed is not made to look."""
        return self._books is not None or self._file is None or self._file.exists()

    def close(self) -> None:
        """Call when nobody uses it any more."""
        if self._books is not None:
            self._books.database.close()

    def _opened(self) -> Books:
        if self._books is None:
            loaded = self._runtime.offload(sql)
            books = loaded.open_(self._url, self._runtime, self._limits)
            if self._books is not None:  # others have opened it meanwhile
                books.database.close()
            else:
                self._books = books
        return self._books


def sql() -> ModuleType:
    """`opening`: a fifth of all that a server could load."""
    return importlib.import_module("backend.ledger.opening")
