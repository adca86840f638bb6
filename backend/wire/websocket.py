"""WebSocket framing (RFC 6455), read strictly; no extension is agreed on, so nothing is ever inflated."""

from __future__ import annotations

import base64
import binascii
import struct
from hashlib import sha1
from typing import Final, NamedTuple, TypeAlias

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
NOT_UTF_8: Final = 1007
TOO_BIG: Final = 1009
INTERNAL: Final = 1011

MAX_CONTROL_BYTES = 125
MAX_FRAGMENTS = 1000
"""Of one message: an empty fragment costs its sender almost nothing."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SAYABLE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class BadFrame(ValueError):
    """What came cannot be part of a conversation; it ends with the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Ping(NamedTuple):
    payload: bytes


class Closing(NamedTuple):
    """The client ends the conversation; NO_STATUS if it does not say why."""

    code: int


Event: TypeAlias = str | bytes | Ping | Closing


class FrameReader:
    """A client's bytes, in any pieces, to its messages. Never holds more than one message of
    `max_message_bytes` and what was fed last: a frame that would make it longer is refused at its head.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._data = bytearray()
        self._opcode = 0
        self._fragments: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._data += data

    def next(self) -> Event | None:
        """The next message, ping or closing; None until more has come. Raises BadFrame."""
        while (frame := self._next_frame()) is not None:
            event = self._understand(*frame)
            if event is not None:
                return event
        return None

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        """The last-fragment mark, the opcode and the unmasked payload."""
        data = self._data
        if len(data) < 2:
            return None
        first, second = data[0], data[1]
        if first & 0x70:
            raise BadFrame(PROTOCOL_ERROR, "a reserved bit is set")
        if not second & 0x80:
            raise BadFrame(PROTOCOL_ERROR, "a client's frames are masked")
        start, size = 2, second & 0x7F
        if size > MAX_CONTROL_BYTES:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            least = 126 if start == 4 else 65_536
            size = int.from_bytes(data[2:start], "big")
            if size < least or size >> 63:
                raise BadFrame(PROTOCOL_ERROR, "a length is not the shortest way to say it")
        final, opcode = bool(first & 0x80), first & 0x0F
        self._admit(final, opcode, size)
        end = start + 4 + size
        if len(data) < end:
            return None
        payload = unmasked(data[start + 4 : end], data[start : start + 4])
        del data[:end]
        return final, opcode, payload

    def _admit(self, final: bool, opcode: int, size: int) -> None:
        """Whether such a frame may come now, known from its head alone."""
        if opcode >= CLOSE:
            if opcode > PONG:
                raise BadFrame(PROTOCOL_ERROR, "an opcode is unknown")
            if not final or size > MAX_CONTROL_BYTES:
                raise BadFrame(PROTOCOL_ERROR, "a control frame is whole and short")
            return
        if opcode > BINARY:
            raise BadFrame(PROTOCOL_ERROR, "an opcode is unknown")
        if (opcode == CONTINUATION) != bool(self._opcode):
            raise BadFrame(PROTOCOL_ERROR, "a fragment is out of place")
        if self._size + size > self._max_message_bytes or len(self._fragments) == MAX_FRAGMENTS:
            raise BadFrame(TOO_BIG, f"a message is over {self._max_message_bytes} bytes or too many pieces")

    def _understand(self, final: bool, opcode: int, payload: bytes) -> Event | None:
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return None
        if opcode == CLOSE:
            return closing_of(payload)
        self._opcode = opcode or self._opcode
        self._fragments.append(payload)
        self._size += len(payload)
        if not final:
            return None
        message, kind = b"".join(self._fragments), self._opcode
        self._opcode, self._fragments, self._size = 0, [], 0
        return text_of(message) if kind == TEXT else message


def unmasked(payload: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """XORed with the key over and over, as one large number. Masks as well."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def text_of(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadFrame(NOT_UTF_8, "a text is not UTF-8") from exc


def closing_of(payload: bytes) -> Closing:
    if not payload:
        return Closing(NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _SAYABLE or 3000 <= code < 5000):
        raise BadFrame(PROTOCOL_ERROR, "a close code is not one that is sent")
    text_of(payload[2:])
    return Closing(code)


def message_frame(message: str | bytes) -> bytes:
    """A whole message in one frame, as a server sends it: unmasked."""
    if isinstance(message, str):
        return frame(TEXT, message.encode())
    return frame(BINARY, message)


def close_frame(code: int) -> bytes:
    """One that says nothing if the code is NO_STATUS."""
    return frame(CLOSE, b"" if code == NO_STATUS else code.to_bytes(2, "big"))


def frame(opcode: int, payload: bytes) -> bytes:
    size, first = len(payload), 0x80 | opcode
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 65_536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def accept_of(key: str) -> str | None:
    """What `Sec-WebSocket-Accept` says to this `Sec-WebSocket-Key`; None if it is not 16 bytes in base64."""
    try:
        if len(key) != 24 or len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
