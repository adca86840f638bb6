"""The command: measures everything, prints it, writes docs/performance.md."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median

from bench import idle, litellm
from bench.bench import Bench, tell
from bench.cores import Cores, split
from bench.document import PAGE, document, goal_table, section_of, sections, with_section
from bench.figures import Figures, Results, typical
from bench.goals import Outcome, judge, litellm_goals
from bench.litellm_text import litellm_text
from bench.load import Load
from bench.machine import describe
from bench.redis_server import redis_program
from bench.redis_traits import AGAIN, ONCE
from bench.scale import SCALES
from bench.scenarios.as_upstream import check_mock
from bench.scenarios.crowd import measure_growth
from bench.scenarios.on_redis import compare_stores
from bench.scenarios.streams import cases, measure_case, started, warm
from bench.servers import DEFAULT_RUNTIME, PARLEY_STREAM, ROOT, RUNTIMES, SUBJECTS, missing
from bench.tools import CannotMeasure, compile_tools
from bench.traits import ON_ONE_SERVER, ON_THEIR_OWN
from bench.upstream import Upstream

BUILD = ROOT / "bench" / "build"
DOCUMENT = ROOT / "docs" / "performance.md"
HELD, COMPARED = "idle.json", "litellm.json"


def main() -> int:
    asked = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard := resource.getrlimit(resource.RLIMIT_NOFILE)[1], hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    cores = split()
    machine = list(describe(cores))
    try:
        with bench_of(asked.scale, cores, asked.build) as bench:
            if asked.idle:
                return keep_idle(bench, asked)
            if asked.litellm:
                return keep_litellm(bench, asked)
            return measure_all(bench, machine, asked)
    except CannotMeasure as error:
        tell(str(error))
        return 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--strict", action="store_true", help="end with 1 if something falls short")
    parser.add_argument("--write", type=Path, help="where to; unless the scale is full, nowhere if not said")
    parser.add_argument("--build", type=Path, default=BUILD, help="where the compiled programs go")
    parser.add_argument("--runtime", choices=RUNTIMES, help="only this one of Parley's")
    parser.add_argument("--idle", action="store_true", help="hold idle sockets, and nothing else")
    parser.add_argument("--sockets", type=int, default=idle.SOCKETS, help="with --idle: so many")
    parser.add_argument("--seconds", type=float, default=idle.KEPT_S, help="with --idle: for so long")
    parser.add_argument("--redis", action="store_true", help="Redis and workers, and nothing else")
    parser.add_argument(
        "--litellm", action="store_true", help="compare with LiteLLM's proxy, and nothing else"
    )
    return parser.parse_args()


@contextmanager
def bench_of(scale: str, cores: Cores, build: Path) -> Iterator[Bench]:
    """Raises CannotMeasure."""
    tools = compile_tools(build)
    with Upstream(tools.upstream) as upstream:
        yield Bench(SCALES[scale], cores, Load(tools.load), upstream)


def keep_idle(bench: Bench, asked: argparse.Namespace) -> int:
    held = idle.hold(bench, asked.runtime or DEFAULT_RUNTIME, asked.sockets, asked.seconds)
    idle.save(held, asked.build / HELD)
    lost = f"{held.lost:,} lost" if held.lost else "none lost"
    print(f"{held.sockets:,} sockets for {held.seconds:g} s: {held.socket_kib:.1f} KiB each, {lost}")
    return 1 if held.lost and asked.strict else 0


def keep_litellm(bench: Bench, asked: argparse.Namespace) -> int:
    """Nothing is measured unless Parley works with it."""
    runtime = asked.runtime or DEFAULT_RUNTIME
    if lacking := missing("litellm"):
        raise CannotMeasure(f"{lacking}: make bench-litellm installs it")
    checked = check_mock(bench, runtime)
    for door, well in checked.items():
        print(f"LiteLLM's proxy as the upstream, {door}: {'pass' if well else 'not its text'}", flush=True)
    if not all(checked.values()):
        return 1
    compared = litellm.compare(bench, runtime)
    litellm.save(compared, asked.build / COMPARED)
    outcomes = judge(Results(bench.scale, compared=compared), litellm_goals(compared))
    print(f"\n{litellm_text(compared)}\n\n{goal_table(outcomes)}\n", flush=True)
    return status(outcomes, asked)


def measure_all(bench: Bench, machine: list[tuple[str, str]], asked: argparse.Namespace) -> int:
    began_s = time.monotonic()
    runtimes = [asked.runtime] if asked.runtime else list(RUNTIMES)
    results = Results(bench.scale, idle.saved(asked.build / HELD), litellm.saved(asked.build / COMPARED))
    if not asked.redis:
        measure_cases(bench, results, runtimes)
        measure_traits(bench, results, runtimes)
    if DEFAULT_RUNTIME in runtimes:
        if not asked.redis:
            measure_crowds(bench, results)
        measure_redis(bench, results)
    outcomes = judge(results)
    for part in sections(results):
        print(part, end="\n\n")
    print(f"## Goals\n\n{goal_table(outcomes)}\n", flush=True)
    tell(f"It took {time.monotonic() - began_s:.0f} s.")
    whole = bench.scale.name == "full" and not asked.redis
    path = asked.write or (DOCUMENT if whole else None)
    if path:
        day = date.today().isoformat()
        text = document(results, outcomes, machine, day, shared=bench.cores.shared)
        # Measured by itself: `make bench-page`.
        if path.is_file() and (kept := section_of(path.read_text("utf-8"), PAGE)):
            text = with_section(text, PAGE, kept)
        path.write_text(text, "utf-8")
    return status(outcomes, asked)


def status(outcomes: Iterable[Outcome], asked: argparse.Namespace) -> int:
    return 1 if asked.strict and any(outcome.verdict == "short" for outcome in outcomes) else 0


def measure_cases(bench: Bench, results: Results, runtimes: list[str]) -> None:
    """Every subject's cases, a server of its own for each subject."""
    for subject in SUBJECTS:
        if subject.server in RUNTIMES and subject.server not in runtimes:
            continue
        lacking = missing(subject.server) if subject.server else None
        if lacking:
            results.left_out.append(f"{subject.name}: {lacking}")
            continue
        tell(f"{subject.name}, {subject.door}{', relayed' if subject.relayed else ''}")
        runs = defaultdict[object, list[Figures]](list)
        with started(bench, subject.server) as server:
            warm(bench, subject, server)
            for _ in range(bench.scale.runs):
                for case in cases(bench, subject):
                    runs[case].append(measure_case(bench, case, server))
        results.cases |= {case: typical(runs[case]) for case in cases(bench, subject)}


