"""One seed after another on the same fleet."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import faults as all_faults
from tests.chaos.connections import Network
from tests.chaos.faults import Damage, Fault, Stage, inflict, schedule
from tests.chaos.fleet import Fleet, Size, fleet
from tests.chaos.readers import KINDS, Reader
from tests.chaos.script import questions
from tests.chaos.upstream import Upstream, upstream
from tests.chaos.verdicts import Wrong, verdicts
from tests.line import Line

PATIENCE_S = 60.0
STAGGER_S = 0.8
SLOW = {"latency_s": 0.1, "jitter_s": 0.2, "piece_bytes": 300}
"""200 ms ± 100, in packets of their own: by a line of ours, since not every kernel has `tc netem`. TCP hides
loss and reordering from both ends: what is left of them is delay."""
SLOW_PART = 0.2
"""How many of the readers have such a line, in every third seed."""


WARM_MIB = 100.0
MOST_DESCRIPTORS = 500
"""Of an idle server: what the proxy and its upstream keep open, and then some."""

MOST_THREADS = 40
"""The event loops' pools have about 20, once they are used."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    faults: Sequence[Fault]
    readers: Sequence[Reader]
    damage: Damage
    wrong: Sequence[Wrong]
    took_s: float
    healed_s: float

    @property
    def told_s(self) -> float:
        """How long after the last harm before it a reader was told at the latest that it is interrupted."""
        return max(
            (
                reader.ended_s
                - max((at_s for at_s in self.damage.harms if at_s < reader.ended_s), default=reader.ended_s)
                for reader in self.readers
                if reader.ended == "interrupted"
            ),
            default=0.0,
        )

    def __str__(self) -> str:
        ended = Counter(reader.ended or "unended" for reader in self.readers)
        ends = " ".join(f"{count} {name}" for name, count in sorted(ended.items()))
        tries = sum(reader.tries for reader in self.readers)
        kinds = Counter(wrong.kind for wrong in self.wrong)
        said = " ".join(f"{count}x {kind}" for kind, count in kinds.items()) or "exact"
        what = ", ".join(map(str, self.faults))
        late = " and starved" if self.damage.starved else ""
        late += f" ({self.told_s:.1f} s)" if self.told_s else ""
        return f"seed {self.seed}: {said}; {ends}{late}; {tries} tries; {self.took_s:.1f} s; {what}"


class Soak:
    """A fleet under seeds; `kinds` are the faults that come."""

    def __init__(
        self,
        fleet: Fleet,
        upstream: Upstream,
        line: Line,
        streams: int,
        tokens: tuple[int, int],
        kinds: Sequence[str],
    ) -> None:
        self.fleet = fleet
        self._upstream = upstream
        self._line = line
        self._streams = streams
        self._tokens = tokens
        self._kinds = kinds
        self._turn = 0

    async def seed(self, seed: int) -> Outcome:
        """Questions, faults, and what is wrong afterwards."""
        self._turn += 1
        chance = random.Random(f"readers of {seed}")
        slow = seed % 3 == 0
        network = Network(self.fleet.proxy.port, chance, self._line.port if slow else None)
        readers = self._readers(seed, network, chance)
        asked = [reader.question for reader in readers if not reader.habits.follows]
        self._upstream.expect(asked)
        all_tokens = sum(len(question.tokens) for question in asked)
        faults, damage = schedule(seed, self._kinds), Damage()
        began_s = time.monotonic()
        reading = asyncio.gather(*[self._read(reader, chance.uniform(0, STAGGER_S)) for reader in readers])
        stage = Stage(self.fleet, network, damage)
        inflicting = asyncio.create_task(
            inflict(stage, faults, lambda: self._upstream.sent / all_tokens, reading.done)
        )
        await reading
        took_s = time.monotonic() - began_s
        await inflicting
        self.fleet.reload_proxy()  # it forgets which servers were gone
        try:
            await self.fleet.ready()
        except TimeoutError:
            damage.wrong.append("not all servers became ready again")
        wrong = await verdicts(readers, self._upstream, self.fleet, network, damage)
        return Outcome(seed, faults, readers, damage, wrong, took_s, time.monotonic() - began_s - took_s)

    def _readers(self, seed: int, network: Network, chance: random.Random) -> list[Reader]:
        """As many of each kind; who follows, follows one who asked before."""
        readers: list[Reader] = []
        script = iter(questions(seed, self._streams, self._tokens))
        for number in range(self._streams):
            habits, slow = KINDS[number % len(KINDS)], chance.random() < SLOW_PART
            own = random.Random(chance.random())
            if habits.follows:
                asker = chance.choice([each for each in readers if not each.by_completion])
                readers.append(Reader(asker.question, habits, network, own, slow, self._turn, asker))
            else:
                readers.append(Reader(next(script), habits, network, own, slow, self._turn))
        return readers

    async def _read(self, reader: Reader, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await reader.run(PATIENCE_S)


@asynccontextmanager
async def soak(
    folder: Path,
    runtime: str,
    *,
    streams: int,
    tokens: tuple[int, int] = (100, 300),
    kinds: Sequence[str] = all_faults.ALONE,
    workers: bool = False,
    goes_on: bool = False,
) -> AsyncIterator[Soak]:
    async with upstream() as answering, fleet(folder, runtime, answering, workers, goes_on) as running:
        line = Line(running.proxy.port)
        line.slow(**SLOW)
        try:
            yield Soak(running, answering, line, streams, tokens, kinds)
        finally:
            await asyncio.to_thread(line.close)


def told(outcome: Outcome, most: int = 3) -> str:
    """What happened in a seed, and to some of the readers for whom it went wrong."""
    lines = [f"faults of seed {outcome.seed}:", *outcome.damage.trace]
    for wrong in outcome.wrong[:8]:
        lines.append(f"WRONG {wrong.kind}: {wrong.what[-700:]}")
    for reader in list(dict.fromkeys(wrong.reader for wrong in outcome.wrong if wrong.reader))[:most]:
        lines.append(f"reader {reader.habits.name} of {reader.question.message}, stream {reader.stream_id}:")
        lines += reader.trace[-40:]
    return "\n  ".join(lines)


def growth(before: Size, now: Size) -> str | None:
    """What a process has too much of, compared with itself when it was warm."""
    if now.memory_mib > max(before.memory_mib, WARM_MIB) * 1.5 + 64:
        return f"{now.pid} grew from {before.memory_mib} to {now.memory_mib} MiB"
    if now.descriptors > MOST_DESCRIPTORS:
        return f"{now.pid} has {now.descriptors} descriptors"
    if now.threads > MOST_THREADS:
        return f"{now.pid} has {now.threads} threads"
    return None
