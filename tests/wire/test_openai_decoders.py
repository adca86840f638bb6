"""What the decoders of OpenAI's official Python SDK make of an event stream: of what others send, some of
which they fail on, and of all that we send."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from openai.lib.streaming.chat import ChatCompletionStreamState

from backend.chat.events import Batch, Closing, Delta, Entry, Failed, Finished, Header, Usage
from backend.chat.log import Log
from backend.wire.openai import Chunks, completion
from backend.wire.sse import PING
from tests.fakes.runtime import ThreadSignal
from tests.fakes.upstream import DONE, chunk, event, finish, usage
from tests.sdks import SDKS, Sync, text_of

AT = "2026-01-01T00:00:01+00:00"
A, B = chunk("a"), chunk("b")
END = finish() + DONE
ERROR = event({"error": {"message": "gone", "type": "server_error", "param": None, "code": "gpu_lost"}})
NASTY = ["\n", "\r", "\r\n", "\n\n", "\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\ufeff", "\0", "data: x",
         "[DONE]", ": ", "\\", '"', "é", "€", "\N{GRINNING FACE}"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(NASTY) | st.characters(codec="utf-8"), min_size=1, max_size=4).map("".join)


@dataclass(frozen=True, slots=True)
class Reads(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that arrives in these pieces."""

    pieces: Sequence[bytes]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


@dataclass(slots=True)
class Outcome:
    """The chunks that came, and what was raised after them."""

    chunks: list[Any] = field(default_factory=list)
    error: Exception | None = None

    @property
    def text(self) -> str:
        return text_of(self.chunks)


class Reader:
    """The SDK before a network that gives it any bytes one likes."""

    def __init__(self, kind: str) -> None:
        self._reads = Reads([])
        self.sdk: Sync = SDKS[kind]("http://nowhere/v1", httpx2.MockTransport(self._respond))

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, stream=self._reads)

    def read(self, *reads: bytes) -> Outcome:
        self._reads = Reads(reads)
        outcome = Outcome()
        try:
            for piece in self.sdk.each(self.sdk.create(model="m", messages=[], stream=True)):
                outcome.chunks.append(piece)
        except (openai.APIError, ValueError) as exc:
            outcome.error = exc
        return outcome

    def final(self, *reads: bytes) -> Any:
        """What the SDK's `stream()` puts together."""
        self._reads = Reads(reads)
        with self.sdk.entered(self.sdk.client.chat.completions.stream(model="m", messages=[])) as stream:
            return self.sdk.wait(stream.get_final_completion())


@pytest.fixture(scope="module", params=SDKS)
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    reader = Reader(request.param)
    yield reader
    reader.sdk.close()


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


READ_WELL = {
    "a comment with a single newline": [A, b": ping\n", B, END],
    "comments with a single newline, after ids": [b"id: s:1\n", A, b": ping\n: ping\n", b"id: s:2\n", B, END],
    "a comment and a blank line, without ids": [A, b": ping\n\n", B, END],
    "a comment inside an event": [b": x\n" + A[:-1] + b": x\n\n", B, END],
    "an id in each event": [b"id: s:1\n", A, b"id: s:2\n", B, END],
    "retry beside data": [b"retry: 3000\n", A, B, END],
    "more blank lines than needed": [A, b"\n\n", B, END],
    "a clean close without [DONE]": [A, B],
    "a close after the end of the choice": [A, B, finish()],
    "carriage returns": [(A + B + END).replace(b"\n", b"\r\n")],
    "carriage returns alone": [(A + B + END).replace(b"\n", b"\r")],
    "no blank after the colon": [(A + B + END).replace(b"data: ", b"data:")],
    "data on two lines": [A.replace(b', "', b',\ndata: "', 1), B, END],
    "unknown fields": [b"x: y\nz\n", A, B, END],
    "anything after [DONE]": [A, B, END, b"data: <html>\n\n"],
    "all bytes one by one": cut(b"id: s:1\n" + A + b": ping\n" + B + END, 1),
}

READ_BADLY = {
    "a comment and a blank line after an id": [b"id: s:1\n", A, b": ping\n\n", B, END],
    "blank lines after an id": [b"id: s:1\n", A, b"\n", B, END],
    "an id alone": [A, b"id: s:2\n\n", B, END],
    "retry alone": [A, b"retry: 3000\n\n", B, END],
    "empty data": [A, b"data:\n\n", B, END],
    "an event without data": [A, b"event: ping\n\n", B, END],
}
"""A standard reader sees no event there, or an empty one; the SDK takes it for a chunk, of no JSON."""


