"""The command line: `python -m backend` serves, `check [URL]` asks a server, `token` makes a token; `team`,
`key` and `credits` keep the ledger."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from backend import runtime, workers
from backend.chat.errors import Misconfigured

try:
    worker = workers.enter(os.environ, Path.cwd()) if sys.argv[1:] in ([], ["serve"]) else None
    gc.disable()  # until it serves: all that is made by then stays, and to go through it takes a while
    green = runtime.start(os.environ, Path.cwd())
except Misconfigured as exc:
    print(f"parley: {exc}", file=sys.stderr)
    sys.exit(2)

import argparse
import importlib
import time

from backend import app, commands, config, serving
from backend.access.keys import shared_secret
from backend.access.tokens import mint
from backend.values import positive


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backend", description="Parley, a chat backend")
    names = parser.add_subparsers(dest="command")
    names.add_parser("serve", help="serve (the default)")
    asked = names.add_parser("check", help="ask a running server one question over each door")
    asked.add_argument("url", nargs="?", help="where it runs; default: this machine's HOST and PORT")
    asked.add_argument("--token", help="to ask with, where AUTH=required")
    made = names.add_parser("token", help="make a token, and print it")
    made.add_argument("--sub", required=True, help="whom it names")
    made.add_argument("--ttl", type=positive, default=3600, help="seconds it holds; default: 3600")
    made.add_argument("--scope", help="what it may besides, such as admin")
    commands.add(names)
    arguments = parser.parse_args()
    try:
        settings = config.load(os.environ, Path.cwd())
        if arguments.command == "check":
            # Not loaded by a server: it has a client's half of WebSockets.
            check = importlib.import_module("backend.check")
            result: int = check.run(arguments.url or settings.url(), arguments.token)
            return result
        if arguments.command == "token":
            print(token(settings, arguments.sub, arguments.ttl, arguments.scope))
            return 0
        if arguments.command in ("team", "key", "credits"):
            # What keeps the ledger takes a third of a second to load, for which nobody else should wait.
            books = importlib.import_module("backend.books")
            code: int = books.run(arguments, settings.database_url, green)
            return code
        return serving.run(settings, green, worker)
    except Misconfigured as exc:
        print(f"parley: {exc}", file=sys.stderr)
        return 2


def token(settings: config.Config, subject: str, lifetime_s: int, scope: str | None) -> str:
    """A token that a server with these settings takes. Raises Misconfigured."""
    if settings.jwt_algorithm != "HS256":
        raise Misconfigured(
            f"With JWT_ALGORITHM={settings.jwt_algorithm} tokens come from who holds the private key"
        )
    secret = shared_secret(settings.jwt_secret, app.SECRET_FILE)
    claims = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience, "scope": scope}
    try:
        return mint(secret, subject, int(time.time()), lifetime_s, claims)
    except ValueError as exc:
        raise Misconfigured(f"--sub must be {exc}") from exc


if __name__ == "__main__":
    sys.exit(main())
