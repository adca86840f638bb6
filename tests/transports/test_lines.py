from __future__ import annotations

from queue import Queue
from types import SimpleNamespace
from typing import Any

from engineio.packet import PING

from backend.transports.lines import MAX_UNREAD, EngineLine


class FakeSocket:
    """What is used of engine.io's."""

    def __init__(self, ping_interval: float = 0) -> None:
        self.server = SimpleNamespace(ping_interval=ping_interval)
        self.queue: Queue[Any] = Queue()
        self.closed = self.closing = False
        self.upgraded = True
        self.last_ping: float | None = 1.0

    def send(self, packet: Any) -> None:
        assert not self.closed
        self.queue.put(packet)

    def schedule_ping(self) -> None:
        raise AssertionError("engine.io's own would wait in a green thread")

    @property
    def pings(self) -> int:
        return sum(packet.packet_type == PING for packet in self.queue.queue)


def test_a_ping_is_sent_when_it_is_time_and_the_next_when_it_was_answered() -> None:
    socket = FakeSocket()
    line = EngineLine(socket)
    line.ping()
    assert socket.pings == 0, "it is not open yet"
    socket.schedule_ping()
    assert socket.last_ping is None
    line.ping()
    line.ping()
    assert socket.pings == 1
    assert socket.last_ping is not None
    socket.schedule_ping()
    line.ping()
    assert socket.pings == 2


def test_a_ping_waits_for_its_time_whatever_pongs_come() -> None:
    socket = FakeSocket(ping_interval=1000)
    line = EngineLine(socket)
    for _ in range(5):
        socket.schedule_ping()
        line.ping()
    assert socket.pings == 0


def test_a_line_that_is_closed_or_about_to_be_is_not_pinged() -> None:
    for state in ("closed", "closing"):
        socket = FakeSocket()
        line = EngineLine(socket)
        socket.schedule_ping()
        setattr(socket, state, True)
        line.ping()
        assert line.closed
        assert socket.pings == 0


def test_what_waits_is_unread_once_it_should_be_leaving_by_itself() -> None:
    socket = FakeSocket()
    line = EngineLine(socket)
    for _ in range(MAX_UNREAD - 1):
        line.send("2[]")
    assert not line.unread
    line.send("2[]")
    assert line.unread
    socket.upgraded = False  # a polling client fetches them
    assert not line.unread
    socket.upgraded, socket.closed = True, True
    assert not line.unread
