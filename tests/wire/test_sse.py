"""The chat API's events, byte for byte."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat.errors import InvalidRequest
from backend.chat.events import Batch, Closing, Delta, Entry, Failed, Finished, Header, Usage
from backend.chat.log import Log, text_of
from backend.wire import sse
from tests.clients import events
from tests.fakes.runtime import ThreadSignal

AT = "2026-01-01T00:00:01+00:00"
UNCAPPED = 1_000_000

NASTY = [
    "\n", "\r", "\r\n", "\n\n", "\r\r", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\ufeff", "\0",
    " ", "data: x", "id: 9", "event: evil", "retry: 1", ": ", "\\", '"', "[DONE]", "\N{GRINNING FACE}",
]  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.lists(st.sampled_from(NASTY)).map("".join)
EXTRAS = st.builds(Delta, st.sampled_from(["", "x", "\n"]), st.just({"tool_calls": [{"index": 0}]}))
ENTRIES = st.lists(TEXTS.filter(bool) | EXTRAS, max_size=20)


def with_partial(stream_id: str, batch: Batch, said: str, max_chars: int) -> bytes:
    return b"".join(sse.token_events_with_partial(stream_id, batch, said, max_chars))


def log_of(*entries: Entry, closing: Closing | None = None, session_id: str | None = "test") -> Log:
    log = Log(Header("s1", "", session_id, "q1", "m1", "demo", AT), ThreadSignal())
    log.append(list(entries))
    if closing:
        log.close(closing)
    return log


def finished(reason: str = "stop", **more: Any) -> Finished:
    return Finished(reason, 2, 0.41, 12.1, Usage(9, 2, 11), AT, **more)


def written(log: Log, after: int = 0) -> bytes:
    return sse.token_events("s1", log.read(log.offset_of(after)))


def test_a_token_is_one_event_with_its_number() -> None:
    assert sse.token_events("s1", Batch(0, 0, ["Hello", " there"], None)) == (
        b'id: s1:1\ndata: {"token": "Hello", "count": 1}\n\n'
        b'id: s1:2\ndata: {"token": " there", "count": 2}\n\n'
    )


def test_numbers_go_on_from_the_batchs_count() -> None:
    assert sse.token_events("s1", Batch(9, 7, ["x"], None)) == (
        b'id: s1:8\ndata: {"token": "x", "count": 8}\n\n'
    )


def test_partial_is_the_text_so_far() -> None:
    batch = Batch(1, 1, [" there", "!"], None)
    assert with_partial("s1", batch, "Hello", UNCAPPED) == (
        b'id: s1:2\ndata: {"token": " there", "count": 2, "partial": "Hello there"}\n\n'
        b'id: s1:3\ndata: {"token": "!", "count": 3, "partial": "Hello there!"}\n\n'
    )


def test_partial_is_left_out_past_its_limit() -> None:
    batch = Batch(0, 0, ["abc", "d", "e"], None)
    assert with_partial("s1", batch, "", 4) == (
        b'id: s1:1\ndata: {"token": "abc", "count": 1, "partial": "abc"}\n\n'
        b'id: s1:2\ndata: {"token": "d", "count": 2, "partial": "abcd"}\n\n'
        b'id: s1:3\ndata: {"token": "e", "count": 3}\n\n'
    )


def test_an_entry_without_text_is_no_event_and_has_no_number() -> None:
    batch = Batch(0, 0, ["a", Delta("", {"tool_calls": []}), Delta("b", {"refusal": None})], None)
    golden = b'id: s1:1\ndata: {"token": "a", "count": 1}\n\nid: s1:2\ndata: {"token": "b", "count": 2}\n\n'
    assert sse.token_events("s1", batch) == golden
    assert with_partial("s1", batch, "", 0) == golden


def test_the_closing_event_is_one_line_numbered_past_the_last_token() -> None:
    closing = finished()
    assert sse.closing_event(log_of("Hello", " there", closing=closing), "r1") == (
        b'id: s1:3\ndata: {"done": true, "tokens": 2, "duration": 0.41, "tokens_per_second": 4.88, '
        b'"ttft_ms": 12.1, "full_response": "Hello there", "session_id": "test", "stream_id": "s1", '
        b'"message_id": "m1", "model": "demo", "finish_reason": "stop", '
        b'"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, '
        b'"timestamp": "2026-01-01T00:00:01+00:00"}\n\n'
    )


def test_the_closing_event_says_what_is_special() -> None:
    closing = Finished("stopped", 1, 0.0, None, Usage(9, 1, 10, estimated=True), AT, history_dropped=3)
    (event,) = events(sse.closing_event(log_of("a", closing=closing), "r1"))
    data = json.loads(event["data"])
    assert data["usage_source"] == "estimate"
    assert data["history_dropped"] == 3
    assert data["finish_reason"] == "stopped"
    assert data["ttft_ms"] is None


def test_a_failure_is_the_last_event_with_the_shape_of_every_error() -> None:
    closing = Failed("upstream_error", 502, "The model failed", 1, AT)
    log = log_of("a", closing=closing)
    assert sse.closing_event(log, "r1") == (
        b'id: s1:2\ndata: {"error": "The model failed", "code": 502, "type": "upstream_error", '
        b'"request_id": "r1", "tokens": 1, "timestamp": "2026-01-01T00:00:01+00:00", '
        b'"session_id": "test", "stream_id": "s1"}\n\n'
    )


def test_a_reset_gives_all_there_is_under_its_last_number() -> None:
    assert sse.reset_event("s1", "Hello\n", 2) == (
        b'id: s1:2\ndata: {"reset": true, "partial": "Hello\\n", "count": 2}\n\n'
    )


@pytest.mark.parametrize("comment", [sse.OPENING, sse.PING])
def test_a_comment_is_one_line_and_no_event(comment: bytes) -> None:
    assert re.fullmatch(rb":[^\r\n]*\n", comment)
    assert events(comment + written(log_of("a"))) == events(written(log_of("a")))


def test_the_ping_is_as_documented() -> None:
    assert sse.PING == b": ping\n"


@given(ENTRIES)
def test_what_a_reader_joins_is_the_text_unchanged(entries: list[Entry]) -> None:
    log = log_of(*entries)
    read = events(written(log))
    assert [json.loads(event["data"])["token"] for event in read] == [
        text_of(entry) for entry in entries if text_of(entry)
    ]
    assert [event["id"] for event in read] == [f"s1:{n}" for n in range(1, log.count + 1)]


@given(ENTRIES)
def test_no_text_adds_a_field_or_an_event(entries: list[Entry]) -> None:
    log = log_of(*entries, closing=finished())
    streams = (
        written(log) + sse.closing_event(log, "r1"),
        with_partial("s1", log.read(0), "", UNCAPPED) + sse.closing_event(log, "r1"),
    )
    for stream in streams:
        read = events(stream)
        assert len(read) == log.count + 1
        assert all(set(event) == {"id", "data"} for event in read)
        assert b"\r" not in stream
        assert b"\0" not in stream


@given(TEXTS, TEXTS)
def test_no_text_breaks_out_of_a_failure_or_a_reset(text: str, sentence: str) -> None:
    closing = Failed("upstream_error", 502, sentence, 0, AT)
    (failure,) = events(sse.closing_event(log_of(closing=closing), "r1"))
    (reset,) = events(sse.reset_event("s1", text, 1))
    assert set(failure) == set(reset) == {"id", "data"}
    assert json.loads(failure["data"])["error"] == sentence
    assert json.loads(reset["data"])["partial"] == text


@given(ENTRIES, st.data())
def test_writing_from_any_number_is_the_tail_of_writing_from_the_start(
    entries: list[Entry], data: st.DataObject
) -> None:
    log = log_of(*entries)
    after = data.draw(st.integers(0, log.count))
    whole, tail = written(log), written(log, after)
    assert whole.endswith(tail)
    assert whole.removesuffix(tail).count(b"\n\n") == after


@given(ENTRIES, st.lists(st.integers(0, 20)))
def test_batches_of_any_size_write_the_same_bytes(entries: list[Entry], cuts: list[int]) -> None:
    whole = log_of(*entries)
    edges = sorted({0, len(entries), *(cut for cut in cuts if cut <= len(entries))})
    plain = partial = b""
    for start, end in pairwise(edges):
        batch = Batch(start, whole.count_at(start), entries[start:end], None)
        plain += sse.token_events("s1", batch)
        partial += with_partial("s1", batch, whole.text_until(start), 20)
    assert plain == written(whole)
    assert partial == with_partial("s1", whole.read(0), "", 20)


@given(ENTRIES, st.integers(0, 50))
def test_partial_changes_nothing_else(entries: list[Entry], max_chars: int) -> None:
    log = log_of(*entries)
    said = ""
    read = [json.loads(event["data"]) for event in events(written(log))]
    more = with_partial("s1", log.read(0), "", max_chars)
    for plain, event in zip(read, events(more), strict=True):
        data = json.loads(event["data"])
        said += plain["token"]
        assert data.pop("partial", said) == said
        assert data == plain


@pytest.mark.parametrize(
    ("header", "after", "count"),
    [
        (None, None, 0),
        ("", "", 0),
        ("s1:7", None, 7),
        ("7", None, 7),
        (None, "7", 7),
        (None, "s1:7", 7),
        ("s1:7", "9", 7),
        ("s1:0", "9", 0),
        ("", "9", 9),
        ("s1:000000000000007", None, 7),
        ("s1:999999999999999", None, 999_999_999_999_999),
    ],
)
def test_where_a_reader_goes_on_is_the_headers_number_then_the_querys(
    header: str | None, after: str | None, count: int
) -> None:
    assert sse.read_after("s1", header, after) == count


BAD_IDS = [
    "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1_0", "NaN", "null", "x", "s1", "s1:", ":", "s1:-1",
    "s1:1:1", "s2:1", ":1", "S1:1", "s1:1\n", "٣", "s1:٣", "²", "1\0", "9" * 16, "9" * 5000,
    "s1:" + "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("given_id", BAD_IDS, ids=[repr(text[:12]) for text in BAD_IDS])
def test_an_id_that_is_none_of_this_streams_is_refused_by_name(given_id: str) -> None:
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        sse.read_after("s1", given_id, None)
    with pytest.raises(InvalidRequest, match="after"):
        sse.read_after("s1", None, given_id)


@given(st.text(), st.text())
def test_any_text_is_an_id_or_refused(header: str, after: str) -> None:
    try:
        count = sse.read_after("s1", header, after)
    except InvalidRequest:
        return
    assert 0 <= count < 10**15


def test_long_partials_are_given_piece_by_piece_so_that_nobody_must_hold_them_all() -> None:
    log = Log(Header("s1", "", None, "q1", "m1", "demo", AT), ThreadSignal())
    log.append(["x" * 50] * 256)
    pieces = list(sse.token_events_with_partial("s1", log.read(0), "y" * 3000, UNCAPPED))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < sse.GATHERED + 20_000
    assert b"".join(pieces).count(b"data: ") == 256
