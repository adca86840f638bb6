"""What `team`, `key` and `credits` do: each prints what came of it, and gives the exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

from backend.chat.errors import ParleyError, Unavailable
from backend.chat.ports import Runtime
from backend.ledger.accounts import Accounts
from backend.ledger.database import Database
from backend.ledger.records import Credits, Team, Terms
from backend.ledger.teams import CHANGEABLE

T = TypeVar("T")

PAGE = 1000
WHO = "command line"


def run(arguments: Namespace, database_url: str, runtime: Runtime) -> int:
    """0 if it is done, 1 if it is refused or an audit finds something, 2 if there is no telling. Raises
    Misconfigured."""
    database = Database(database_url, runtime)
    try:
        return DO[arguments.books](Accounts(database, runtime), arguments)
    except ParleyError as exc:
        print(f"parley: {exc.message}", file=sys.stderr)
        return 2 if isinstance(exc, Unavailable) else 1
    finally:
        database.close()


def create_team(accounts: Accounts, given: Namespace) -> int:
    settings = _settings(given)
    terms = Terms(**{name: settings[name] for name in Terms.__slots__ if name in settings})
    rest = {name: settings.get(name) for name in ("rate_limit", "model_groups")}
    team, key = accounts.create_team(given.team, terms, given.credits, who=WHO, **rest)
    _show(team)
    _show_key(key)
    return 0


def list_teams(accounts: Accounts, given: Namespace) -> int:  # noqa: ARG001
    rows = [(team.team_id, team.terms.budget_mode, *_numbers(team.credits)) for team in _all(accounts.teams)]
    _table(("team", "mode", "granted", "free", "held", "spent"), rows)
    return 0


def show_team(accounts: Accounts, given: Namespace) -> int:
    _show(accounts.team(given.team))
    return 0


def set_team(accounts: Accounts, given: Namespace) -> int:
    _show(accounts.change_team(given.team, _settings(given)))
    return 0


def create_key(accounts: Accounts, given: Namespace) -> int:
    key, text = accounts.make_key(given.team, given.expires_at)
    print(f"key_id       {key.key_id}")
    _show_key(text)
    return 0


def list_keys(accounts: Accounts, given: Namespace) -> int:
    rows = [
        (key.key_id, f"{key.prefix}…", key.created_at, key.expires_at or "never", key.revoked_at or "")
        for key in _all(lambda limit, offset: accounts.keys(given.team, limit, offset))
    ]
    _table(("key_id", "key", "created", "expires", "revoked"), rows)
    return 0


def revoke_key(accounts: Accounts, given: Namespace) -> int:
    key = accounts.revoke_key(given.key_id)
    print(f"{key.prefix}… of {key.team_id} is revoked since {key.revoked_at}")
    return 0


def rotate_key(accounts: Accounts, given: Namespace) -> int:
    key, text = accounts.rotate_key(given.key_id)
    print(f"key_id       {key.key_id}")
    _show_key(text)
    return 0


def add_credits(accounts: Accounts, given: Namespace) -> int:
    _show_credits(accounts.grant(given.team, given.amount, given.reason, WHO, given.once))
    return 0


def show_credits(accounts: Accounts, given: Namespace) -> int:
    _show_credits(accounts.team(given.team).credits)
    rows = [
        (entry.at, entry.kind, entry.amount, entry.job_id or "", entry.reason, entry.who)
        for entry in accounts.entries(given.team, given.last)
    ]
    if rows:
        print()
        _table(("at", "posting", "amount", "job", "reason", "who"), rows)
    return 0


def audit(accounts: Accounts, given: Namespace) -> int:  # noqa: ARG001
    found = accounts.audit()
    for discrepancy in found:
        print(f"{discrepancy.team_id}: {discrepancy.what}")
    print(f"{len(found)} discrepancies" if found else "balanced")
    return 1 if found else 0


DO: dict[str, Callable[[Accounts, Namespace], int]] = {
    "create_team": create_team,
    "list_teams": list_teams,
    "show_team": show_team,
    "set_team": set_team,
    "create_key": create_key,
    "list_keys": list_keys,
    "revoke_key": revoke_key,
    "rotate_key": rotate_key,
    "add_credits": add_credits,
    "show_credits": show_credits,
    "audit": audit,
}


def _settings(given: Namespace) -> dict[str, Any]:
    """Those that are given."""
    values = {name: getattr(given, name) for name in CHANGEABLE}
    settings = {name: value for name, value in values.items() if value is not None}
    if settings.get("rate_limit") == "default":
        settings["rate_limit"] = None
    groups = settings.get("model_groups")
    if groups is not None:
        names = [name.strip() for name in groups.split(",") if name.strip()]
        settings["model_groups"] = None if names == ["all"] else names
    return settings


def _all(page: Callable[[int, int], Sequence[T]]) -> Iterator[T]:
    """What a paged list has, from its beginning to its end."""
    for offset in count(0, PAGE):
        rows = page(PAGE, offset)
        yield from rows
        if len(rows) < PAGE:
            return


def _show(team: Team) -> None:
    groups = "all" if team.model_groups is None else ", ".join(team.model_groups) or "none"
    print(f"team         {team.team_id}")
    print(f"mode         {_mode(team.terms)}")
    print(f"rate limit   {team.rate_limit or 'as for everybody'}")
    print(f"groups       {groups}")
    _show_credits(team.credits)


def _mode(terms: Terms) -> str:
    rates = {
        "job_based": "1 credit a completed job",
        "consumption_usd": f"{terms.credits_per_dollar} credits a dollar",
        "consumption_tokens": f"{terms.tokens_per_credit} tokens a credit",
    }
    return f"{terms.budget_mode}: {rates[terms.budget_mode]}"


def _show_key(text: str) -> None:
    print(f"virtual key  {text}")
    print("It is not shown again: only its digest is kept.", file=sys.stderr)


def _numbers(credits: Credits) -> tuple[int, int, int, int]:
    return credits.granted, credits.free, credits.held, credits.spent


def _show_credits(credits: Credits) -> None:
    granted, free, held, spent = _numbers(credits)
    print(f"credits      {granted} granted = {free} free + {held} held + {spent} spent")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
