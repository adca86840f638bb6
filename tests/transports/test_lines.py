from __future__ import annotations

import time
from collections.abc import Callable
from queue import Queue
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from engineio.packet import PING

from backend.transports.lines import MAX_UNREAD, EngineLine, Visit
from tests.fakes.runtime import ThreadSignal


class FakeSocket:
    """What is used of engine.io's."""

    def __init__(self, ping_interval: float = 0) -> None:
        self.server = SimpleNamespace(ping_interval=ping_interval)
        self.queue: Queue[Any] = Queue()
        self.closed = self.closing = False
        self.upgraded = True
        self.polled = 0
        self.last_ping: float | None = 1.0

    def send(self, packet: Any) -> None:
        assert not self.closed
        self.queue.put(packet)

    def poll(self) -> list[Any]:
        """What is sent next; nothing when the line is closed."""
        self.polled += 1
        packet = self.queue.get()
        return [] if packet is None else [packet]

    def write_to(self, websocket: FakeWebSocket) -> None:
        """As engine.io does for each WebSocket."""
        while packets := self.poll():
            for packet in packets:
                websocket.send(packet.encode())

    def schedule_ping(self) -> None:
        raise AssertionError("engine.io's own would wait in a green thread")

    @property
    def pings(self) -> int:
        return sum(packet.packet_type == PING for packet in self.queue.queue)


class FakeWebSocket:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.broken = False
        self.closed = False
        self.waiting: list[Any] = []
        self.ready = Event()
        self.ready.set()

    def wait(self) -> None:
        raise AssertionError("nobody reads here")

    def send(self, message: str | bytes) -> None:
        if self.broken:
            raise BrokenPipeError
        self.waiting.append(message)
        assert self.ready.wait(10)
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True


def line_of(socket: FakeSocket, websocket: FakeWebSocket | None = None) -> EngineLine:
    return EngineLine(socket, Visit("127.0.0.1", 0.0, websocket=websocket), ThreadSignal())


def wanted() -> bool:
    return True


def beside(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_is_delivered_goes_straight_to_the_websocket() -> None:
    socket, websocket = FakeSocket(), FakeWebSocket()
    line_of(socket, websocket).deliver('2["chat_token",{}]', wanted)
    assert websocket.sent == ['42["chat_token",{}]']
    assert line_of(socket, websocket).backlog == 0


def test_what_is_delivered_comes_after_all_that_was_sent_before() -> None:
    socket, websocket = FakeSocket(), FakeWebSocket()
    line = line_of(socket, websocket)
    websocket.ready.clear()
    line.send("3[]")
    writing = beside(lambda: socket.write_to(websocket))
    while line.backlog:  # taken from the queue, and still before the WebSocket
        time.sleep(0.001)
    delivering = beside(lambda: line.deliver("2[]", wanted))
    delivering.join(0.05)
    assert websocket.waiting == ["43[]"]
    websocket.ready.set()
    delivering.join(10)
    assert websocket.sent == ["43[]", "42[]"]
    socket.queue.put(None)
    writing.join(10)


def test_another_websocket_that_comes_to_nothing_does_not_hold_up_what_is_delivered() -> None:
    socket, websocket = FakeSocket(), FakeWebSocket()
    line = line_of(socket, websocket)
    websocket.ready.clear()
    line.send("3[]")
    writing = beside(lambda: socket.write_to(websocket))
    while not websocket.waiting:
        time.sleep(0.001)
    socket.upgraded = False  # as engine.io has it then
    websocket.ready.set()
    delivering = beside(lambda: line.deliver("2[]", wanted))
    delivering.join(10)
    assert not delivering.is_alive()
    assert websocket.sent == ["43[]", "42[]"]
    socket.queue.put(None)
    writing.join(10)


def test_a_poll_that_outlives_the_move_to_a_websocket_does_not_hold_up_what_is_delivered() -> None:
    socket, websocket = FakeSocket(), FakeWebSocket()
    socket.upgraded = False
    line = line_of(socket, websocket)
    stale = beside(lambda: socket.poll())
    while not socket.polled:
        time.sleep(0.001)
    socket.upgraded = True
    line.send("3[]")
    stale.join(10)
    assert not stale.is_alive()
    delivering = beside(lambda: line.deliver("2[]", wanted))
    delivering.join(10)
    assert websocket.sent == ["42[]"]


def test_delivering_to_a_client_that_polls_ends_when_it_was_fetched() -> None:
    socket = FakeSocket()
    socket.upgraded = False
    line = line_of(socket)
    delivering = beside(lambda: line.deliver("2[]", wanted))
    delivering.join(0.05)
    assert delivering.is_alive()
    assert [packet.data for packet in socket.poll()] == ["2[]"]
    delivering.join(10)
    assert not delivering.is_alive()


@pytest.mark.parametrize("upgraded", [True, False])
def test_delivering_ends_when_the_line_is_closed(upgraded: bool) -> None:
    socket, websocket = FakeSocket(), FakeWebSocket()
    socket.upgraded = upgraded
    line = line_of(socket, websocket)
    line.send("3[]")
    delivering = beside(lambda: line.deliver("2[]", wanted))
    delivering.join(0.05)
    assert delivering.is_alive()
    socket.closed = True
    delivering.join(10)
    assert not delivering.is_alive()
    assert websocket.sent == []


@pytest.mark.parametrize("upgraded", [True, False])
def test_who_is_sent_away_while_something_waits_for_them_gets_none_of_it(upgraded: bool) -> None:
    socket, websocket, here = FakeSocket(), FakeWebSocket(), Event()
    here.set()
    line = line_of(socket, websocket)
    socket.upgraded = upgraded
    line.send("3[]")
    delivering = beside(lambda: line.deliver("2[]", here.is_set))
    delivering.join(0.05)
    assert delivering.is_alive()
    here.clear()
    line.send("1")
    delivering.join(10)
    assert not delivering.is_alive()
    assert websocket.sent == []


def test_a_websocket_that_takes_nothing_more_is_closed() -> None:
    websocket = FakeWebSocket()
    websocket.broken = True
    line_of(FakeSocket(), websocket).deliver("2[]", wanted)
    assert websocket.closed


def test_a_ping_is_sent_when_it_is_time_and_the_next_when_it_was_answered() -> None:
    socket = FakeSocket()
    line = line_of(socket)
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
    line = line_of(socket)
    for _ in range(5):
        socket.schedule_ping()
        line.ping()
    assert socket.pings == 0


def test_a_line_that_is_closed_or_about_to_be_is_not_pinged() -> None:
    for state in ("closed", "closing"):
        socket = FakeSocket()
        line = line_of(socket)
        socket.schedule_ping()
        setattr(socket, state, True)
        line.ping()
        assert line.closed
        assert socket.pings == 0


def test_what_waits_is_unread_once_it_should_be_leaving_by_itself() -> None:
    socket = FakeSocket()
    line = line_of(socket)
    for _ in range(MAX_UNREAD - 1):
        line.send("2[]")
    assert not line.unread
    line.send("2[]")
    assert line.unread
    socket.closed = True
    assert not line.unread


def test_what_waits_for_a_client_that_polls_is_fetched_in_its_time() -> None:
    socket = FakeSocket()
    socket.upgraded = False
    line = line_of(socket)
    for _ in range(2 * MAX_UNREAD):
        line.send("2[]")
    assert not line.unread
