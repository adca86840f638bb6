"""A question that was refused because Redis was away, though it had taken it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.chat.sessions import Message, Session
from tests.stores.kinds import Stores
from tests.stores.test_contract import header

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
