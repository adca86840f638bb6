"""From an upstream's bytes to entries."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.chat.events import Delta, Usage
from backend.chat.ports import Ended
from backend.providers.chunks import Reported, Transcript, Unreadable
from backend.providers.sse import MAX_LINE_BYTES, EventReader

ATOMS = [b"data", b"data:", b"data: ", b"\n", b"\n\n", b"\r", b"\r\n", b" ", b":", b"x", b"id: 1", b"event:e"]
ATOMS += [text.encode() for text in ("\ufeff", "\u2028", "\u0085", "é", "retry: 5", "\0", "\x0b\x0c\x1c")]
STREAMS = st.lists(st.sampled_from(ATOMS), max_size=40).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]


def events_of(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def by_the_book(stream: bytes) -> list[bytes]:
    """The standard's algorithm, on the whole stream and one line at a time."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if line == b"":
            events += [b"\n".join(data)] if data else []
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" ") if colon else b"")
    return events


@given(STREAMS, st.lists(st.integers(0, 500), max_size=8))
@settings(max_examples=400, deadline=None)
def test_any_split_of_any_stream_gives_the_events_of_the_standard(stream: bytes, places: list[int]) -> None:
    expected = by_the_book(stream)
    assert events_of(stream) == expected
    assert events_of(*cut(stream, places)) == expected
    assert events_of(*[stream[at : at + 1] for at in range(len(stream))]) == expected


def test_cr_and_lf_in_different_reads_are_one_line_end() -> None:
    assert events_of(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]
    assert events_of(b"data: a\r", b"\r") == [b"a"]


def test_an_event_is_given_with_its_last_byte() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\r\n") == []
    assert reader.feed(b"\r") == [b"a"]
    assert reader.feed(b"\n") == []


def test_unicode_line_separators_are_text() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()
    assert events_of(b"data: " + text + b"\n\n") == [text]


def test_only_data_is_read_and_only_one_space_is_taken() -> None:
    stream = b": hello\nevent: x\nid: 7\nretry: 1\ndata:a\ndata:  b\ndata\ndatax: no\n\n"
    assert events_of(stream) == [b"a\n b\n"]


def test_a_line_over_the_cap_ends_the_reading_after_what_came_before() -> None:
    reader = EventReader()
    long = b"data: " + b"x" * MAX_LINE_BYTES
    assert reader.feed(b"data: a\n\n" + long + b"\n\ndata: b\n\n") == [b"a"]
    assert reader.overlong
    assert reader.feed(b"data: c\n\n") == []


def test_a_long_line_without_its_end_is_not_kept() -> None:
    reader = EventReader()
    for _ in range(200):
        assert reader.feed(b"x" * 16_384) == []
    assert reader.overlong


def test_an_event_of_many_lines_over_the_cap_is_not_kept() -> None:
    reader = EventReader()
    for _ in range(200):
        reader.feed(b"data: " + b"x" * 16_384 + b"\n")
    assert reader.overlong
    reader = EventReader()
    for _ in range(2000):
        reader.feed(b"data\n" * 1000)
    assert reader.overlong


def test_any_number_of_comments_and_events_may_come() -> None:
    reader = EventReader()
    for _ in range(200):
        assert reader.feed(b": ping\n" * 2000) == []
        assert reader.feed(b"\ndata: a\nid: 1\n") == []
        assert reader.feed(b"data: b\n\n") == [b"a\nb"]
    assert not reader.overlong


def test_a_line_just_under_the_cap_passes_in_any_pieces() -> None:
    payload = b"x" * (MAX_LINE_BYTES - 100)
    stream = b"data: a\n\ndata: " + payload + b"\n\n" + b"data: b\n\n"
    assert events_of(*[stream[at : at + 1400] for at in range(0, len(stream), 1400)]) == [b"a", payload, b"b"]


def test_a_last_event_without_its_empty_line_is_given_at_the_end_but_half_a_line_is_not() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\ndata: b") == []
    assert reader.end() == [b"a"]


def chunk(delta: Any, **choice: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **choice}]}).encode()


def read(*payloads: bytes) -> list[Any]:
    transcript = Transcript()
    entries = [entry for payload in payloads for entry in transcript.read([payload])]
    assert transcript.fault is None
    return [*entries, *transcript.rest()]


