"""A line's faults are what they are called."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.line import Line, line_to
from tests.programs import until

SOON_S = 0.2
"""Long enough for what would come to have come."""


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """Where the line ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


@pytest.fixture
def line(far: socket.socket) -> Iterator[Line]:
    with line_to(far.getsockname()[1]) as line:
        yield line


@pytest.fixture
def ends(line: Line, far: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and its server, with the line between them."""
    with connected(line) as client, far.accept()[0] as server:
        server.settimeout(5)
        yield client, server


Ends = tuple[socket.socket, socket.socket]


def connected(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), 5)


def received(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(SOON_S)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(5)
    return False


def test_a_line_passes_both_ways_and_ends_with_either_side(line: Line, ends: Ends) -> None:
    client, server = ends
    question, answer = b"q" * 1_000_000, b"a" * 100_000
    client.sendall(question[:500_000])
    assert received(server, 500_000) == question[:500_000]
    server.sendall(answer)
    server.close()
    assert received(client, len(answer) + 1) == answer, "all of it, and then the end"
    until(lambda: line.connections == 0, "the line has let go of them")


def test_a_cut_line_ends_on_both_sides_and_takes_new_connections(
    line: Line, ends: Ends, far: socket.socket
) -> None:
    line.cut()
    assert [end.recv(1) for end in ends] == [b"", b""]
    with connected(line) as client, far.accept()[0] as server:
        client.sendall(b"again")
        assert received(server, 5) == b"again"


def test_a_reset_line_is_an_error_on_both_sides(line: Line, ends: Ends) -> None:
    line.reset()
    for end in ends:
        with pytest.raises(ConnectionResetError):
            end.recv(1)


def test_a_line_that_refuses_keeps_the_connections_there_are_and_heals(
    line: Line, ends: Ends, far: socket.socket
) -> None:
    client, server = ends
    line.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(line)
    client.sendall(b"still")
    assert received(server, 5) == b"still"
    line.heal()
    with connected(line), far.accept()[0]:
        pass


def test_what_a_black_hole_swallowed_comes_when_it_has_healed(
    line: Line, ends: Ends, far: socket.socket
) -> None:
    client, server = ends
    line.black_hole()
    client.sendall(b"lost")
    with connected(line) as other:
        other.sendall(b"also")
        assert is_silent(server)
        client.close()
        assert is_silent(server), "not even the end"
        line.heal()
        assert received(server, 5) == b"lost"
        with far.accept()[0] as another:
            assert received(another, 4) == b"also"


def test_a_line_into_nothing_ends_at_once(line: Line, far: socket.socket) -> None:
    far.close()
    with connected(line) as client:
        assert client.recv(1) == b""


def test_latency_delays_each_byte_alike_and_keeps_their_order(line: Line, ends: Ends) -> None:
    client, server = ends
    line.slow(latency_s=0.1, jitter_s=0.05)
    began = time.monotonic()
    for n in range(50):
        client.sendall(b"%02d" % n)
    assert received(server, 2) == b"00"
    assert time.monotonic() - began >= 0.1
    assert received(server, 98) == b"".join(b"%02d" % n for n in range(1, 50))
    assert time.monotonic() - began < 50 * 0.1, "they are on their way together"


def test_a_line_of_so_many_bytes_a_second_takes_its_time(line: Line, ends: Ends) -> None:
    client, server = ends
    line.slow(bytes_per_s=100_000)
    began = time.monotonic()
    client.sendall(b"x" * 30_000)
    assert len(received(server, 30_000)) == 30_000
    assert time.monotonic() - began > 0.25


def test_a_line_passes_on_in_pieces(line: Line, ends: Ends) -> None:
    client, server = ends
    line.slow(piece_bytes=3, bytes_per_s=300)

    def pieces() -> list[bytes]:
        client.sendall(b"abcdefgh")
        found: list[bytes] = []
        while len(b"".join(found)) < 8:
            found.append(server.recv(100))
        return found

    until(lambda: pieces() == [b"abc", b"def", b"gh"], "each was read by itself, as a quick reader does")
