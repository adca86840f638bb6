"""What a Socket.IO client sends, read strictly before any library reads it.

Sources: the Engine.IO protocol, revision 4, and the Socket.IO protocol, revision 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from backend.chat.errors import InvalidJson
from backend.wire.body import read_json

MAX_PACKETS = 16
"""In one polling request."""
MAX_ATTACHMENTS = 16
SEPARATOR = "\x1e"

_POLLED = frozenset({"1", "3"})
_PLAIN = _POLLED | {"2probe", "5"}
_RESERVED = ("connect", "disconnect")
_PACKET = re.compile(
    r"4(?P<type>[0-6])(?:(?P<attachments>[0-9]{1,10})-)?(?P<namespace>/[^,\[{]{0,64}(?:,|$))?"
    r"(?P<id>[0-9]{1,15})?(?P<data>[\[{].*)?",
    re.DOTALL,
)
_CONNECT, _DISCONNECT, _EVENT, _BINARY_EVENT = "0", "1", "2", "5"


class BadFrame(ValueError):
    """Not what a client of the protocol sends; the connection cannot be used further."""


class Frames:
    """One connection's frames, in their order.

    No event here takes binary payloads: a binary event is read as one whose attachments are left as their
    placeholders, and the attachments are skipped. `refuse` is told of an event that is no strict JSON,
    with the id that its acknowledgement would have, empty for none; unset, before there is anybody to
    tell, that is a BadFrame.
    """

    def __init__(self) -> None:
        self.refuse: Callable[[InvalidJson, str], None] | None = None
        self._attachments = 0

    def read(self, frame: str | bytes) -> str | None:
        """The frame to go on with, None if there is nothing to do about it. Raises BadFrame."""
        if isinstance(frame, bytes) or frame.startswith("b"):
            self._skip()
            return None
        if frame in _PLAIN:
            return frame
        packet = _PACKET.fullmatch(frame)
        if packet is None or self._attachments:
            raise BadFrame("The frame is malformed")
        try:
            return self._packet(packet)
        except InvalidJson as exc:
            if self.refuse is None:
                raise BadFrame("The frame is not JSON") from exc
            self.refuse(exc, packet["id"] or "")
            return None

    def read_payload(self, body: str) -> str:
        """The packets of a polling request, those that are left."""
        packets = body.split(SEPARATOR)
        if len(packets) > MAX_PACKETS:
            raise BadFrame(f"A request may carry {MAX_PACKETS} packets")
        if any(packet in _PLAIN - _POLLED for packet in packets):
            raise BadFrame("Such packets are for WebSockets")
        return SEPARATOR.join(filter(None, map(self.read, packets)))

    def _skip(self) -> None:
        if not self._attachments:
            raise BadFrame("A binary frame belongs to no event")
        self._attachments -= 1

    def _packet(self, packet: re.Match[str]) -> str:
        kind, data = packet["type"], packet["data"]
        if (packet["attachments"] is None) is (kind == _BINARY_EVENT):
            raise BadFrame("Binary events, and only they, count their attachments")
        value = None if data is None else read_json(data)
        if kind == _CONNECT and packet["id"] is None and not isinstance(value, list):
            return packet[0]
        if kind == _DISCONNECT and data is None and packet["id"] is None:
            return packet[0]
        if kind in (_EVENT, _BINARY_EVENT) and isinstance(value, list):
            return self._event(packet, value)
        raise BadFrame("A client does not send such packets")

    def _event(self, packet: re.Match[str], value: list[object]) -> str:
        if not value or not isinstance(value[0], str) or value[0] in _RESERVED:
            raise BadFrame("An event has a name, and not that of a packet")
        attachments = int(packet["attachments"] or 0)
        if attachments > MAX_ATTACHMENTS:
            raise BadFrame(f"An event may have {MAX_ATTACHMENTS} attachments")
        self._attachments = attachments
        return f"4{_EVENT}{packet['namespace'] or ''}{packet['id'] or ''}{packet['data']}"