def measure_traits(bench: Bench, results: Results, runtimes: list[str]) -> None:
    for runtime in runtimes:
        if lacking := missing(runtime):
            results.left_out.append(f"Parley's traits on {runtime}: {lacking}")
            continue
        found = defaultdict[str, list[float]](list)

        def keep(seen: dict[str, float], found: dict[str, list[float]] = found) -> None:
            for key, value in seen.items():
                found[key].append(value)

        for _ in range(bench.scale.runs):
            with bench.start(runtime) as server:
                warm(bench, PARLEY_STREAM[runtime], server)
                for on_server in ON_ONE_SERVER:
                    tell(f"{runtime}: {on_server.__name__}")
                    keep(on_server(bench, server, runtime))
            for on_its_own in ON_THEIR_OWN if runtime == runtimes[0] else ():
                tell(f"{runtime}: {on_its_own.__name__}")
                keep(on_its_own(bench, runtime))
        results.traits |= {(key, runtime): median(values) for key, values in found.items()}


def measure_crowds(bench: Bench, results: Results) -> None:
    for streams in bench.scale.growth:
        tell(f"{DEFAULT_RUNTIME}: {streams:,} streams")
        with bench.start(DEFAULT_RUNTIME) as server:
            warm(bench, PARLEY_STREAM[DEFAULT_RUNTIME], server)
            runs = [measure_growth(bench, server, DEFAULT_RUNTIME, streams) for _ in range(bench.scale.runs)]
        results.growth[streams] = typical(runs)


def measure_redis(bench: Bench, results: Results) -> None:
    program = redis_program()
    if program is None:
        results.left_out.append("Redis and workers: redis-server is not installed")
        return
    tell(f"{DEFAULT_RUNTIME}: {compare_stores.__name__}")
    results.cases |= compare_stores(bench, DEFAULT_RUNTIME, program)
    for on_redis in (*ONCE, *AGAIN):
        found = defaultdict[str, list[float]](list)
        tell(f"{DEFAULT_RUNTIME}: {on_redis.__name__}")
        for _ in range(1 if on_redis in ONCE else bench.scale.runs):
            for key, value in on_redis(bench, DEFAULT_RUNTIME, program).items():
                found[key].append(value)
        results.traits |= {(key, DEFAULT_RUNTIME): median(values) for key, values in found.items()}


if __name__ == "__main__":
    sys.exit(main())
