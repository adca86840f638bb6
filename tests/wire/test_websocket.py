"""Frames have one reading, and none may make the server hold more than it said it would."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_FRAGMENTS,
    NO_STATUS,
    NOT_UTF_8,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    BadFrame,
    Closing,
    Event,
    FrameReader,
    Ping,
    accept_of,
    close_frame,
    frame,
    message_frame,
    unmasked,
)

KEY = b"\x37\xfa\x21\x3d"
MAX_BYTES = 1000


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, key: bytes = KEY) -> bytes:
    """A frame as a client sends it."""
    whole = frame(opcode, payload)
    head = whole[: len(whole) - len(payload)]
    return (
        bytes([head[0] if final else head[0] & 0x7F, head[1] | 0x80])
        + head[2:]
        + key
        + unmasked(payload, key)
    )


def events(*pieces: bytes, max_bytes: int = MAX_BYTES) -> list[Event]:
    reader, found = FrameReader(max_bytes), []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            found.append(event)
    return found


# The examples of RFC 6455, 5.7.


def test_the_standards_examples_are_read() -> None:
    assert events(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == ["Hello"]
    assert events(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [Ping(b"Hello")]


def test_the_standards_examples_are_written() -> None:
    assert message_frame("Hello") == b"\x81\x05Hello"
    assert frame(PONG, b"Hello") == b"\x8a\x05Hello"
    assert message_frame(bytes(256)) == b"\x82\x7e\x01\x00" + bytes(256)
    assert message_frame(bytes(65536)) == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(NO_STATUS) == b"\x88\x00"


def test_the_standards_key_is_accepted() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "key",
    ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==", "=" * 24,
     "!GhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWFi", "é" * 24],
)  # fmt: skip
def test_a_key_that_is_not_sixteen_bytes_is_none(key: str) -> None:
    assert accept_of(key) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_lengths_of_every_spelling_are_written_and_read(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert events(masked(BINARY, payload[:size]), max_bytes=size) == [payload[:size]]


MESSAGES = st.lists(
    st.one_of(st.text(max_size=200), st.binary(max_size=200), st.binary(max_size=125).map(Ping)), max_size=5
)


def sent(message: Event) -> bytes:
    if isinstance(message, Ping):
        return masked(PING, message.payload)
    return masked(TEXT, message.encode()) if isinstance(message, str) else masked(BINARY, bytes(message))


@given(MESSAGES, st.data())
def test_however_the_bytes_are_cut_the_messages_are_the_same(
    messages: list[Event], data: st.DataObject
) -> None:
    raw = b"".join(map(sent, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert events(*pieces) == messages
    assert events(*[bytes([byte]) for byte in raw]) == messages


@given(st.text(max_size=100), st.lists(st.integers(0, 400), max_size=5), st.binary(max_size=20))
def test_fragments_are_put_together_with_pings_in_between(text: str, cuts: list[int], said: bytes) -> None:
    raw = text.encode()
    at = sorted(min(cut, len(raw)) for cut in cuts)
    pieces = [raw[a:b] for a, b in zip([0, *at], [*at, len(raw)], strict=True)]
    last = len(pieces) - 1
    frames = [masked(CONTINUATION if n else TEXT, piece, final=n == last) for n, piece in enumerate(pieces)]
    assert events(masked(PING, said).join(frames)) == [Ping(said)] * last + [text]


@given(st.binary(max_size=50), st.binary(min_size=4, max_size=4))
def test_unmasking_twice_changes_nothing(payload: bytes, key: bytes) -> None:
    assert unmasked(unmasked(payload, key), key) == payload
    assert unmasked(payload, key) == bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "a frame without a mask": (message_frame("a"), PROTOCOL_ERROR),
    "the first reserved bit, compression": (b"\xc1\x80", PROTOCOL_ERROR),
    "the second reserved bit": (b"\xa1\x80", PROTOCOL_ERROR),
    "the third reserved bit": (b"\x91\x80", PROTOCOL_ERROR),
    "an unknown opcode": (masked(0x3), PROTOCOL_ERROR),
    "an unknown control opcode": (masked(0xB), PROTOCOL_ERROR),
    "a ping in pieces": (masked(PING, final=False), PROTOCOL_ERROR),
    "a ping of 126 bytes": (masked(PING, bytes(126))[:4], PROTOCOL_ERROR),
    "a closing of 126 bytes": (masked(CLOSE, bytes(126))[:4], PROTOCOL_ERROR),
    "a continuation of nothing": (masked(CONTINUATION, b"a"), PROTOCOL_ERROR),
    "a message inside a message": (masked(TEXT, b"a", final=False) + masked(TEXT, b"b"), PROTOCOL_ERROR),
    "a short length in two bytes": (b"\x82\xfe\x00\x7d", PROTOCOL_ERROR),
    "a short length in eight bytes": (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", PROTOCOL_ERROR),
    "a negative length": (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", PROTOCOL_ERROR),
    "a message over the cap, by its head alone": (b"\x82\xfe\x03\xe9", TOO_BIG),
    "a message of 2**62 bytes, by its head alone": (b"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00", TOO_BIG),
    "a message over the cap in 50 fragments": (
        masked(BINARY, bytes(20), final=False) + masked(CONTINUATION, bytes(20), final=False) * 50,
        TOO_BIG,
    ),
    "empty fragments without end": (
        masked(TEXT, final=False) + masked(CONTINUATION, final=False) * MAX_FRAGMENTS,
        TOO_BIG,
    ),
    "text that is not UTF-8": (masked(TEXT, b"\xff"), NOT_UTF_8),
    "a surrogate": (masked(TEXT, b"\xed\xa0\x80"), NOT_UTF_8),
    "a character that never ends": (
        masked(TEXT, b"\xe2\x82", final=False) + masked(CONTINUATION, b""),
        NOT_UTF_8,
    ),
    "a close code of one byte": (masked(CLOSE, b"\x03"), PROTOCOL_ERROR),
    "a close code nobody may send": (masked(CLOSE, b"\x03\xed"), PROTOCOL_ERROR),
    "a close code past all": (masked(CLOSE, b"\xff\xff"), PROTOCOL_ERROR),
    "a reason that is not UTF-8": (masked(CLOSE, b"\x03\xe8\xff"), NOT_UTF_8),
}


@pytest.mark.parametrize(("raw", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_what_breaks_the_protocol_is_refused_with_its_code(raw: bytes, code: int) -> None:
    with pytest.raises(BadFrame) as refused:
        events(raw)
    assert refused.value.code == code


def test_a_character_may_be_split_between_fragments() -> None:
    raw = "€".encode()
    assert events(masked(TEXT, raw[:1], final=False) + masked(CONTINUATION, raw[1:])) == ["€"]


def test_a_message_of_exactly_the_cap_is_read_in_any_number_of_pieces() -> None:
    half = bytes(MAX_BYTES // 2)
    assert events(masked(BINARY, half * 2)) == [half * 2]
    assert events(masked(BINARY, half, final=False) + masked(CONTINUATION, half)) == [half * 2]
    assert events((masked(BINARY, half, final=False) + masked(CONTINUATION, half)) * 3) == [half * 2] * 3


def test_the_message_before_a_bad_frame_is_still_read() -> None:
    reader = FrameReader(MAX_BYTES)
    reader.feed(masked(TEXT, b"first") + b"\xff\xff")
    assert reader.next() == "first"
    with pytest.raises(BadFrame):
        reader.next()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_closing_is_read_with_its_code(code: int) -> None:
    assert events(masked(CLOSE, code.to_bytes(2, "big") + b"bye")) == [Closing(code)]


def test_a_closing_that_says_nothing_and_a_pong_are_fine() -> None:
    assert events(masked(PONG, b"x") + masked(CLOSE)) == [Closing(NO_STATUS)]


@given(st.binary(max_size=300))
def test_any_bytes_are_events_or_refused(raw: bytes) -> None:
    with suppress(BadFrame):
        assert len(events(raw)) <= len(raw)
