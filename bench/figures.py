"""What was measured, and what is made of several runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from statistics import median

from bench.idle import Held
from bench.load import Report
from bench.scale import Scale
from bench.servers import Subject


@dataclass(frozen=True, slots=True)
class Case:
    """`rate` is tokens a second of each stream, 0 for as fast as can be."""

    subject: Subject
    streams: int
    rate: int


@dataclass(frozen=True, slots=True)
class Figures:
    """`core` is how much of its core the server had, `others` how much of it everybody else, `load` how busy
    the load's core was; `wall_s` is from the first question to the last answer's end; `undisturbed_per_s` is
    `tokens_per_s` for each whole second of the core that others left."""

    failed: float
    tokens_per_s: float
    undisturbed_per_s: float
    first_ms: float
    first_max_ms: float
    gap_ms: float
    gap_p99_ms: float
    wall_s: float
    core: float
    others: float
    load: float
    peak_kib: float


def figures_of(report: Report, cpu_s: float, all_s: float, load_s: float, peak_kib: int) -> Figures:
    """`cpu_s` is the server's time on its core, `all_s` everybody's, `load_s` everybody's on a core of the
    load's."""
    wall_s = report.wall_s or 1e-9
    others = max(0.0, all_s - cpu_s) / wall_s
    return Figures(
        failed=report.failed,
        tokens_per_s=report.tokens / wall_s,
        undisturbed_per_s=report.tokens / wall_s / max(0.1, 1 - others),
        first_ms=report.first_ms.p50,
        first_max_ms=report.first_ms.max,
        gap_ms=report.gap_ms.p50,
        gap_p99_ms=report.gap_ms.p99,
        wall_s=report.wall_s,
        core=cpu_s / wall_s,
        others=others,
        load=load_s / wall_s,
        peak_kib=peak_kib,
    )


def typical(runs: Sequence[Figures]) -> Figures:
    """The median of each figure; but what failed in any run counts."""
    middle = {row.name: median(getattr(run, row.name) for run in runs) for row in fields(Figures)}
    return Figures(**{**middle, "failed": max(run.failed for run in runs)})


@dataclass(frozen=True, slots=True)
class Compared:
    """Parley beside LiteLLM's proxy, unpaced; `streams` are one and some, `version` is LiteLLM's."""

    version: str
    runtime: str
    runs: int
    streams: tuple[int, int]
    day: str
    cases: dict[Case, Figures]

    def alone(self, subject: Subject) -> Figures:
        """One stream at a time."""
        return self.cases[Case(subject, self.streams[0], 0)]

    def some(self, subject: Subject) -> Figures:
        return self.cases[Case(subject, self.streams[1], 0)]


@dataclass(slots=True)
class Results:
    """All of it: `traits` by trait and runtime, `growth` by number of streams, what could not be measured and
    why; `held` and `compared` are what the last `make bench-idle` and `make bench-litellm` found."""

    scale: Scale
    held: Held | None = None
    compared: Compared | None = None
    cases: dict[Case, Figures] = field(default_factory=dict)
    traits: dict[tuple[str, str], float] = field(default_factory=dict)
    growth: dict[int, Figures] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def case(self, subject: Subject, streams: int, rate: int) -> Figures | None:
        return self.cases.get(Case(subject, streams, rate))