TOOL = [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a"'}}]
LOGPROBS = {"content": [{"token": "a", "logprob": -0.1}]}


@pytest.mark.parametrize(
    ("delta", "choice", "entries"),
    [
        ({"content": "a"}, {}, ["a"]),
        ({"content": "a", "role": "assistant"}, {}, ["a"]),
        ({"content": "a", "refusal": None, "tool_calls": []}, {"logprobs": None}, ["a"]),
        ({"content": "a", "reasoning_content": ""}, {"native_finish_reason": None}, ["a"]),
        ({"content": "a\0b\u2028"}, {}, ["a\0b\u2028"]),
        ({"role": "assistant", "content": ""}, {}, []),
        ({"role": "assistant"}, {"index": 1}, []),
        ({}, {"finish_reason": "stop"}, []),
        (None, {}, []),
        ({"content": "end"}, {"finish_reason": "stop"}, ["end"]),
        ({"content": None, "tool_calls": TOOL}, {}, [Delta("", {"tool_calls": TOOL})]),
        ({"content": "a", "tool_calls": TOOL}, {}, [Delta("a", {"tool_calls": TOOL})]),
        ({"refusal": "no"}, {}, [Delta("", {"refusal": "no"})]),
        ({"reasoning_content": "hm", "content": ""}, {}, [Delta("", {"reasoning_content": "hm"})]),
        ({"reasoning": "hm"}, {}, [Delta("", {"reasoning": "hm"})]),
        ({"content": "a", "new": 0}, {}, [Delta("a", {"new": 0})]),
        ({"content": [{"type": "thinking"}]}, {}, [Delta("", {"content": [{"type": "thinking"}]})]),
        ({"content": "b"}, {"index": 1}, [Delta("", {"index": 1, "content": "b"})]),
        ({"content": "a"}, {"logprobs": LOGPROBS}, [Delta("a", {"logprobs": LOGPROBS})]),
        ({"content": "a"}, {"logprobs": {"content": [], "refusal": None}}, ["a"]),
    ],
)
def test_a_delta_is_plain_text_unless_it_says_more(delta: Any, choice: dict[str, Any], entries: Any) -> None:
    assert read(chunk(delta, **choice)) == entries


def test_empty_data_and_chunks_that_say_nothing_give_nothing() -> None:
    assert read(b"", b"{}", b'{"choices": null}', b'{"choices": [], "prompt_filter_results": [1]}') == []


@pytest.mark.parametrize(
    "payload",
    [
        *(b"{", b"[]", b'"x"', b"1", b"NaN", b"\xff", b"<html>"),
        *(b'{"choices": 1}', b'{"choices": [1]}', b'{"choices": [{"delta": 1}]}'),
        b"[" * 100_000,
        b'{"choices": [{"delta": {"a": "\\ud83d", "b": ' + b"[" * 900 + b"]" * 900 + b"}}]}",
    ],
)
def test_what_is_no_chunk_is_a_fault_after_what_came_before(payload: bytes) -> None:
    transcript = Transcript()
    assert transcript.read([chunk({"content": "a"}), payload, chunk({"content": "b"})]) == ["a"]
    assert isinstance(transcript.fault, Unreadable)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"error": {"message": "overloaded", "code": 503}}, "overloaded"),
        ({"error": "overloaded"}, "overloaded"),
        ({"error": {"code": 5}}, ""),
        ({"object": "error", "message": "overloaded"}, "overloaded"),
        ({"error": {"message": "late"}, "choices": [{"delta": {"content": "x"}}]}, "late"),
    ],
)
def test_an_error_object_in_mid_stream_is_a_fault_with_its_words(payload: Any, words: str) -> None:
    transcript = Transcript()
    assert transcript.read([chunk({"content": "a"}), json.dumps(payload).encode()]) == ["a"]
    assert isinstance(transcript.fault, Reported)
    assert str(transcript.fault) == words


def ended(*payloads: bytes) -> Ended | None:
    transcript = Transcript()
    transcript.read(payloads)
    assert transcript.fault is None
    return transcript.ended()


def test_a_finish_reason_or_done_is_an_end_and_neither_is_none() -> None:
    text, finish = chunk({"content": "a"}), chunk({}, finish_reason="length")
    assert ended(text) is None
    assert ended() is None
    assert ended(text, finish) == Ended("length")
    assert ended(text, b"[DONE]") == Ended("stop")
    assert ended(text, finish, b"[DONE]", b"whatever") == Ended("length")


