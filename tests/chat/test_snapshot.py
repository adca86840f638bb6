from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.chat.engine import Engine, Limits
from backend.chat.requests import Caller, ChatRequest
from backend.chat.snapshot import Snapshot
from backend.providers.catalog import Catalog
from tests.fakes.provider import Scripted, saying, until_stopped
from tests.fakes.runtime import ThreadRuntime
from tests.stores.test_contract import KINDS, Stores

ME = Caller("", "127.0.0.1")


@pytest.fixture(params=KINDS)
def engine_with(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Scripted], Engine]]:
    opened: list[Stores] = []

    def make(provider: Scripted) -> Engine:
        stores = KINDS[request.param](ThreadRuntime(), tmp_path, 3600)
        opened.append(stores)
        catalog = Catalog([provider.model()])
        return Engine(catalog, stores.sessions, stores.streams, stores.runtime, Limits(), [])

    yield make
    for stores in opened:
        stores.close()


def assert_one_moment(seen: Snapshot) -> None:
    """Every question has its answer, once; the last may have it in the making instead."""
    roles = [message.role for message in seen.messages]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert (len(roles) % 2 == 1) is (seen.live is not None)
    assert seen.session.message_count == len(roles)


def test_whoever_reads_while_others_ask_sees_one_moment(engine_with: Callable[[Scripted], Engine]) -> None:
    engine = engine_with(saying("a few words"))
    over = threading.Event()

    def converse() -> None:
        for _ in range(150):
            assert engine.open(ME, ChatRequest("hello", session_id="s")).wait_closed(10)
        over.set()

    asker = threading.Thread(target=converse)
    asker.start()
    seen = 0
    while not over.is_set():
        if found := engine.snapshot(ME, "s"):
            assert_one_moment(found)
            seen += 1
    asker.join(10)
    assert seen > 10
    assert engine.snapshot(ME, "none") is None


def test_a_running_answer_is_shown_with_its_question(engine_with: Callable[[Scripted], Engine]) -> None:
    engine = engine_with(Scripted(["half"], until_stopped))
    log = engine.open(ME, ChatRequest("hello", session_id="s"))
    seen = engine.snapshot(ME, "s")
    assert seen
    assert seen.live is log
    assert_one_moment(seen)
    engine.stop(ME, log.header.stream_id)
    seen = engine.snapshot(ME, "s")
    assert seen
    assert_one_moment(seen)
