"""docs/performance.md: what was found, for readers and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.figures import Case, Figures, Results
from bench.goals import Outcome
from bench.idle import Held
from bench.litellm_text import litellm_text
from bench.redis_text import redis_text
from bench.scale import RATE, Scale
from bench.scenarios.streams import LIMIT_S
from bench.servers import DEFAULT_RUNTIME, ON_STORE, RAISED, RUNTIMES, SUBJECTS, UPSTREAM, Subject
from bench.tables import brief, number, table
from bench.traits import traits

HEAD = """# Performance

Written by `make bench`; do not edit. `make bench QUICK=1` is shorter and writes nothing, `make bench-idle`
holds sockets open, `make bench-litellm` compares with LiteLLM's proxy, `make bench-page` measures the page.
"""

PAGE = "## The page"
HOW = """## How it is measured

The server is a process that has one core for itself; clients and the fake upstream, two small C programs, are
on {load}. Every server is asked for the same answers over a real socket, SSE with a new connection each time.
Parley runs as it comes, with its sessions and answers in SQLite, except that its limits are raised, since all
clients come from one address: {raised}.
The peers keep nothing, check nothing and cannot resume. FastAPI runs on uvicorn with uvloop and httptools.
`/v1` is Parley's `POST /v1/chat/completions`, asked in OpenAI's format; all else is `POST /api/chat/stream`.

The rows at {rate}/s compare like with like: every token is on its way by itself, as those of real models are.
Unpaced, Parley writes the tokens that are there together at once (on sockets as one event, which says how far
it goes), the peers each by itself: that is how load makes Parley cheaper, and what those rows show. Short
answers at {rate}/s run at more than that, since the first token is not waited for.

Numbers are medians of {runs}, each figure by itself. *First token* is counted from the question, over SSE
with connecting, over Socket.IO on a connection that is there; *slowest* is the last of all clients'. *Between
tokens* is 0 where two come together; unpaced, it tells of the size of batches more than of anything else.
*Memory* is the most that was resident during a row; rows follow each other in one process, which keeps what
it once had. *Core* is how much of its core the server had, *others* how much somebody else on the machine:
without them such a row would be better. *Load* is how busy the other core was: near 100 %, the server could
have done more than it was asked for. *Unanswered* is who had no whole answer after {limit:g} s. Goals are
those of {default}, the default runtime; where `/v1` is compared, what others took of the core is left out.
"""

STORED = """The same server twice at once, one on `memory://` and one on `redis://`, asked in turns: built-in
answers, then relayed ones."""

CASE_HEAD = (
    "server", "streams", "pace", "tokens/s", "first token ms", "slowest ms", "between tokens ms", "p99 ms",
    "memory MiB", "core", "others", "load",
)  # fmt: skip


def document(
    results: Results,
    outcomes: Iterable[Outcome],
    machine: Iterable[tuple[str, str]],
    day: str,
    *,
    shared: bool,
) -> str:
    scale = results.scale
    raised = ",\n".join(f"`{name}={value}`" for name, value in RAISED.items() if name != "OPENAI_MODELS")
    runs = f"{scale.runs} runs" if scale.runs > 1 else "one run"
    load = "the same core, since there is but one" if shared else "another"
    parts = [
        HEAD,
        *([] if scale.name == "full" else [f"**This was a {scale.name} run: its numbers are rough.**"]),
        "## Goals\n\n" + goal_table(outcomes),
        f"{day}, on:\n\n" + table(("", ""), machine),
        *sections(results),
        HOW.format(raised=raised, runs=runs, load=load, default=DEFAULT_RUNTIME, limit=LIMIT_S, rate=RATE),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def with_section(text: str, heading: str, section: str) -> str:
    """A document with this section in the place of the one it had, or before how things are measured."""
    before, found, after = text.partition(f"{heading}\n\n")
    if not found:
        before, found, after = text.partition(HOW.partition("\n")[0])
        return f"{before}{heading}\n\n{section}\n\n{found}{after}"
    rest = after.find("\n## ")
    return f"{before}{heading}\n\n{section}\n{after[rest:] if rest >= 0 else ''}"


def section_of(text: str, heading: str) -> str | None:
    """What stands under a heading of a document."""
    _, found, after = text.partition(f"{heading}\n\n")
    return after.partition("\n## ")[0].strip() if found else None


def sections(results: Results) -> Iterator[str]:
    """Each with its heading."""
    scale = results.scale
    groups = {
        "SSE, built-in answers": [s for s in SUBJECTS if s.door == "sse" and not s.relayed],
        "SSE, relayed from an OpenAI-compatible upstream": [s for s in SUBJECTS if s.relayed],
        "Socket.IO, built-in answers": [s for s in SUBJECTS if s.door == "sockets"],
    }
    for heading, subjects in groups.items():
        yield f"## {heading}\n\n{case_table(results, subjects)}"
    yield added(results, scale)
    on_store = [subject for subject in ON_STORE.values() if results.case(subject, scale.streams[0], 0)]
    if on_store:
        yield f"## SSE, on Redis and in memory\n\n{STORED}\n\n{case_table(results, on_store)}"
    yield f"## One number each\n\n{trait_table(results, scale)}"
    if results.growth:
        yield (
            f"## How it grows\n\nSo many questions in one moment to Parley on {DEFAULT_RUNTIME}, answers of "
            f"{scale.growth_tokens} tokens at {RATE}/s over SSE. *Rate* is beside the ideal one.\n\n"
            f"{growth_table(results, scale)}"
        )
    yield from redis_text(results)
    if results.held:
        yield f"## Idle sockets\n\n{idle_sentence(results.held)}"
    if results.compared:
        yield f"## Beside LiteLLM's proxy\n\n{litellm_text(results.compared)}"
    if results.left_out:
        yield "## Not measured\n\n" + "\n".join(f"- {line}" for line in results.left_out)


def case_table(results: Results, subjects: Iterable[Subject]) -> str:
    wanted = set(subjects)
    rows = [case_row(case, seen) for case, seen in results.cases.items() if case.subject in wanted]
    return table(CASE_HEAD, rows)


def case_row(case: Case, seen: Figures) -> list[str]:
    alone = case.subject == UPSTREAM  # on the load's core
    failed = f" ({seen.failed:.0f} unanswered)" if seen.failed else ""
    return [
        case.subject.name + failed,
        number(case.streams),
        f"{case.rate}/s" if case.rate else "unpaced",
        number(seen.tokens_per_s),
        brief(seen.first_ms),
        brief(seen.first_max_ms),
        brief(seen.gap_ms),
        brief(seen.gap_p99_ms),
        number(seen.peak_kib / 1024),
        "–" if alone else f"{seen.core:.0%}",
        "–" if alone else f"{seen.others:.0%}",
        f"{seen.load:.0%}",
    ]


def added(results: Results, scale: Scale) -> str:
    """First tokens beside the upstream's own."""
    head = (
        "server",
        *(f"{n:,} stream{'s' if n > 1 else ''}, {pace(rate)}" for rate in (0, RATE) for n in scale.streams),
    )
    rows = []
    for subject in SUBJECTS:
        cells = [subject.name]
        for rate in (0, RATE):
            for streams in scale.streams:
                ours, alone = results.case(subject, streams, rate), results.case(UPSTREAM, streams, rate)
                cells.append(brief(ours.first_ms - alone.first_ms) if ours and alone else "–")
        if subject.relayed and subject != UPSTREAM and set(cells[1:]) != {"–"}:
            rows.append(cells)
    return f"Milliseconds added to the upstream's first token:\n\n{table(head, rows)}"


