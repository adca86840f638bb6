"""Questions asked again at an earlier place, on every store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.conversations import Conversations
from backend.chat.engine import Engine
from backend.chat.errors import IdempotencyMismatch, NotFound, SessionBusy
from backend.chat.events import Closing
from backend.chat.log import Log
from backend.chat.ports import Ended
from backend.chat.requests import Caller, ChatRequest, Parent
from backend.chat.rooms import Rooms
from backend.chat.sessions import Message
from backend.chat.tasks import Limits
from backend.chat.versions import newest_path, path_to
from backend.providers.catalog import Catalog
from tests.chat.test_engine import Doorman
from tests.chat.world import ALICE, ME
from tests.fakes.provider import Scripted, until_stopped
from tests.stores.kinds import Stores

BEGINNING = Parent(None)


@dataclass
class Chat:
    engine: Engine
    conversations: Conversations
    provider: Scripted
    doorman: Doorman
    stores: Stores

    def ask(self, message: str, parent: Parent | None = None, caller: Caller = ME, **more: str) -> Log:
        request = ChatRequest(message, session_id="s", parent=parent, **more)  # type: ignore[arg-type]
        log = self.engine.open(caller, request)
        self.ended(log)
        return log

    def ended(self, log: Log) -> Closing:
        assert log.wait_closed(10), "the answer did not end"
        assert log.closing is not None
        return log.closing

    def shown(self) -> list[str]:
        """What the model was last asked."""
        return [str(message["content"]) for message in self.provider.prompts[-1].messages]

    def path(self) -> list[str]:
        return [message.id for message in self.conversations.snapshot(ME, "s").path]


@pytest.fixture
def chat_with(open_stores: Callable[..., Stores]) -> Callable[[Scripted], Chat]:
    def make(provider: Scripted) -> Chat:
        stores, rooms, doorman = open_stores(), Rooms(), Doorman()
        catalog = Catalog([provider.model()])
        sessions, streams, runtime = stores.sessions, stores.streams, stores.runtime
        engine = Engine(catalog, sessions, streams, runtime, rooms, Limits(), [doorman])
        conversations = Conversations(engine, catalog, sessions, streams, rooms, runtime)
        return Chat(engine, conversations, provider, doorman, stores)

    return make


@pytest.fixture
def chat(chat_with: Callable[[Scripted], Chat]) -> Chat:
    return chat_with(Scripted(["so"], Ended("stop")))


def ids(*logs: Log) -> list[str]:
    return [name for log in logs for name in (log.header.question_id, log.header.message_id)]


def after(log: Log) -> Parent:
    return Parent(log.header.message_id)


def test_without_a_parent_a_question_comes_after_the_newest_message(chat: Chat) -> None:
    first, second = chat.ask("one"), chat.ask("two")
    assert chat.shown() == ["one", "so", "two"]
    messages = chat.stores.sessions.messages("", "s")
    assert [message.parent_id for message in messages] == [None, *ids(first, second)[:-1]]
    assert chat.path() == ids(first, second)


def test_a_question_asked_again_elsewhere_is_a_version_beside_the_first(chat: Chat) -> None:
    first, second = chat.ask("one"), chat.ask("two")
    edited = chat.ask("two, edited", after(first))
    assert chat.shown() == ["one", "so", "two, edited"]
    assert chat.path() == ids(first, edited)
    on = chat.ask("three")
    assert chat.shown() == ["one", "so", "two, edited", "so", "three"]
    back = chat.ask("three, of the first version", after(second))
    assert chat.shown() == ["one", "so", "two", "so", "three, of the first version"]
    assert chat.path() == ids(first, second, back)
    seen = chat.conversations.snapshot(ME, "s")
    assert [message.id for message in seen.messages] == ids(first, second, edited, on, back)
    assert seen.session.message_count == 10


def test_the_very_first_question_can_be_asked_again(chat: Chat) -> None:
    chat.ask("one")
    chat.ask("two")
    again = chat.ask("one, edited", BEGINNING)
    assert chat.shown() == ["one, edited"]
    assert chat.path() == ids(again)
    regenerated = chat.ask("one, edited", BEGINNING)
    assert chat.path() == ids(regenerated)
    assert len(chat.conversations.snapshot(ME, "s").messages) == 8


def test_a_new_session_can_be_begun_at_its_beginning(chat: Chat) -> None:
    named = chat.ask("one", BEGINNING)
    assert chat.path() == ids(named)
    made = chat.engine.open(ME, ChatRequest("hello", parent=BEGINNING))
    chat.ended(made)
    assert made.header.session_id
    found = chat.conversations.snapshot(ME, made.header.session_id)
    assert [message.id for message in found.path] == ids(made)


def test_a_question_without_an_answer_can_be_gone_on_from(chat: Chat) -> None:
    first = chat.ask("one")
    lost = Message("lost", "user", "lost", "done", "2026-01-01", parent_id=first.header.message_id)
    session = chat.stores.sessions.get("", "s")
    assert session
    chat.stores.sessions.ask(session, lost, "t")
    then = chat.ask("two", Parent("lost"))
    assert chat.shown() == ["one", "so", "two"]
    assert chat.path() == [*ids(first), "lost", *ids(then)]


def test_an_unknown_parent_is_refused_before_anything_is_spent_and_leaves_nothing(chat: Chat) -> None:
    first = chat.ask("one")
    elsewhere = chat.engine.open(ME, ChatRequest("one", session_id="t"))
    hers = chat.ask("one", caller=ALICE)
    chat.ended(elsewhere)
    admitted = chat.doorman.admitted
    for session_id, parent in (
        ("s", Parent("unknown")),
        ("s", after(elsewhere)),
        ("s", after(hers)),
        ("s", Parent("")),
        ("new", after(first)),
        (None, after(first)),
    ):
        with pytest.raises(NotFound, match="no such message"):
            chat.engine.open(ME, ChatRequest("two", session_id=session_id, parent=parent))
    assert chat.doorman.admitted == admitted
    assert chat.path() == ids(first)
    assert chat.stores.sessions.get("", "new") is None
    assert chat.ask("two"), "the session is free"


def test_a_session_that_answers_is_busy_whatever_a_question_is_to_come_after(
    chat_with: Callable[[Scripted], Chat],
) -> None:
    chat = chat_with(Scripted(["half"], until_stopped))
    log = chat.engine.open(ME, ChatRequest("one", session_id="s"))
    for parent in (None, BEGINNING, Parent(log.header.question_id), after(log), Parent("unknown")):
        with pytest.raises(SessionBusy):
            chat.engine.open(ME, ChatRequest("two", session_id="s", parent=parent))
    chat.engine.stop(ME, log.header.stream_id)


def test_the_path_ends_with_the_question_that_is_being_answered(
    chat_with: Callable[[Scripted], Chat],
) -> None:
    """Whatever was saved since: here the answer to an earlier question, which was late."""
    chat = chat_with(Scripted(["half"], until_stopped))
    log = chat.engine.open(ME, ChatRequest("one", session_id="s"))
    late = Message("late", "assistant", "so", "done", "2026-01-01", parent_id="elsewhere")
    chat.stores.sessions.answer("", "s", late)
    assert chat.path() == [log.header.question_id]
    chat.engine.stop(ME, log.header.stream_id)


def test_a_deleted_sessions_messages_are_nobodys_parents(chat: Chat) -> None:
    first = chat.ask("one")
    chat.conversations.delete(ME, "s")
    with pytest.raises(NotFound):
        chat.ask("two", after(first))
    again = chat.ask("one again", BEGINNING)
    assert chat.path() == ids(again)


def test_a_session_that_is_deleted_while_a_question_gets_in_is_not_made_again(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chat.ask("one")
    settled = len(chat.doorman.settled)
    monkeypatch.setattr(chat.doorman, "admit", lambda _asking: chat.stores.sessions.delete("", "s"))
    with pytest.raises(NotFound):
        chat.ask("two", after(first))
    assert chat.stores.sessions.get("", "s") is None
    assert chat.doorman.settled[settled:] == [None], "it gave back what it had taken"


def test_a_key_joins_its_answer_also_where_its_parent_is_gone(chat: Chat) -> None:
    first = chat.ask("one")
    once = chat.ask("two", after(first), idempotency_key="k", fingerprint="f")
    assert chat.ask("two", after(first), idempotency_key="k", fingerprint="f").header == once.header
    with pytest.raises(IdempotencyMismatch):
        chat.ask("two", BEGINNING, idempotency_key="k", fingerprint="g")
    assert chat.path() == ids(first, once)


@given(st.lists(st.integers(0, 40), max_size=40))
def test_a_path_follows_the_parents_to_the_beginning(choices: Sequence[int]) -> None:
    messages: list[Message] = []
    for n, choice in enumerate(choices):
        parent = choice % (n + 1) - 1
        blank = Message(str(n), "user", "", "done", "")
        messages.append(replace(blank, parent_id=None if parent < 0 else str(parent)))
    for message in messages:
        path = path_to(messages, message.id)
        assert path[-1] is message
        assert [each.parent_id for each in path] == [None, *(each.id for each in path[:-1])]
    assert path_to(messages, "unknown") == path_to(messages, None) == []
    assert list(newest_path(messages)) == (list(path_to(messages, messages[-1].id)) if messages else [])


def test_parents_in_a_circle_have_an_end() -> None:
    circle = [Message(n, "user", "", "done", "", parent_id=parent) for n, parent in ("ab", "bc", "ca", "dd")]
    assert [message.id for message in path_to(circle, "c")] == ["a", "c"]
    assert [message.id for message in path_to(circle, "d")] == ["d"]
