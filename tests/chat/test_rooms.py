from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.chat.errors import NotFound, Unavailable
from backend.chat.news import News
from backend.chat.peers import Alone
from backend.chat.requests import ChatRequest
from backend.chat.rooms import Rooms
from tests.chat.world import ALICE, BOB, HELLO, ME, World
from tests.fakes.provider import Scripted, saying, until_stopped

Make = Callable[..., World]


def test_a_listener_hears_of_questions_answers_titles_and_the_end(world: Make) -> None:
    here = world(Scripted(["a"], until_stopped))
    first = here.engine.open(ME, HELLO)
    heard: list[News] = []
    assert here.conversations.join(ME, "s", heard.append) is first, "the answer that runs already"
    assert heard == [], "it is not told of"
    here.engine.stop(ME, first.header.stream_id)
    here.runtime.join()
    second = here.engine.open(ME, HELLO)
    here.conversations.change(ME, "s", {"title": "Greetings"})
    here.conversations.change(ME, "s", {"system": "Be brief"})
    here.engine.stop(ME, second.header.stream_id)
    here.runtime.join()
    here.conversations.delete(ME, "s")
    assert heard == [
        News("s", "message", None),
        News("s", "message", second),
        News("s", "title", second),
        News("s", "message", None),
        News("s", "deleted", None),
    ]


def test_an_answers_end_is_told_when_the_session_is_free_and_the_answer_in_it(world: Make) -> None:
    here = world(saying("done"))
    seen: list[str] = []
    session = here.conversations.create(ME, {})

    def look(news: News) -> None:
        if news.live is None:
            seen.append(here.answer(session.session_id).content)

    here.conversations.join(ME, session.session_id, look)
    here.ended(here.engine.open(ME, ChatRequest("hello", session_id=session.session_id)))
    here.runtime.join()
    assert seen == ["done"]


def test_nobody_hears_of_anothers_session(world: Make) -> None:
    here = world(saying("mine"))
    heard: list[News] = []
    here.ended(here.engine.open(ALICE, HELLO))
    for stranger in (BOB, ME):
        with pytest.raises(NotFound):
            here.conversations.join(stranger, "s", heard.append)
    here.ended(here.engine.open(ALICE, HELLO))
    here.runtime.join()
    assert heard == []


def test_who_could_not_join_hears_nothing_later(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store goes away between the two steps; who had joined before stays."""
    here = world(saying("done"))
    heard: list[News] = []
    before: list[News] = []
    session_id = here.conversations.create(ME, {}).session_id
    here.conversations.join(ME, session_id, before.append)

    def away(_owner: str, _session_id: str) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(here.streams, "running", away)
        for listener in (heard.append, before.append):
            with pytest.raises(Unavailable):
                here.conversations.join(ME, session_id, listener)
    here.conversations.change(ME, session_id, {"title": "new"})
    assert (heard, before) == ([], [News(session_id, "title")])


class Joined(Alone):
    """What is heard of from peers; `meanwhile` happens while one is told that somebody joins."""

    def __init__(self) -> None:
        self.sessions: set[tuple[str, str]] = set()
        self.meanwhile: Callable[[], None] = lambda: None

    def join(self, owner: str, session_id: str) -> None:
        self.sessions.add((owner, session_id))
        self.meanwhile()

    def leave(self, owner: str, session_id: str) -> None:
        self.sessions.discard((owner, session_id))


def test_who_joins_while_another_leaves_still_hears_of_it_from_the_peers() -> None:
    """As a page does that is loaded again."""
    peers = Joined()
    rooms = Rooms(peers)
    old: list[News] = []
    new: list[News] = []
    rooms.join("", "s", old.append)
    peers.meanwhile = lambda: rooms.leave("", "s", old.append)
    rooms.join("", "s", new.append)
    assert peers.sessions == {("", "s")}
    rooms.hear("", News("s", "title"))
    assert (len(old), len(new)) == (0, 1)


def test_who_could_not_be_announced_to_the_peers_has_not_joined() -> None:
    peers = Joined()
    rooms = Rooms(peers)
    heard: list[News] = []

    def away() -> None:
        raise Unavailable("away")

    peers.meanwhile = away
    with pytest.raises(Unavailable):
        rooms.join("", "s", heard.append)
    rooms.tell("", News("s", "title"))
    assert (heard, peers.sessions) == ([], set())


def test_who_joins_twice_hears_once_and_who_left_hears_nothing() -> None:
    rooms = Rooms()
    heard: list[News] = []
    news = News("s", "title")
    for _ in range(2):
        rooms.join("", "s", heard.append)
    rooms.tell("", news)
    rooms.tell("alice", news)
    assert heard == [news]
    rooms.leave("", "s", heard.append)
    rooms.leave("", "s", heard.append)
    rooms.tell("", news)
    assert heard == [news]
