"""Questions that were refused because Redis or their server was away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.chat.errors import NotFound, Unavailable
from backend.chat.events import Failed
from backend.chat.keeper import Keeper
from backend.chat.sessions import Message, Session
from backend.stores.redis.client import connector
from backend.stores.redis.keys import PROCESSES
from tests.programs import until
from tests.stores.kinds import Stores
from tests.stores.test_contract import KEY, header

AT = "2999-01-01T00:00:00.000000+00:00"

pytestmark = pytest.mark.parametrize("kind", ["redis", "cluster"])


def asked(stores: Stores, stream_id: str) -> None:
    session = Session("", "s", None, None, None, AT, AT)
    stores.sessions.ask(session, Message(f"q-{stream_id}", "user", stream_id, "done", AT), "title")


def questions(stores: Stores) -> list[str]:
    return [message.content for message in stores.sessions.messages("", "s")]


def test_a_refused_question_leaves_no_message_behind(open_stores: Callable[..., Stores]) -> None:
    stores = open_stores()
    log = stores.streams.create(header("1", "s"))
    asked(stores, "1")
    stores.streams.discard(log)
    assert questions(stores) == []
    asked(stores, "1")
    assert questions(stores) == ["1"], "its id is free again"


def test_a_refused_question_takes_no_other_with_it(open_stores: Callable[..., Stores]) -> None:
    stores = open_stores()
    asked(stores, "0")
    stores.streams.discard(stores.streams.create(header("1", "s")))
    assert questions(stores) == ["0"]


def test_who_joined_an_answer_that_never_began_is_told_to_ask_again(
    open_stores: Callable[..., Stores], place: str
) -> None:
    writing, reading, ending = open_stores(), open_stores(), open_stores()
    writing.streams.create(header("1", "s", writer="dead"))
    joined = reading.streams.get("", "1")
    client = connector(place)()
    client.execute_command("ZADD", PROCESSES, 0, "dead")
    client.close()
    keeper = Keeper(ending.sessions, ending.streams, ending.runtime)
    until(lambda: keeper.recover() or joined.closing, "it is ended")
    assert isinstance(joined.closing, Failed)
    assert joined.closing.type == "unavailable"


def test_who_has_joined_a_refused_answer_hears_why_from_any_process(
    open_stores: Callable[..., Stores],
) -> None:
    """Over another connection than the one it was joined on, too; but nobody joins it any more."""
    writing, reading = open_stores(), open_stores()
    log = writing.streams.create(header("1", "s", idempotency=KEY))
    log.close(Failed.because(Unavailable("away"), tokens=0, at=AT))
    writing.streams.discard(log)
    for stores in (writing, reading):
        assert stores.streams.get("", "1").closing == log.closing
        with pytest.raises(NotFound):
            stores.streams.get("somebody", "1")
        assert stores.streams.by_key(KEY) is None
        assert stores.streams.running("", "s") is None


def test_a_process_whose_question_was_dropped_while_it_was_away_does_not_begin(
    open_stores: Callable[..., Stores], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, other = open_stores(), open_stores()
    log, kept = (away.streams.create(header(name, f"s-{name}")) for name in ("1", "2"))
    away.streams.affirm(log)
    other.streams.discard(other.streams.get("", "1"))
    now_s = away.runtime.monotonic()
    monkeypatch.setattr(away.runtime, "monotonic", lambda: now_s + 60)
    away.streams.affirm(kept)
    with pytest.raises(Unavailable):
        away.streams.affirm(log)
