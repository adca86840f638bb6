"""What happens to a fleet, and when."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.chaos.connections import Network
from tests.chaos.fleet import LEASE_S, SERVERS, Fleet

LATEST_S = 8.0
"""When a fault comes whatever the upstream has sent."""


@dataclass(frozen=True, slots=True)
class Fault:
    """It comes when the upstream has sent that `part` of all tokens, to the server of that number if servers
    have that kind, and is over after `lasts_s`."""

    kind: str
    part: float
    server: int
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.kind}({self.server}) at {self.part:.3f} for {self.lasts_s:.2f} s"


@dataclass(slots=True)
class Damage:
    """What faults have done. `harmed`: when a server may have lost its answers; `outages`: from when to when
    Redis was away; `starved`: which were stopped for too long by a machine that has too much to do."""

    trace: list[str] = field(default_factory=list)
    harmed: dict[int, list[float]] = field(default_factory=dict)
    outages: list[tuple[float, float]] = field(default_factory=list)
    starved: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    @property
    def harms(self) -> list[float]:
        return [at_s for each in self.harmed.values() for at_s in each]

    def note(self, what: object) -> None:
        self.trace.append(f"{time.monotonic():.3f} {what}")

    def harm(self, server: int) -> None:
        self.harmed.setdefault(server, []).append(time.monotonic())


class Stage:
    """Where faults happen: a server has one at a time, and so has Redis."""

    def __init__(self, fleet: Fleet, network: Network, damage: Damage) -> None:
        self.fleet = fleet
        self.network = network
        self.damage = damage
        self.servers = [asyncio.Lock() for _ in range(SERVERS)]
        self.redis = asyncio.Lock()


async def kill(stage: Stage, fault: Fault) -> None:
    """SIGKILL, and a new process a moment later."""
    async with stage.servers[fault.server]:
        stage.damage.harm(fault.server)
        await stage.fleet.kill(fault.server)
        stage.damage.note(f"killed {fault.server}")
        await asyncio.sleep(fault.lasts_s)
        await stage.fleet.revive(fault.server)
        stage.damage.note(f"{fault.server} is back")


async def freeze(stage: Stage, fault: Fault) -> None:
    """SIGSTOP past its lease, then SIGCONT: what it writes then is refused."""
    async with stage.servers[fault.server]:
        stage.damage.harm(fault.server)
        pid = stage.fleet.signal(fault.server, signal.SIGSTOP)
        await asyncio.sleep(LEASE_S + fault.lasts_s)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        stage.damage.note(f"{fault.server} goes on")


async def drain(stage: Stage, fault: Fault) -> None:
    """SIGTERM: it hands its readers over and ends by itself."""
    async with stage.servers[fault.server]:
        stage.damage.harm(fault.server)
        try:
            code = await stage.fleet.end(fault.server)
        except Exception as exc:  # noqa: BLE001
            stage.damage.wrong.append(f"it did not end: {exc!r}")
            await stage.fleet.kill(fault.server)
        else:
            stage.damage.note(f"{fault.server} has ended")
            if code:
                stage.damage.wrong.append(f"a drained server ended with {code}")
        await stage.fleet.revive(fault.server)
        stage.damage.note(f"{fault.server} is back")


async def kill_redis(stage: Stage, fault: Fault) -> None:
    async with stage.redis:
        redis, began_s = stage.fleet.redis, time.monotonic()
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(fault.lasts_s / 2)
        await asyncio.to_thread(redis.start)
        stage.damage.outages.append((began_s, time.monotonic()))
        stage.damage.note("Redis is back")


async def freeze_redis(stage: Stage, fault: Fault) -> None:
    async with stage.redis:
        redis, began_s = stage.fleet.redis, time.monotonic()
        await asyncio.to_thread(redis.freeze)
        await asyncio.sleep(0.5 + fault.lasts_s)
        redis.thaw()
        stage.damage.outages.append((began_s, time.monotonic()))
        stage.damage.note("Redis goes on")


async def roll(stage: Stage, fault: Fault) -> None:
    """SIGHUP: where a parent has them, all servers are replaced, one by one."""
    async with AsyncExitStack() as stack:
        for server in stage.servers:
            await stack.enter_async_context(server)
        for number in range(SERVERS):
            stage.damage.harm(number)
        old = stage.fleet.pids()
        if stage.fleet.workers:
            await stage.fleet.roll()
        for number in range(SERVERS):
            stage.damage.harm(number)
        stage.damage.note(f"{old} were replaced by {stage.fleet.pids()}")


async def reset(stage: Stage, fault: Fault) -> None:
    stage.damage.note(f"{stage.network.reset()} connections were reset")


async def reload(stage: Stage, fault: Fault) -> None:
    stage.fleet.reload_proxy()


KINDS: dict[str, Callable[[Stage, Fault], Awaitable[None]]] = {
    "kill": kill,
    "freeze": freeze,
    "drain": drain,
    "kill-redis": kill_redis,
    "freeze-redis": freeze_redis,
    "roll": roll,
    "reset": reset,
    "reload": reload,
}
WEIGHTS = {"kill": 4, "freeze": 2, "drain": 1}
"""How often one comes; the others once."""

ALONE = tuple(kind for kind in KINDS if kind != "roll")
"""What can happen to servers without a parent."""

Schedule: TypeAlias = Sequence[Fault]


def schedule(seed: int, kinds: Sequence[str] = ALONE) -> list[Fault]:
    """One to three of these, in their order; a third of them early, when questions are just being asked."""
    chance = random.Random(f"faults of {seed}")
    weights = [WEIGHTS.get(kind, 1) for kind in kinds]
    faults = [
        Fault(
            kind,
            chance.uniform(0.0, 0.95) ** chance.choice((1, 1, 4)),
            chance.randrange(SERVERS),
            chance.uniform(0.1, 1.5),
        )
        for kind in chance.choices(kinds, weights, k=chance.choice((1, 1, 2, 2, 3)))
    ]
    return sorted(faults, key=lambda fault: fault.part)


async def inflict(
    stage: Stage, faults: Schedule, part: Callable[[], float], over: Callable[[], bool]
) -> None:
    """Each at its time, unless all is `over` before; `part` is what has been sent. Returns when the last one
    is mended."""
    began_s = time.monotonic()
    running = []
    for fault in faults:
        while part() < fault.part and not over() and time.monotonic() - began_s < LATEST_S:
            await asyncio.sleep(0.005)
        if over():
            stage.damage.note(f"{fault} came too late")
            continue
        stage.damage.note(fault)
        stage.damage.done.add(fault.kind)
        running.append(asyncio.create_task(KINDS[fault.kind](stage, fault)))  # type: ignore[arg-type]
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, BaseException):
            stage.damage.wrong.append(f"a fault could not be mended: {result!r}")
