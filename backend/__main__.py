"""The command line: `python -m backend` serves, `python -m backend check [URL]` asks a running server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from backend import runtime
from backend.chat.errors import Misconfigured

try:
    green = runtime.start(os.environ, Path.cwd())
except Misconfigured as exc:
    print(f"parley: {exc}", file=sys.stderr)
    sys.exit(2)

import argparse

from backend import check, config, serving


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backend", description="Parley, a chat backend")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve (the default)")
    asked = commands.add_parser("check", help="ask a running server one question over each door")
    asked.add_argument("url", nargs="?", help="where it runs; default: this machine's HOST and PORT")
    arguments = parser.parse_args()
    try:
        settings = config.load(os.environ, Path.cwd())
        if arguments.command == "check":
            return check.run(arguments.url or settings.url())
        return serving.run(settings, green)
    except Misconfigured as exc:
        print(f"parley: {exc}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
