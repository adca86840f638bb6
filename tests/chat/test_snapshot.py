from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.errors import NotFound
from backend.chat.requests import Caller, ChatRequest
from backend.chat.rooms import Rooms
from backend.chat.snapshot import Snapshot
from backend.chat.tasks import Limits
from backend.providers.catalog import Catalog
from tests.fakes.provider import Scripted, saying, until_stopped
from tests.stores.kinds import Stores

Chat = tuple[Engine, Conversations]
ME = Caller("", "127.0.0.1")


@pytest.fixture
def chat_with(open_stores: Callable[..., Stores]) -> Callable[[Scripted], Chat]:
    def make(provider: Scripted) -> Chat:
        stores = open_stores()
        catalog = Catalog([provider.model()])
        sessions, streams, runtime, rooms = stores.sessions, stores.streams, stores.runtime, Rooms()
        engine = Engine(catalog, sessions, streams, runtime, rooms, Limits(), [])
        return engine, Conversations(engine, catalog, sessions, streams, rooms, runtime)

    return make


def assert_one_moment(seen: Snapshot) -> None:
    """Every question has its answer, once; the last may have it in the making instead."""
    roles = [message.role for message in seen.messages]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert (len(roles) % 2 == 1) is (seen.live is not None)
    assert seen.session.message_count == len(roles)


def test_whoever_reads_while_others_ask_sees_one_moment(chat_with: Callable[[Scripted], Chat]) -> None:
    engine, conversations = chat_with(saying("a few words"))
    over = threading.Event()

    def converse() -> None:
        for _ in range(75):
            assert engine.open(ME, ChatRequest("hello", session_id="s")).wait_closed(10)
        over.set()

    asker = threading.Thread(target=converse)
    asker.start()
    seen = 0
    while not over.is_set():
        with contextlib.suppress(NotFound):
            assert_one_moment(conversations.snapshot(ME, "s"))
            seen += 1
    asker.join(10)
    assert seen > 10
    with pytest.raises(NotFound):
        conversations.snapshot(ME, "none")


def test_a_running_answer_is_shown_with_its_question(chat_with: Callable[[Scripted], Chat]) -> None:
    engine, conversations = chat_with(Scripted(["half"], until_stopped))
    log = engine.open(ME, ChatRequest("hello", session_id="s"))
    seen = conversations.snapshot(ME, "s")
    assert seen.live is log
    assert_one_moment(seen)
    engine.stop(ME, log.header.stream_id)
    seen = conversations.snapshot(ME, "s")
    assert_one_moment(seen)