@pytest.mark.parametrize("shape", READ_WELL)
def test_these_are_read_well(reader: Reader, shape: str) -> None:
    outcome = reader.read(*READ_WELL[shape])
    assert (outcome.text, outcome.error) == ("ab", None)
    assert reader.final(*READ_WELL[shape]).choices[0].message.content == "ab"


@pytest.mark.parametrize("shape", READ_BADLY)
def test_these_break_the_sdk_and_are_never_to_be_sent(reader: Reader, shape: str) -> None:
    outcome = reader.read(*READ_BADLY[shape])
    assert outcome.text == "a"
    assert isinstance(outcome.error, json.JSONDecodeError)


def test_a_byte_order_mark_costs_the_first_event(reader: Reader) -> None:
    assert reader.read(b"\xef\xbb\xbf" + A, B, END).text == "b"


def test_an_event_without_its_blank_line_is_lost(reader: Reader) -> None:
    outcome = reader.read(A, B[:-1])
    assert (outcome.text, outcome.error) == ("a", None)


def test_a_failed_stream_must_say_so_for_a_clean_close_is_taken_for_its_end(reader: Reader) -> None:
    assert reader.read(A, B).error is None
    outcome = reader.read(A, B, ERROR)
    assert outcome.text == "ab"
    assert isinstance(outcome.error, openai.APIError)
    assert (outcome.error.message, outcome.error.code) == ("gone", "gpu_lost")
    with pytest.raises(openai.APIError):
        reader.final(A, B, ERROR)


def test_usage_that_is_not_in_the_last_chunk_is_forgotten(reader: Reader) -> None:
    assert reader.final(A, B, finish(), usage(3, 2), DONE).usage.total_tokens == 5
    assert reader.final(A, usage(3, 2), B, finish(), DONE).usage is None
    outcome = reader.read(A, usage(3, 2), B, END)
    assert [chunk.usage.total_tokens for chunk in outcome.chunks if chunk.usage] == [5]


