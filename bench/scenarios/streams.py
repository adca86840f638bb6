"""Answers for one client, some, and a crowd; as fast as can be, and at the pace of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from bench.bench import Bench
from bench.figures import Case, Figures, figures_of
from bench.processes import busy_s
from bench.scale import RATE
from bench.servers import Server, Subject

LIMIT_S = 20.0
"""Nothing but the ramp takes half as long where it goes well."""


def cases(bench: Bench, subject: Subject) -> Iterator[Case]:
    for rate in (0, RATE):
        for streams in bench.scale.streams:
            yield Case(subject, streams, rate)


def measure_case(bench: Bench, case: Case, server: Server | None, limit_s: float = LIMIT_S) -> Figures:
    """One run of it; `server` is the subject's, none for the upstream itself."""
    scale = bench.scale
    one, some, _ = scale.streams
    tokens, how = scale.tokens // 2, {"limit_s": limit_s}
    if case.rate:
        tokens = scale.paced_tokens[scale.streams.index(case.streams)]
        how |= {"total": scale.paced_questions} if case.streams == one else {}
    elif case.streams == one:
        tokens, how = scale.tokens, how | {"total": scale.questions}
    elif case.streams == some:
        tokens, how = scale.tokens, how | {"for_s": scale.for_s}
    script = f"tokens={tokens} tps={case.rate}"
    return loaded(bench, case.subject, server, script, tokens=tokens, streams=case.streams, **how)


def warm(bench: Bench, subject: Subject, server: Server | None) -> None:
    """A server's first answers are not measured."""
    loaded(bench, subject, server, "tokens=10 tps=0", tokens=10, streams=1, total=20)


def loaded(bench: Bench, subject: Subject, server: Server | None, script: str, **options: float) -> Figures:
    """What a load shows that asks for answers as the script says."""
    gauge = (server or bench.upstream).gauge
    gauge.forget_peak()
    with bench.load.clients(
        port=(server or bench.upstream).port, door=subject.door, path=subject.path,
        mark=subject.mark, body=subject.body(script), **{"limit_s": LIMIT_S, **options},
    ) as clients:  # fmt: skip
        before = gauge.cpu_s, busy_s(bench.cores.server), busy_s(bench.cores.load)
        report = clients.report()
        after = gauge.cpu_s, busy_s(bench.cores.server), busy_s(bench.cores.load)
    cpu_s, all_s, load_s = (now - then for now, then in zip(after, before, strict=True))
    return figures_of(report, cpu_s, all_s, load_s / len(bench.cores.load), gauge.peak_kib)


def started(bench: Bench, name: str | None) -> Server | nullcontext[None]:
    """The server of that name, or nothing to start for the upstream itself."""
    return bench.start(name) if name else nullcontext()