def test_every_choice_must_have_its_end_and_the_first_gives_the_reason() -> None:
    second = chunk({"content": "b"}, index=1)
    first_end, second_end = chunk({}, finish_reason="length"), chunk({}, index=1, finish_reason="stop")
    assert ended(second, first_end) is None
    assert ended(second, second_end) is None
    assert ended(second, second_end, first_end) == Ended("length")


def used(usage: Any, **more: Any) -> Usage | None:
    end = ended(json.dumps({"choices": [], "usage": usage, **more}).encode(), b"[DONE]")
    assert end
    return end.usage


def test_usage_is_read_wherever_it_stands_and_the_last_one_counts() -> None:
    first = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    last = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.5, "x": None}
    payloads = [
        json.dumps({"choices": [{"delta": {"content": "a"}}], "usage": first}).encode(),
        json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": last}).encode(),
        json.dumps({"choices": [], "usage": None}).encode(),
    ]
    assert read(*payloads) == ["a"]
    assert ended(*payloads) == Ended("stop", Usage(1, 2, 3, details={"cost": 0.5}))


def test_usage_keeps_its_details_and_its_total_is_never_below_its_parts() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 4}}
    assert used({"prompt_tokens": 3, "completion_tokens": 5, **details}) == Usage(3, 5, 8, details=details)
    assert used({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 1}) == Usage(3, 5, 8)
    assert used({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 20}) == Usage(3, 5, 20)


NO_COUNTS = [-1, 1.5, True, "5", None, 10**12, 10**400, float("nan"), float("inf"), [], {}]


@pytest.mark.parametrize("count", NO_COUNTS)
def test_a_number_of_tokens_that_cannot_be_one_is_not_said(count: Any) -> None:
    assert used({"prompt_tokens": count, "completion_tokens": 5}) is None
    assert used({"prompt_tokens": 5, "completion_tokens": count}) is None
    assert used({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": count}) == Usage(5, 5, 10)
    assert used([count]) is None


@given(st.text(), st.lists(st.integers(0, 100), max_size=6))
@settings(max_examples=300, deadline=None)
def test_text_cut_between_the_halves_of_its_characters_is_joined_again(text: str, places: list[int]) -> None:
    units = text.encode("utf-16-be")
    escapes = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    edges = [0, *sorted(place % (len(units) // 2 + 1) * 6 for place in places), len(escapes)]
    pieces = [escapes[start:stop] for start, stop in itertools.pairwise(edges)]
    payloads = ['{"choices": [{"delta": {"content": "' + piece + '"}}]}' for piece in pieces]
    entries = read(*[payload.encode() for payload in payloads])
    assert "".join(entries) == text
    assert "" not in entries


def halves(content: str, **more: str) -> bytes:
    return json.dumps({"choices": [{"delta": {"content": content, **more}}]}).encode()


def test_half_a_character_alone_becomes_a_replacement_character() -> None:
    assert read(halves("a\ud83d"), halves("b")) == ["a", "\ufffdb"]
    assert read(halves("\ude00a")) == ["\ufffda"]
    assert read(halves("a\ud83d")) == ["a", "\ufffd"]
    assert read(halves("\ud83d"), halves(""), halves("\ude00!")) == ["\U0001f600!"]


def test_halves_are_joined_in_every_field_and_never_stay_in_any() -> None:
    nested = chunk({"tool_calls": [{"a": "\ud83d"}]}, logprobs={"t": ["\ud83d"]})
    entries = read(halves("", reasoning_content="\ud83d"), halves("x", reasoning_content="\ude00"), nested)
    assert entries == [
        Delta("x", {"reasoning_content": "\U0001f600"}),
        Delta("", {"tool_calls": [{"a": "\ufffd", "index": 0}], "logprobs": {"t": ["\ufffd"]}}),
    ]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "payload",
    [
        chunk({"tool_calls": deep(300)}),
        chunk({"tool_calls": [10**20], "content": "\ud83d"}),
        json.dumps(
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "more": deep(300)}}
        ).encode(),
    ],
)
def test_what_nobody_could_be_given_on_is_a_fault(payload: bytes) -> None:
    transcript = Transcript()
    assert transcript.read([chunk({"content": "a"}), payload]) == ["a"]
    assert isinstance(transcript.fault, Unreadable)
