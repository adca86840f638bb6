"""Many seeds: a line for each, a summary, and 1 as the exit code if anything was wrong. Writes nothing that
stays."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from backend.runtime import LIBRARIES
from tests.chaos import faults
from tests.chaos.fleet import Size
from tests.chaos.soak import Soak, growth, soak, told

MEASURED_EVERY = 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first one")
    parser.add_argument("--seed", type=int, action="append", help="this one only, and tell all of it")
    parser.add_argument("--streams", type=int, default=100, help="readers at once")
    parser.add_argument("--runtime", choices=LIBRARIES, default=next(iter(LIBRARIES)))
    parser.add_argument("--faults", help=f"some of {','.join(faults.KINDS)}")
    parser.add_argument("--workers", action="store_true", help="one parent with WORKERS=3")
    parser.add_argument("--goes-on", action="store_true", help="with CONTINUE_INTERRUPTED=1")
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no seed after so many")
    parser.add_argument("--keep", type=Path, help="an empty folder for the logs of the servers, which stay")
    return parser.parse_args()


async def run(given: argparse.Namespace, folder: Path) -> int:
    there = tuple(faults.KINDS) if given.workers else faults.ALONE
    kinds = given.faults.split(",") if given.faults else there
    seeds = given.seed or range(given.first, given.first + given.seeds)
    began_s = time.monotonic()
    wrong: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    done = 0
    warm: dict[int, Size] = {}
    async with soak(
        folder,
        given.runtime,
        streams=given.streams,
        kinds=kinds,
        workers=given.workers,
        goes_on=given.goes_on,
    ) as soaking:
        for number, seed in enumerate(seeds, 1):
            if time.monotonic() - began_s > given.minutes * 60:
                break
            outcome = await soaking.seed(seed)
            done = number
            print(outcome, flush=True)
            if outcome.wrong or given.seed:
                print(told(outcome), flush=True)
            wrong.update(each.kind for each in outcome.wrong)
            ended.update(reader.ended or "unended" for reader in outcome.readers)
            wrong.update(measured(soaking, warm, aloud=number % MEASURED_EVERY == 0))
    took_s = time.monotonic() - began_s
    print(f"{done} seeds of {given.streams} readers on {given.runtime} in {took_s:.0f} s: {dict(ended)}")
    print(f"violations: {dict(wrong)}" if wrong else "no violations")
    return 1 if wrong else 0


def measured(soaking: Soak, warm: dict[int, Size], *, aloud: bool) -> list[str]:
    """What servers have too much of; each is compared with itself after its first whole seed."""
    sizes = soaking.fleet.sizes()
    grown = [what for size in sizes if (what := growth(warm.setdefault(size.pid, size), size))]
    for what in grown:
        print(f"GROWTH {what}", flush=True)
    if aloud:
        print("sizes: " + "; ".join(map(str, sizes)), flush=True)
    return ["growth" for _ in grown]


def main() -> int:
    given = arguments()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of each write to a line that is cut
    if given.keep:
        return asyncio.run(run(given, given.keep))
    with tempfile.TemporaryDirectory(prefix="parley-chaos-") as folder:
        return asyncio.run(run(given, Path(folder)))


sys.exit(main())
