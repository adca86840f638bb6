"""Servers that die, freeze and end, a Redis that goes away, and lines that are cut: readers who come back get
every answer exactly, or are told that it was interrupted. `make soak` does it with many more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.chaos.soak import Outcome, soak, told

pytestmark = pytest.mark.server

T = TypeVar("T")

SEEDS = {"eventlet": (45, 57), "gevent": (20,)}
"""Between them they have most faults. On gevent, answers that a server leaves behind are gone on with."""


def in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: in the tests' one Playwright's loop may be running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def outcomes(folder: Path, runtime_name: str, seeds: Sequence[int]) -> list[Outcome]:
    goes_on = runtime_name == "gevent"
    async with soak(folder, runtime_name, streams=24, tokens=(60, 150), goes_on=goes_on) as soaking:
        return [await soaking.seed(seed) for seed in seeds]


def test_readers_lose_nothing_whatever_happens_to_what_they_read_from(
    tmp_path: Path, runtime_name: str
) -> None:
    for outcome in in_a_loop(outcomes(tmp_path, runtime_name, SEEDS[runtime_name])):
        print(outcome)
        assert not outcome.wrong, told(outcome)
