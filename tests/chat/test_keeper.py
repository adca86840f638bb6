from __future__ import annotations

import threading

from backend.chat.errors import Unavailable
from backend.chat.keeper import Keeper
from backend.chat.sessions import Message
from backend.stores.memory import MemorySessions, MemoryStreams
from tests.fakes.runtime import ThreadRuntime
from tests.stores.kinds import finished
from tests.stores.test_contract import header, question, session


class Slow(MemorySessions):
    """A store that is away for the first try and takes its time for the second."""

    def __init__(self) -> None:
        super().__init__(ThreadRuntime(), None, 10**7, 100)
        self.tried = threading.Event()
        self.going_on = threading.Event()
        self.is_away = True

    def answer(self, owner: str, session_id: str, answer: Message) -> None:
        if self.is_away:
            self.is_away = False
            raise Unavailable("away")
        self.tried.set()
        assert self.going_on.wait(5)
        super().answer(owner, session_id, answer)


def test_an_answer_counts_as_unsaved_until_it_is_saved() -> None:
    """Or a server that ends, and looks whether it may, would not wait for it."""
    sessions, runtime = Slow(), ThreadRuntime()
    streams = MemoryStreams(runtime, 60, 10**7)
    sessions.ask(session(), question(), "why")
    log = streams.create(header("1", "s"))
    keeper = Keeper(sessions, streams, runtime)
    keeper.save(log, finished())
    runtime.spawn(lambda: keeper.save_unsaved() and None)
    assert sessions.tried.wait(5)
    seen: list[bool] = []
    runtime.spawn(lambda: seen.append(keeper.save_unsaved()))
    threading.Event().wait(0.1)
    assert seen == [], "it waits for the same"
    sessions.going_on.set()
    runtime.join()
    assert seen == [True]
    assert [message.role for message in sessions.messages("", "s")] == ["user", "assistant"]
