from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.chat.ports import Admission
from tests.chat.world import World
from tests.fakes.provider import Scripted


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(provider: Scripted, *admissions: Admission, **options: Any) -> World:
        made.append(World(provider, *admissions, **options))
        return made[-1]

    yield make
    for each in made:
        each.engine.drain(lambda: 0.0)
        each.runtime.join()