def pace(rate: int) -> str:
    return f"{rate}/s" if rate else "unpaced"


def trait_table(results: Results, scale: Scale) -> str:
    known = [name for name in RUNTIMES if any(runtime == name for _, runtime in results.traits)]
    rows = []
    for trait in traits(scale):
        cells = [number(results.traits.get((trait.key, name)), trait.digits) for name in known]
        rows.append([trait.label, *cells, trait.unit])
    return table(("", *known, ""), rows)


def growth_table(results: Results, scale: Scale) -> str:
    ideal_s = (scale.growth_tokens - 1) / RATE
    rows = [
        [
            number(streams),
            number(seen.tokens_per_s),
            f"{ideal_s / seen.wall_s:.0%}",
            brief(seen.first_ms),
            brief(seen.first_max_ms),
            brief(seen.gap_p99_ms),
            number(seen.peak_kib / 1024),
            f"{seen.core:.0%}",
        ]
        for streams, seen in results.growth.items()
    ]
    head = (
        "streams",
        "tokens/s",
        "rate",
        "first token ms",
        "slowest ms",
        "between tokens p99 ms",
        "memory MiB",
        "core",
    )
    return table(head, rows)


def goal_table(outcomes: Iterable[Outcome]) -> str:
    rows = [
        [
            outcome.goal.name,
            outcome.goal.bound,
            number(outcome.value) if (outcome.value or 0) >= 1000 else number(outcome.value, 2),
            outcome.verdict,
        ]
        for outcome in outcomes
    ]
    return table(("", "goal", "measured", ""), rows)


def idle_sentence(held: Held) -> str:
    lost = f"{held.lost:,} were lost" if held.lost else "all stayed"
    return (
        f"{held.day}: {held.sockets:,} sockets held open for {held.seconds:g} s on {held.runtime}; {lost}. "
        f"Each took {held.socket_kib:.1f} KiB, all together {held.core:.1%} of the core."
    )
