"""Reading over many connections, without any: each event once, whatever was cut where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_client import BadAnswer, Done, Interrupted, Reset, Token, UpstreamError
from parley_client.cursor import Cursor
from parley_client.doors import chat_door, completion_door, resuming_door
from parley_client.errors import ParleyError
from parley_client.sse import Event, Parser
from tests.clients import events

SSE = {"Content-Type": "text/event-stream; charset=utf-8", "X-Stream-Id": "s", "X-Session-Id": "t"}
TEXTS = ["a", "é😀", "\u2028\u0085\r\n", "d"]


def event(number: int, data: object) -> bytes:
    said = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"id: s:{number}\ndata: {said}\n\n".encode()


def token(number: int) -> bytes:
    return event(number, {"token": TEXTS[number - 1], "count": number})


DONE = {
    "done": True, "tokens": 4, "full_response": "".join(TEXTS), "finish_reason": "stop", "session_id": "t",
    "stream_id": "s",
}  # fmt: skip
WHOLE = [*(token(number) for number in range(1, 5)), event(5, DONE)]


def cursor() -> Cursor[Any]:
    return Cursor(chat_door({"message": "hi"}, "k"))


def rest_for(cursor: Cursor[Any]) -> bytes:
    """What a server sends on that request."""
    last = cursor.request.headers.get("Last-Event-ID", "s:0")
    return b": the answer follows\n" + b"".join(WHOLE[int(last.removeprefix("s:")) :])


@given(st.lists(st.integers(0, 400), max_size=12), st.integers(1, 9))
def test_any_cuts_and_any_pieces_give_each_event_once(cuts: list[int], piece: int) -> None:
    reading, items = cursor(), []
    for cut in [*cuts, 10_000]:
        data = rest_for(reading)[:cut]
        reading.opened(200, SSE)
        for at in range(0, len(data), piece):
            items += reading.read(data[at : at + piece])
        if reading.ended:
            break
    assert [item.token for item in items[:-1]] == TEXTS
    assert isinstance(items[-1], Done)


def test_it_asks_until_it_is_answered_and_then_comes_back() -> None:
    reading = cursor()
    assert reading.request == reading.request
    assert (reading.request.method, reading.request.headers["Idempotency-Key"]) == ("POST", "k")
    reading.opened(200, SSE)
    assert (reading.stream_id, reading.session_id) == ("s", "t")
    assert reading.request.path == "/api/chat/streams/s"
    assert "Last-Event-ID" not in reading.request.headers
    list(reading.read(token(1)))
    assert reading.request.headers["Last-Event-ID"] == "s:1"


def test_coming_back_to_another_place_keeps_it() -> None:
    reading = Cursor(resuming_door("s", 3), "s", 3)
    assert reading.request.headers["Last-Event-ID"] == "s:3"
    reading.opened(200, SSE)
    assert reading.request.headers["Last-Event-ID"] == "s:3"
    assert [item.count for item in reading.read(token(3) + token(4))] == [4]
    with pytest.raises(Interrupted):
        reading.opened(204, {})


def test_a_reset_sets_it_back() -> None:
    reading = cursor()
    reading.opened(200, SSE)
    list(reading.read(token(1) + token(2) + token(3)))
    reset, again = reading.read(event(1, {"reset": True, "partial": "a", "count": 1}) + token(2))
    assert isinstance(reset, Reset)
    assert (reset.partial, again) == ("a", Token(token=TEXTS[1], count=2))


@pytest.mark.parametrize(
    "data",
    [
        token(2),
        event(1, "no json"),
        event(1, [1]),
        event(1, {"token": 1}),
        event(1, {"error": {"code": 5}}),
        b"id: other:1\ndata: {}\n\n",
        b"id: s:one\ndata: {}\n\n",
        b"data: \xff\n\n",
    ],
    ids=["gap", "no json", "no object", "no token", "no error", "other stream", "no number", "no utf-8"],
)
def test_nonsense_is_said_to_be_that(data: bytes) -> None:
    reading = cursor()
    reading.opened(200, SSE)
    with pytest.raises(BadAnswer):
        list(reading.read(data))


def test_what_is_no_event_stream_is_nonsense() -> None:
    with pytest.raises(BadAnswer):
        cursor().opened(200, {"Content-Type": "text/html"})


def test_an_error_is_the_end_in_both_dialects() -> None:
    said = {"error": "It broke", "code": 502, "type": "upstream_error", "stream_id": "s"}
    openais = {
        "error": {"message": "It broke", "type": "server_error", "param": None, "code": "upstream_error"}
    }
    for door, error in ((chat_door({}, "k"), said), (completion_door({}, "k"), openais)):
        reading: Cursor[Any] = Cursor(door)
        reading.opened(200, SSE)
        with pytest.raises(UpstreamError, match="It broke") as broken:
            list(reading.read(event(1, error)))
        assert (reading.ended, broken.value.status, broken.value.type) == (True, 502, "upstream_error")


def test_errors_carry_what_the_server_says() -> None:
    reading = cursor()
    reading.opened(200, SSE)
    said = {"error": "Later", "code": 429, "type": "rate_limited", "retry_after": 3, "request_id": "r"}
    with pytest.raises(ParleyError) as broken:
        list(reading.read(event(1, said)))
    assert (broken.value.retry_after, broken.value.request_id) == (3.0, "r")


@given(st.integers(1, 7))
def test_events_are_read_as_the_standard_says(piece: int) -> None:
    stream = b": c\r\nid: 1\r\ndata: a\r\ndata:b\r\n\r\ndata: \xe2\x80\xa8\rid:2\r\r"
    stream += b"id: 3\n\ndata\n\nretry: 5\n\ndata: x\n"
    parser, found = Parser(), []
    for at in range(0, len(stream), piece):
        found += parser.read(stream[at : at + piece])
    assert found == [Event("1", "a\nb"), Event("2", "\u2028"), Event("3", "")]


def test_another_reader_of_the_standard_agrees() -> None:
    stream = b"".join(WHOLE)
    assert [(each.id, each.data) for each in Parser().read(stream)] == [
        (each["id"], each["data"]) for each in events(stream)
    ]