@pytest.mark.parametrize("text", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"], ids=ascii)
def test_only_line_feeds_and_carriage_returns_end_lines(reader: Reader, text: str) -> None:
    written = A.replace(b'"a"', json.dumps(f"x{text}y", ensure_ascii=text < " ").encode())
    for size in (1, 10_000):
        assert reader.read(*cut(written + END, size)).text == f"x{text}y"


def test_a_character_split_between_reads_stays_whole(reader: Reader) -> None:
    text = "é€\N{GRINNING FACE}"
    written = A.replace(b'"a"', json.dumps(text, ensure_ascii=False).encode()) + END
    start = written.index("é".encode())
    for at in range(start, start + len(text.encode()) + 1):
        assert reader.read(written[:at], written[at:]).text == text


def log_of(entries: Iterable[Entry], closing: Closing, include_usage: bool = False) -> Log:
    header = Header("s1", "", None, "q1", "m1", "demo", AT, include_usage=include_usage)
    log = Log(header, ThreadSignal())
    log.append(list(entries))
    log.close(closing)
    return log


def sent(log: Log, numbered: bool, batch: int = 1) -> list[bytes]:
    """All that we send of an answer: so many entries at once, and a ping wherever one can come."""
    chunks = Chunks(log, 0, numbered=numbered)
    pieces = [PING, PING]
    for at in range(0, log.offset, batch):
        pieces += [chunks.of(Batch(at, 0, log.read(at, batch).entries, None)), PING]
    return [*pieces, chunks.ending()]


def calling(pieces: list[str]) -> list[Entry]:
    start = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    return [
        Delta("", {"tool_calls": [{"index": 0, **start}]}),
        *(Delta("", {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces),
    ]


FINISHED = Finished("stop", 2, 0.1, 1.0, Usage(3, 2, 5), AT)
FAILED = Failed("upstream_error", 502, "The model's answer broke off\n\ndata: [DONE]", 2, AT)
CLOSINGS = st.sampled_from([FINISHED, FAILED])
SAID = st.one_of(
    TEXTS,
    st.builds(lambda text: Delta("", {"index": 1, "content": text}), TEXTS),
    st.builds(lambda text: Delta("", {"reasoning_content": text}), TEXTS),
    st.builds(lambda text: Delta("", {"refusal": text}), TEXTS),
    st.builds(lambda text: Delta(text, {"logprobs": {"content": [], "refusal": None}}), TEXTS),
)
ANSWERS = st.builds(
    lambda first, said, pieces: [first, *said, *(calling(pieces) if pieces else [])],
    TEXTS, st.lists(SAID, max_size=8), st.lists(TEXTS, max_size=4),
)  # fmt: skip


def text_in(entries: list[Entry], index: int) -> str:
    deltas = [entry if isinstance(entry, Delta) else Delta(entry, {}) for entry in entries]
    mine = [delta for delta in deltas if delta.extra.get("index", 0) == index]
    return "".join(delta.text or delta.extra.get("content", "") for delta in mine)


@pytest.mark.parametrize("numbered", [False, True], ids=["without ids", "with ids"])
@given(
    entries=ANSWERS,
    closing=CLOSINGS,
    include_usage=st.booleans(),
    batch=st.integers(1, 3),
    size=st.none() | st.integers(1, 40),
)
def test_what_we_send_is_read_whole_however_it_arrives(
    reader: Reader,
    numbered: bool,
    entries: list[Entry],
    closing: Closing,
    include_usage: bool,
    batch: int,
    size: int | None,
) -> None:
    pieces = sent(log_of(entries, closing, include_usage), numbered, batch)
    outcome = reader.read(*(cut(b"".join(pieces), size) if size else pieces))
    assert [text_of(outcome.chunks, index) for index in (0, 1)] == [text_in(entries, 0), text_in(entries, 1)]
    choices = [choice for piece in outcome.chunks for choice in piece.choices]
    ends = [(choice.index, choice.finish_reason) for choice in choices if choice.finish_reason]
    if isinstance(closing, Failed):
        assert isinstance(outcome.error, openai.APIError)
        assert (outcome.error.message, outcome.error.code) == (FAILED.error, "upstream_error")
        assert len(outcome.chunks) == len(entries)
        assert ends == []
        return
    assert outcome.error is None
    assert ends == [(index, "stop") for index in sorted({choice.index for choice in choices})]
    used = [piece.usage for piece in outcome.chunks if piece.usage]
    assert [usage.total_tokens for usage in used] == ([5] if include_usage else [])
    assert (outcome.chunks[-1].choices == []) == include_usage


@given(entries=ANSWERS, include_usage=st.booleans(), numbered=st.booleans())
def test_a_stream_put_together_is_what_comes_whole(
    reader: Reader, entries: list[Entry], include_usage: bool, numbered: bool
) -> None:
    log = log_of(entries, FINISHED, include_usage)
    state: Any = ChatCompletionStreamState()
    for piece in reader.read(*sent(log, numbered)).chunks:
        state.handle_chunk(piece)
    whole = openai.types.chat.ChatCompletion.model_validate(completion(log, FINISHED, entries))
    streamed = state.get_final_completion()
    for name in ("id", "created", "model"):
        assert getattr(streamed, name) == getattr(whole, name)
    for ours, theirs in zip(whole.choices, streamed.choices, strict=True):
        assert (theirs.index, theirs.finish_reason) == (ours.index, ours.finish_reason)
        for name in ("role", "content", "refusal", "model_extra"):
            assert getattr(theirs.message, name, None) == getattr(ours.message, name, None)
        calls = [
            [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
            for message in (ours.message, theirs.message)
        ]
        assert calls[0] == calls[1]
    assert (streamed.usage == whole.usage) == include_usage


@pytest.mark.parametrize("closing", [FINISHED, FAILED], ids=["finished", "failed"])
def test_who_comes_back_reads_exactly_the_rest(reader: Reader, closing: Closing) -> None:
    log = log_of(
        ["a", Delta("", {"index": 1, "content": "é"}), "\u2028", *calling(["{", "}"])], closing, True
    )
    whole = reader.read(*sent(log, numbered=True)).chunks
    for offset in range(log.offset + 1):
        chunks = Chunks(log, offset, numbered=True)
        rest = reader.read(PING, chunks.of(log.read(offset)), PING, chunks.ending())
        assert rest.chunks == whole[offset:]
        assert isinstance(rest.error, openai.APIError) == (closing is FAILED)


@given(entries=ANSWERS, closing=CLOSINGS, numbered=st.booleans())
def test_no_line_of_ours_is_an_event_of_its_own(
    entries: list[Entry], closing: Closing, numbered: bool
) -> None:
    log = log_of(entries, closing, include_usage=True)
    decoder = SSEDecoder()
    seen = list(decoder.iter_bytes(iter(sent(log, numbered))))
    assert all(sse.data and sse.event is None and sse.retry is None for sse in seen)
    assert [sse.id for sse in seen] == [f"s1:{n}" if numbered else None for n in range(1, len(seen) + 1)]
    assert len(seen) == Chunks(log, log.offset, numbered=numbered).last_number()
    assert (seen[-1].data == "[DONE]") == (closing is FINISHED)
