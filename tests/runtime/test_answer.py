from __future__ import annotations

import pytest

from backend.runtime.answer import Answer
from backend.wire.framing import LastPiece


def answer(sent: list[bytes], *, old: bool = False, only_head: bool = False) -> Answer:
    made = Answer(sent.append, may_keep=lambda: True, old=old, only_head=only_head)
    made.start("200 OK", [("Date", "-")])
    return made


def test_the_end_leaves_with_a_piece_that_is_known_to_be_the_last() -> None:
    sent: list[bytes] = []
    made = answer(sent)
    made.write(b"one")
    assert not made.whole
    made.write(LastPiece(b"two"))
    assert made.whole
    assert sent[0].endswith(b"\r\n\r\n3\r\none\r\n")
    assert sent[1:] == [b"3\r\ntwo\r\n0\r\n\r\n"]


def test_without_such_a_piece_the_end_leaves_by_itself() -> None:
    sent: list[bytes] = []
    made = answer(sent)
    made.write(b"one")
    made.end()
    assert made.whole
    assert sent[1:] == [b"0\r\n\r\n"]


@pytest.mark.parametrize(("old", "only_head", "body"), [(True, False, b"one"), (False, True, b"")])
def test_a_last_piece_ends_nothing_where_there_are_no_chunks(old: bool, only_head: bool, body: bytes) -> None:
    sent: list[bytes] = []
    made = answer(sent, old=old, only_head=only_head)
    made.write(LastPiece(b"one"))
    if not made.whole:
        made.end()
    assert b"".join(sent).partition(b"\r\n\r\n")[2] == body
