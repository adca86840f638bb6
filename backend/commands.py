"""The commands that keep the ledger, as they are typed: `team`, `key`, `credits`."""

from __future__ import annotations

import argparse
from typing import Any

from backend.values import whole

MODES = "job_based, consumption_usd or consumption_tokens"
Commands = Any
"""What `ArgumentParser.add_subparsers` gives."""


def add(commands: Commands) -> None:
    """Each sets `books` to the name of what `backend.books` does for it."""
    _add_teams(_group(commands, "team", "who may spend"))
    _add_keys(_group(commands, "key", "what a team's programs show"))
    _add_credits(_group(commands, "credits", "what there is to spend"))


def _add_teams(commands: Commands) -> None:
    made = _command(commands, "create", "make a team, and print its first key", "create_team")
    made.add_argument("team")
    made.add_argument("--credits", type=whole, default=0, help="granted at once; default: 0")
    _add_settings(made)
    _command(commands, "list", "all teams", "list_teams")
    _command(commands, "show", "one team", "show_team").add_argument("team")
    changed = _command(commands, "set", "change what is given", "set_team")
    changed.add_argument("team")
    _add_settings(changed)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget-mode", metavar="MODE", help=MODES)
    parser.add_argument("--credits-per-dollar", type=whole, metavar="N", help="in consumption_usd")
    parser.add_argument("--tokens-per-credit", type=whole, metavar="N", help="in consumption_tokens")
    parser.add_argument("--rate-limit", metavar="RATE", help="such as 30/minute; off, or default")
    parser.add_argument("--model-groups", metavar="NAMES", help="a comma list, or all")


def _add_keys(commands: Commands) -> None:
    made = _command(commands, "create", "make a key, and print it this once", "create_key")
    made.add_argument("team")
    made.add_argument("--expires-at", metavar="TIME", help="such as 2030-01-31T12:00:00Z; default: never")
    _command(commands, "list", "a team's keys, by their beginnings", "list_keys").add_argument("team")
    _command(commands, "revoke", "refuse a key from now on", "revoke_key").add_argument("key_id")
    _command(commands, "rotate", "put a new key in its place", "rotate_key").add_argument("key_id")


def _add_credits(commands: Commands) -> None:
    given = _command(commands, "add", "grant credits, or take back what is free of them", "add_credits")
    given.add_argument("team")
    given.add_argument("amount", type=int, help="a whole number; below 0 it takes back")
    given.add_argument("--reason", required=True, help="kept with it")
    given.add_argument("--once", metavar="NAME", help="with the same name it is granted once")
    shown = _command(commands, "show", "a team's credits and its last postings", "show_credits")
    shown.add_argument("team")
    shown.add_argument("--last", type=whole, default=20, metavar="N", help="postings; default: 20")
    _command(commands, "audit", "hold all of it against the postings; 1 if anything is wrong", "audit")


def _group(commands: Commands, name: str, about: str) -> Commands:
    return commands.add_parser(name, help=about).add_subparsers(dest="action", required=True)


def _command(commands: Commands, name: str, about: str, books: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about)
    parser.set_defaults(books=books)
    return parser
