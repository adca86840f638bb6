"""What a server finds after the one before it died between any two steps of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.chat.engine import Engine
from backend.chat.errors import NotFound
from backend.chat.events import Failed, Finished, Header, Usage
from backend.chat.requests import Caller, ChatRequest, Idempotency
from backend.chat.rooms import Rooms
from backend.chat.sessions import Message, Session
from backend.chat.tasks import Limits
from backend.providers.catalog import Catalog
from backend.stores.database import Database
from backend.stores.sqlite import SqliteStreams
from backend.stores.sqlite_sessions import SqliteSessions
from tests.fakes.provider import Scripted, saying
from tests.fakes.runtime import ThreadRuntime

ME = Caller("", "127.0.0.1")
REQUEST = ChatRequest("hello", session_id="s", idempotency_key="k", fingerprint="f")
AT = "2999-01-01T00:00:00.000000+00:00"
HEADER = Header("stream", "", "s", "question", "answer", "scripted", AT, "127.0.0.1", REQUEST.idempotency(ME))
CLOSING = Finished("stop", 3, 0.1, 1.0, Usage(1, 3, 4), AT)
TEXT = ["one", " two", " three"]


@dataclass
class Life:
    """One process on the file, from its start to its death."""

    database: Database
    sessions: SqliteSessions
    streams: SqliteStreams
    runtime: ThreadRuntime

    def die(self) -> None:
        """Nothing is written any more, and nothing is tidied up."""
        self.streams._saved.clear()
        self.runtime.join()
        self.database.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[[], Life]]:
    lives: list[Life] = []

    def begin() -> Life:
        runtime = ThreadRuntime()
        database = Database(tmp_path / "chat.db", runtime)
        lives.append(
            Life(
                database,
                SqliteSessions(database, runtime, None),
                SqliteStreams(database, runtime, 3600),
                runtime,
            )
        )
        return lives[-1]

    yield begin
    lives[-1].die()


STEPS = ("create", "ask", "append", "seal", "answer", "close")


def live_until(life: Life, last: str) -> None:
    """An answer's steps in their order, up to one of them."""
    live_through(life, STEPS[1 : STEPS.index(last) + 1])


def live_through(life: Life, steps: Sequence[str]) -> None:
    log = life.streams.create(HEADER)
    for step in steps:
        if step == "ask":
            session = Session("", "s", None, None, None, AT, AT)
            life.sessions.ask(session, Message("question", "user", "hello", "done", AT), "hello")
        elif step == "append":
            life.streams.append(log, [*TEXT])
        elif step == "seal":
            life.streams.seal(log, CLOSING)
        elif step == "answer":
            text = "".join(TEXT)
            fields = ("scripted", 3, "stream", CLOSING, "question")
            answer = Message("answer", "assistant", text, "done", AT, *fields)
            life.sessions.answer("", "s", answer)
        elif step == "close":
            life.streams.close(log, CLOSING)
    life.die()


def engine_of(life: Life, provider: Scripted) -> Engine:
    catalog = Catalog([provider.model()])
    return Engine(catalog, life.sessions, life.streams, life.runtime, Rooms(), Limits(), [])


@pytest.mark.parametrize("last", STEPS[1:])
def test_stream_and_session_agree_wherever_the_server_died(live: Callable[[], Life], last: str) -> None:
    live_until(live(), last)
    life = live()
    provider = saying("fresh")
    engine = engine_of(life, provider)
    engine.recover()
    engine.recover()

    log = engine.find(ME, "stream")
    question, *answers = life.sessions.messages("", "s")
    assert question.content == "hello"
    assert len(answers) == 1
    assert answers[0].content == log.text
    assert answers[0].parent_id == question.id
    assert answers[0].closing == log.closing
    if last in ("answer", "close"):
        assert log.closing == CLOSING
        assert log.read(0).entries == TEXT
        assert log.closing_number == 4
    else:
        assert isinstance(log.closing, Failed)
        assert log.state == answers[0].status == "interrupted"
        assert log.closing_number > 1000, "a reader may hold more than was kept"
    if last == "seal":
        assert log.read(0).entries == TEXT
    assert engine.open(ME, REQUEST).header.stream_id == "stream", "the key joins what it began"
    assert provider.prompts == []
    fresh = engine.open(ME, ChatRequest("again", session_id="s"))
    assert fresh.wait_closed(10), "the session is free"


def test_a_saved_answer_gives_its_log_back_what_a_full_disk_kept_from_it(live: Callable[[], Life]) -> None:
    live_through(live(), ["ask", "append", "answer"])
    life = live()
    engine = engine_of(life, saying("x"))
    engine.recover()
    log = engine.find(ME, "stream")
    assert (log.text, log.closing) == ("".join(TEXT), CLOSING)


def test_a_stream_without_its_question_never_was(live: Callable[[], Life]) -> None:
    live_until(live(), "create")
    life = live()
    provider = saying("fresh")
    engine = engine_of(life, provider)
    engine.recover()
    with pytest.raises(NotFound):
        engine.find(ME, "stream")
    log = engine.open(ME, REQUEST)
    assert log.wait_closed(10)
    assert log.text == "fresh", "asking again asks"
    assert [message.role for message in life.sessions.messages("", "s")] == ["user", "assistant"]


def test_an_answer_outside_any_session_is_interrupted_alone(live: Callable[[], Life]) -> None:
    life = live()
    header = Header("stream", "", None, "q", "a", "scripted", AT, idempotency=Idempotency("x", "k", "f"))
    life.streams.append(life.streams.create(header), ["half"])
    life.die()
    life = live()
    engine_of(life, saying("x")).recover()
    assert life.streams.get("", "stream").state == "interrupted"
