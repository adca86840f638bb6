"""Workers with group commit against Redis shards, event by event.

A worker is one loop. In each turn of it, it hands on what Redis has acknowledged, takes what its models have
ready and, unless a pipeline is under way, sends all that has gathered as one. An answer is in one of four
states: its next token is not due, some have gathered, they are under way, they are being handed on. So where
all of this takes longer, each time carries more tokens, as in the real thing.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import TypeAlias

from bench.capacity.clock import Clock, Cores, Process
from bench.capacity.costs import Costs
from bench.capacity.plan import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """`share` is the rate beside the ideal one, `row_tokens` how many tokens are written at once,
    `rows_per_s` what all shards take together. `worker` and `redis` are how busy the busiest is,
    `worker_us` the time of all workers for each token.
    With `for_s`, all is of the time between `ramp_s` and that."""

    tokens: int
    share: float
    p50_ms: float
    p99_ms: float
    row_tokens: float
    rows_per_s: float
    worker_us: float
    worker: float
    redis: float


@dataclass(slots=True, eq=False)
class Stream:
    """`kept` are the tokens Redis has, `told` those its reader has."""

    due_s: float
    shard: int
    reader: Worker | None
    begun_s: float = 0.0
    taken: int = 0
    kept: int = 0
    told: int = 0
    last_s: float = 0.0


Part: TypeAlias = tuple[Stream, int]
"""An answer, and how many tokens of it."""


@dataclass(slots=True)
class Seen:
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    tokens: int = 0
    rows: int = 0
    row_tokens: int = 0
    ended_s: float = 0.0


class System:
    """All of it. The random numbers decide which worker a stream comes to, and where it is read."""

    def __init__(self, plan: Plan, costs: Costs) -> None:
        self.plan = plan
        self.costs = costs
        self.clock = Clock()
        self.seen = Seen()
        self._shared = Cores(self.clock, plan.cores) if plan.cores else None
        self._shards = [self._process() for _ in range(plan.shards)]
        self._load = self._process() if plan.cores else None
        self._workers = [Worker(self, self._process()) for _ in range(plan.workers)]
        self._dice = Random(plan.seed)
        self._marks: list[list[float]] = []

    def _process(self) -> Process:
        return Process(self._shared or Cores(self.clock, 1), 1 / (1 - self.plan.taken))

    def run(self) -> Outcome:
        plan = self.plan
        for number in range(plan.streams):
            self.clock.at(plan.ramp_s * number / plan.streams, partial(self._ask, number))
        answer_s = (plan.tokens - 1) / plan.rate
        window = (plan.ramp_s, plan.for_s) if plan.for_s else (min(plan.ramp_s, answer_s / 2), answer_s)
        for at_s in window:
            self.clock.at(at_s, self._mark)
        self.clock.run(plan.for_s or plan.limit_s)
        return self._outcome(window[1] - window[0])

    def _mark(self) -> None:
        """How long everybody has worked."""
        if self.plan.for_s:
            self.seen = Seen() if not self._marks else self.seen
        processes = [worker.process for worker in self._workers] + self._shards
        self._marks.append([process.busy_s for process in processes])

    def _outcome(self, window_s: float) -> Outcome:
        plan, seen = self.plan, self.seen
        gaps = sorted(seen.gaps_s)
        together = max(0, seen.tokens - len(gaps))
        busy = [(then - now) / window_s for now, then in zip(*self._marks, strict=True)]
        if plan.for_s:
            share, lasted_s = seen.tokens / (plan.streams * plan.rate * window_s), window_s
        else:
            ideal_s = plan.ramp_s * (plan.streams - 1) / plan.streams + (plan.tokens - 1) / plan.rate
            lasted_s = seen.ended_s
            share = ideal_s / lasted_s if seen.tokens == plan.streams * plan.tokens else 0.0
        return Outcome(
            tokens=seen.tokens,
            share=share,
            p50_ms=1000 * quantile(gaps, together, 0.5),
            p99_ms=1000 * quantile(gaps, together, 0.99),
            row_tokens=seen.row_tokens / max(1, seen.rows),
            rows_per_s=seen.rows / lasted_s,
            worker_us=self._worked_us(window_s, sum(busy[: plan.workers])),
            worker=max(busy[: plan.workers]),
            redis=max(busy[plan.workers :]),
        )

    def _worked_us(self, window_s: float, busy: float) -> float:
        """Of a crowd from its beginning to its end, else of the time looked at."""
        if not self.plan.for_s:
            return sum(worker.process.busy_s for worker in self._workers) * 1e6 / max(1, self.seen.tokens)
        return busy * window_s * 1e6 / max(1, self.seen.tokens)

    def _ask(self, number: int) -> None:
        """A worker takes it that is not at work, if there is one."""
        at = self._dice.randrange(len(self._workers))
        order = self._workers[at:] + self._workers[:at] if len(self._workers) <= 8 else [self._workers[at]]
        worker = next((each for each in order if not each.working), order[0])
        reader = None
        if len(self._workers) > 1 and self._dice.random() < self.plan.elsewhere:
            reader = self._dice.choice([each for each in self._workers if each is not worker])
        worker.begin(Stream(self.clock.now_s, number % self.plan.shards, reader))

    def exchange(self, parts: Sequence[Part], then: Callable[[], None]) -> None:
        """One pipeline, to every shard that it concerns; it is answered when all of them have."""
        costs = self.costs
        work_s = defaultdict[int, float](float)
        for stream, count in parts:
            rows = 1 + costs.redis_open * (stream.kept == 0)
            rows += costs.redis_close * (stream.kept + count == self.plan.tokens)
            work_s[stream.shard] += rows * costs.redis_row_s
            self.seen.row_tokens += count
        self.seen.rows += len(parts)
        self._send(work_s, then)

    def fetch(self, streams: Sequence[Stream], then: Callable[[], None]) -> None:
        work_s = defaultdict[int, float](float)
        for stream in streams:
            work_s[stream.shard] += self.costs.redis_fetch_s
        self._send(work_s, then)

    def _send(self, work_s: Mapping[int, float], then: Callable[[], None]) -> None:
        left = len(work_s)
        costs = self.costs

        def answered() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.clock.at(self.clock.now_s + costs.way_s, then)

        for shard, each_s in work_s.items():
            job = partial(self._shards[shard].do, costs.redis_exchange_s + each_s, answered)
            self.clock.at(self.clock.now_s + costs.way_s, job)

    def nudge(self, stream: Stream) -> None:
        """Tell the worker it is read in that there is more."""
        assert stream.reader is not None
        tell = partial(stream.reader.hear, stream)
        self._shards[stream.shard].do(self.costs.redis_nudge_s, tell)

    def deliver(self, parts: Sequence[Part]) -> None:
        if self._load is None:
            self._arrive(parts)
        else:
            self._load.do(len(parts) * self.costs.client_s, partial(self._arrive, parts))

    def _arrive(self, parts: Sequence[Part]) -> None:
        now_s, seen, plan = self.clock.now_s, self.seen, self.plan
        for stream, count in parts:
            if stream.told:
                seen.gaps_s.append(now_s - stream.last_s)
            stream.told += count
            stream.last_s = now_s
            seen.tokens += count
            seen.ended_s = now_s
            if stream.told == plan.tokens and now_s < plan.for_s:
                self._ask(self._dice.randrange(plan.shards))


class Worker:
    """Its loop: what `_turn` finds to do is one piece of work, and what comes of it happens at its end."""

    def __init__(self, system: System, process: Process) -> None:
        self.process = process
        self.working = False
        self._system = system
        self._due: list[tuple[float, int, Stream]] = []
        self._number = 0
        self._wakes_s = inf
        self._gathered: list[Part] = []
        self._kept: list[Part] = []
        self._flying = False
        self._news: dict[Stream, None] = {}
        self._fetched: list[Stream] = []
        self._fetching = False

    def begin(self, stream: Stream) -> None:
        self._wait(stream)
        self._wake()

    def hear(self, stream: Stream) -> None:
        """There is news in an answer that is read here."""
        self._news[stream] = None
        self._wake()

    def _wait(self, stream: Stream) -> None:
        """For its next token."""
        self._number += 1
        heappush(self._due, (stream.due_s, self._number, stream))

    def _wake(self) -> None:
        if not self.working:
            self.working = True
            self._turn()

    def _turn(self) -> None:
        told: list[Part] = []
        news: list[Stream] = []
        cost_s = self._hand_on(told, news) + self._hand_on_fetched(told) + self._take()
        sent: list[Part] = []
        fetch: list[Stream] = []
        if self._gathered and not self._flying:
            sent, self._gathered, self._flying = self._gathered, [], True
            cost_s += self._system.costs.exchange_s * len({stream.shard for stream, _ in sent})
        if self._news and not self._fetching:
            fetch, self._news, self._fetching = list(self._news), {}, True
            cost_s += self._system.costs.exchange_s * len({stream.shard for stream in fetch})
        if cost_s:
            self.process.do(cost_s, partial(self._after, told, news, sent, fetch))
        else:
            self.working = False
            self._sleep()

    def _after(
        self, told: list[Part], news: list[Stream], sent: list[Part], fetch: list[Stream]
    ) -> None:  # fmt: skip
        if told:
            self._system.deliver(told)
        for stream in news:
            self._system.nudge(stream)
        if sent:
            self._system.exchange(sent, partial(self._acknowledged, sent))
        if fetch:
            self._system.fetch(fetch, partial(self._got, fetch))
        self._turn()

    def _hand_on(self, told: list[Part], news: list[Stream]) -> float:
        """What Redis has acknowledged."""
        costs, plan = self._system.costs, self._system.plan
        cost_s = 0.0
        parts, self._kept = self._kept, []
        for stream, count in parts:
            stream.kept += count
            cost_s += (costs.turn_s + count * costs.token_s) / 2
            if stream.reader is None:
                told.append((stream, count))
            else:
                cost_s += costs.nudge_s
                news.append(stream)
            if stream.taken == plan.tokens:
                cost_s += costs.close_s
            else:
                stream.due_s = stream.begun_s + stream.taken / plan.rate
                self._wait(stream)
        return cost_s

    def _hand_on_fetched(self, told: list[Part]) -> float:
        streams, self._fetched = self._fetched, []
        told += [(stream, stream.kept - stream.told) for stream in streams if stream.kept > stream.told]
        return len(streams) * self._system.costs.fetch_s

    def _take(self) -> float:
        """What the models have ready."""
        costs, plan, now_s = self._system.costs, self._system.plan, self._system.clock.now_s
        cost_s = 0.0
        while self._due and self._due[0][0] <= now_s:
            stream = heappop(self._due)[2]
            if not stream.taken:
                cost_s += costs.open_s
                stream.begun_s = now_s
            generated = int((now_s - stream.begun_s) * plan.rate + 1e-6) + 1
            count = max(1, min(generated, plan.tokens) - stream.taken)
            stream.taken += count
            cost_s += (costs.turn_s + count * costs.token_s) / 2
            self._gathered.append((stream, count))
        return cost_s

    def _sleep(self) -> None:
        """Until the next token is due."""
        if self._due and not self._system.clock.now_s < self._wakes_s <= self._due[0][0]:
            self._wakes_s = self._due[0][0]
            self._system.clock.at(self._wakes_s, self._wake)

    def _acknowledged(self, parts: list[Part]) -> None:
        self._kept += parts
        self._flying = False
        self._wake()

    def _got(self, streams: list[Stream]) -> None:
        self._fetched += streams
        self._fetching = False
        self._wake()


def quantile(ordered: Sequence[float], zeros: int, part: float) -> float:
    """Of these and so many zeros."""
    at = int(part * (len(ordered) + zeros - 1)) - zeros
    return ordered[at] if at >= 0 and ordered else 0.0


def simulate(plan: Plan, costs: Costs) -> Outcome:
    return System(plan, costs).run()
