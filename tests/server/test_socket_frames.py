"""What no good client sends over a socket, and a server that goes on as before."""

from __future__ import annotations

import json
import random
import socket as sockets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from backend.wire.websocket import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from tests import clients
from tests.conftest import StartServer
from tests.server.test_metrics import scrape, value
from tests.server.test_parsing import refused
from tests.servers import PATIENCE_S, Server, servers
from tests.sockets import HANDSHAKE, Gone, Polling, Socket, text_of
from tests.wire.test_websocket import masked

pytestmark = pytest.mark.server

MAX_BYTES = 100_000
ASK = '421["chat_stream",{"message":"[[demo echo]] Hi"}]'
LEFT = '421["chat_stream",{"message":"[[demo echo]] Hi","session_id":"left"}]'
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server whose log must stay without an error whatever is sent, and whose sockets must all end."""
    env = {
        "RUNTIME": runtime_name, "DEMO_TOKENS_PER_SECOND": "0", "MAX_BODY_BYTES": str(MAX_BYTES),
        "STORE_URL": "memory://", "LOG_LEVEL": "debug", "HEAD_TIMEOUT": "1", "HANDSHAKE_TIMEOUT": "2",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("quiet")
    with servers(folder) as started:
        server = Server(folder, env)
        started.append(server)
        answers(server)
        server.hang_up()
        before = server.descriptors
        yield server
        for drop in server.opened:
            drop()
        server.hang_up()
        wait_until(lambda: value(scrape(server), "parley_sockets_open") == 0)
        server.hang_up()
        wait_until(lambda: server.descriptors <= before)
        assert "Traceback" not in server.log
        assert " ERROR " not in server.log


@pytest.fixture(autouse=True)
def _as_before(quiet: Server) -> Iterator[None]:
    """After each of these tests the server answers as it did."""
    yield
    answers(quiet)


def answers(server: Server) -> None:
    client = Socket(server)
    assert client.call("chat_stream", {"message": "[[demo echo]] Hi"})["ok"]
    assert text_of(client.answer()) == "Hi"
    client.close()


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Raw:
    """A WebSocket of bare bytes; `path` is what comes after its transport."""

    def __init__(self, server: Server, path: str = "", fields: bytes = b"", also: bytes = b"") -> None:
        self.socket = sockets.create_connection(("127.0.0.1", server.port), PATIENCE_S)
        server.opened.append(self.socket.close)
        line = f"GET {HANDSHAKE}websocket{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
        self.socket.sendall(line + UPGRADE + fields + b"\r\n" + also)
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            assert byte, self.head
            self.head += byte
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def say(self, text: str) -> None:
        self.send(masked(TEXT, text.encode()))

    def read_to(self, end: bytes) -> bytes:
        """What comes, up to and with this."""
        seen = b""
        while not seen.endswith(end):
            byte = self.socket.recv(1)
            assert byte, f"the server closed after {seen[-200:]!r}"
            seen += byte
        return seen

    def rest(self) -> bytes:
        """All that still comes, until the server closes."""
        said = b""
        with suppress(ConnectionError):
            while data := self.socket.recv(65_536):
                said += data
        return said


def connected(server: Server) -> Raw:
    """One that is in the namespace, with nothing left to be read."""
    line = Raw(server, also=masked(TEXT, b"40"))
    line.read_to(b'40{"sid":"')
    line.read_to(b'"}')
    return line


# Packets


BAD_FRAMES = {
    "an empty one": "",
    "no packet type": "x",
    "an unknown type": "7",
    "an open packet": "0{}",
    "a hundred-digit acknowledgement id": "42" + "1" * 100 + '["chat_stream",{}]',
    "ten thousand million attachments": '4510000000000-["chat_stream",{}]',
    "a hundred attachments": '45100-["chat_stream",{}]',
    "attachments of a plain event": '421-["chat_stream",{}]',
    "an attachment of nothing": "bAAAA",
    "an event without a name": "42[]",
    "an event with a number for a name": "42[1]",
    "an event that is an object": '42{"chat_stream":1}',
    "an acknowledgement of nothing": "431[]",
    "a refusal, from a client": '44{"message":"no"}',
    "a namespace without an end": "42/" + "a" * 1000,
    "a disconnect with an id": "4112",
}


@pytest.mark.parametrize("packet", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_packet_of_nobodys_protocol_ends_its_connection(quiet: Server, packet: str) -> None:
    line = connected(quiet)
    line.say(packet)
    assert line.rest()[-4:] == close_frame(1000)
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    refused(polling.post(packet), 400, "invalid_request")
    refused(polling.get(), 400, "invalid_request")


def test_seventeen_packets_in_one_request_are_too_many(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    assert polling.post(*[ASK] * 16).status == 200
    assert "16" in refused(polling.post(*[ASK] * 17), 400, "invalid_request")
    refused(polling.get(), 400, "invalid_request")


def test_bytes_that_are_no_text_end_a_polling_connection(quiet: Server) -> None:
    for body in (b"\xff", b'42["chat_stream",{"message":"\xed\xa0\x80"}]', b"\x1e\x1e", b"d=40"):
        polling = Polling(quiet)
        assert polling.connect().startswith("40")
        refused(polling.post_raw(body), 400, "invalid_request")
        refused(polling.get(), 400, "invalid_request")


BAD_MESSAGES = {
    "over the cap in fifty fragments": (
        masked(TEXT, bytes(MAX_BYTES // 50 + 1), final=False)
        + masked(CONTINUATION, bytes(MAX_BYTES // 50 + 1), final=False) * 49, 1009,
    ),
    "16 MB, by its head alone": (b"\x81\xff" + (16 << 20).to_bytes(8, "big"), 1009),
    "a compressed one": (bytes([masked(TEXT, b"40")[0] | 0x40]) + masked(TEXT, b"40")[1:], 1002),
    "one that is not masked": (frame(TEXT, b"40"), 1002),
    "bytes that are no text": (masked(TEXT, b"42\xff"), 1007),
    "a fragment of nothing": (masked(CONTINUATION, b"40"), 1002),
    "a thousand empty fragments": (
        masked(TEXT, final=False) + masked(CONTINUATION, final=False) * 1001, 1009,
    ),
    "a long ping": (masked(PING, bytes(126)), 1002),
    "an unknown opcode": (masked(0xB), 1002),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_what_breaks_the_framing_is_told_its_code(quiet: Server, data: bytes, code: int) -> None:
    line = connected(quiet)
    with suppress(ConnectionError):
        line.send(data)
    assert line.rest() == close_frame(code)


def test_compression_is_offered_in_vain(quiet: Server) -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    assert b"sec-websocket-extensions" not in Raw(quiet, fields=offer).head.lower()


def test_a_binary_message_that_no_event_announced_ends_the_connection(quiet: Server) -> None:
    line = connected(quiet)
    line.send(masked(BINARY, b"\x00"))
    assert line.rest() == close_frame(1000)


PAYLOADS = {
    "a list": "[1]", "a number": "7", "a float": "1.5", "null": "null", "a text": '"Hi"', "nothing": None,
    "two": '{"message":"Hi"},{"message":"Hi"}', "a wrong type": '{"message":7}',
    "an unknown field": '{"message":"Hi","api_key":"sk"}',
}  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize(
    "event", ["chat_stream", "chat_resume", "chat_stop", "session_join", "session_leave"]
)
def test_a_payload_that_no_event_takes_is_refused_over_polling(
    quiet: Server, event: str, payload: str | None
) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    assert polling.post(f'421["{event}"{"" if payload is None else "," + payload}]').status == 200
    error, acknowledgement = polling.poll()
    (name, fields), (said,) = json.loads(error[2:]), json.loads(acknowledgement[3:])
    assert (name, fields) == ("chat_stream_error", said)
    assert (said["code"], said["type"]) == (400, "invalid_request")


def test_binary_payloads_are_refused_over_both_transports(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    assert polling.post('451-1["chat_stream",{"_placeholder":true,"num":0}]', "bAAAA").status == 200
    assert json.loads(polling.poll()[0][2:])[1]["type"] == "invalid_request"
    client = Socket(quiet)
    client.send_frame('451-["chat_stream",{"_placeholder":true,"num":0}]')
    client.line.send_binary(b"\x00")
    assert client.next()[1]["type"] == "invalid_request"
    assert client.call("chat_stream", {"message": "Say hello"})["ok"]


def test_events_that_are_no_json_are_refused_and_the_connection_goes_on(quiet: Server) -> None:
    client = Socket(quiet)
    for data in ("{", "NaN", '{"a":1,"a":2}', '"\\ud800"', "1e999", "[" * 90_000):
        client.send_frame(f'4277["chat_stream",{data}]')
        _, error = client.next()
        assert error["type"] == "invalid_json"
        assert client.acknowledged(77) == error
    assert client.call("chat_stream", {"message": "Say hello"})["ok"]


# Order


def test_a_second_connect_another_namespace_and_a_return_after_leaving(quiet: Server) -> None:
    client = Socket(quiet)
    for packet in ("40", "40", "40/admin,", '40/,{"token":"x"}'):
        client.send_frame(packet)
        assert str(client.line.recv()).startswith("44")
    client.send_frame('42/admin,1["chat_stream",{"message":"Hi"}]')
    client.send_frame("41")
    client.send_frame(ASK)
    client.send_frame("41")
    client.send_frame("40")
    assert str(client.line.recv()).startswith('40{"sid":"')
    assert client.call("chat_stream", {"message": "Say hello"})["ok"]


def test_events_after_a_disconnect_do_nothing(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    assert polling.post("1", LEFT).status == 200
    refused(polling.post(ASK), 400, "invalid_request")
    client = Socket(quiet)
    for packet in ("41", LEFT, "1", LEFT):
        client.send_frame(packet)
    assert client.gone_within(PATIENCE_S)
    assert not client.heard
    assert clients.call(quiet, "GET", "/api/chat/sessions/left")[0] == 404


def test_pongs_that_nobody_asked_for_and_pings_are_borne(quiet: Server) -> None:
    line = connected(quiet)
    for _ in range(200):
        line.send(masked(PONG) + masked(TEXT, b"3") + masked(TEXT, b"2probe") + masked(TEXT, b"5"))
    line.send(masked(PING, b"still there?"))
    line.read_to(frame(PONG, b"still there?"))


def upgraded(server: Server, polling: Polling) -> Raw:
    """The same connection, on a WebSocket."""
    line = Raw(server, f"&sid={polling.open_packet['sid']}")
    line.say("2probe")
    assert line.socket.recv(8) == frame(TEXT, b"3probe")
    polling.get()
    line.say("5")
    line.send(masked(PING))
    line.read_to(frame(PONG, b""))
    return line


def test_requests_after_the_upgrade_are_refused_and_the_socket_goes_on(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    line = upgraded(quiet, polling)
    assert polling.post(ASK).status == 400
    assert polling.get().status == 400
    line.say(ASK)
    seen = line.read_to(b"chat_complete")
    assert seen.count(b'431[{"ok":true') == 1


def test_an_upgrade_that_goes_wrong_leaves_the_connection_polling(quiet: Server) -> None:
    for packets in (("2",), ("40",), ("x",), ("2probe", "x"), ("2probe", "2probe"), ("2probe",), ()):
        polling = Polling(quiet)
        assert polling.connect().startswith("40")
        line = Raw(quiet, f"&sid={polling.open_packet['sid']}")
        for packet in packets:
            line.say(packet)
        line.socket.close()
        deadline = time.monotonic() + PATIENCE_S
        polling.post(ASK)
        while not any("chat_complete" in packet for packet in polling.poll()):
            assert time.monotonic() < deadline, packets


def test_two_upgrades_at_once_break_nothing(quiet: Server) -> None:
    for _ in range(5):
        polling = Polling(quiet)
        assert polling.connect().startswith("40")
        lines = [Raw(quiet, f"&sid={polling.open_packet['sid']}") for _ in range(3)]
        for packet in ("2probe", "5", ASK):
            for line in lines:
                with suppress(OSError):
                    line.say(packet)
        for line in lines:
            line.socket.close()


def test_a_second_websocket_that_comes_to_nothing_takes_no_answers_from_the_first(quiet: Server) -> None:
    for packets in ((), ("2probe",), ("2probe", "x")):
        polling = Polling(quiet)
        assert polling.connect().startswith("40")
        line = Raw(quiet, f"&sid={polling.open_packet['sid']}")
        line.say("2probe")
        assert line.socket.recv(8) == frame(TEXT, b"3probe")
        second = Raw(quiet, f"&sid={polling.open_packet['sid']}")
        for packet in packets[:1]:
            second.say(packet)
            assert second.socket.recv(8) == frame(TEXT, b"3probe")
        line.say("5")
        line.send(masked(PING))
        line.read_to(frame(PONG, b""))
        for packet in packets[1:]:
            second.say(packet)
        second.socket.close()
        line.say(ASK)
        line.read_to(b"chat_complete")


def test_two_polls_at_once_share_what_there_is(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(polling.get) for _ in range(2)]
        polling.post(ASK)
        first = waiting[0].result() if waiting[0].done() else None
        polling.post("1")
        statuses = [each.result().status for each in waiting]
    assert first is None or first.status == 200
    assert set(statuses) <= {200, 400}


# Lines


def test_a_handshake_that_dribbles_is_closed_in_time(quiet: Server) -> None:
    lines = []
    for sent in (b"GET /socket.io/?EIO=4&tr", b"GET /socket.io/ HTTP/1.1\r\nHost: x\r\n" + UPGRADE):
        line = sockets.create_connection(("127.0.0.1", quiet.port), PATIENCE_S)
        quiet.opened.append(line.close)
        line.sendall(sent)
        lines.append(line)
    closed = set[int]()
    deadline = time.monotonic() + PATIENCE_S
    while len(closed) < len(lines):
        assert time.monotonic() < deadline
        for number, line in enumerate(lines):
            with suppress(OSError):
                line.sendall(b"x")
            line.settimeout(0.05)
            try:
                if not line.recv(4096):
                    closed.add(number)
            except TimeoutError:
                continue
            except OSError:
                closed.add(number)


def test_frames_that_dribble_are_understood_until_the_time_to_say_who_one_is_is_over(quiet: Server) -> None:
    good = Raw(quiet)
    for byte in masked(TEXT, b"40") + masked(TEXT, ASK.encode()):
        good.send(bytes([byte]))
    good.read_to(b"chat_complete")
    slow = Raw(quiet)
    slow.send(masked(TEXT, b"40" + b" " * 90_000)[:20])
    deadline = time.monotonic() + PATIENCE_S
    slow.socket.settimeout(0.1)
    while True:
        assert time.monotonic() < deadline
        try:
            slow.send(b"x")
            if slow.socket.recv(4096)[-4:] == close_frame(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break


def test_a_line_that_is_half_closed_or_cut_ends_its_connection(quiet: Server) -> None:
    before = value(scrape(quiet), "parley_sockets_open")
    half = connected(quiet)
    half.socket.shutdown(sockets.SHUT_WR)
    half.rest()
    for number in range(20):
        cut = connected(quiet)
        cut.say(ASK)
        if number % 2:
            cut.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        cut.socket.close()
    wait_until(lambda: value(scrape(quiet), "parley_sockets_open") <= before)


def test_lines_that_come_and_go_in_every_state_leave_nothing(quiet: Server) -> None:
    """Bytes of a good conversation, cut anywhere, many at once."""
    said = [b"40", b'421["session_join",{"session_id":"s"}]', ASK.encode(), b"41", b"40", b"1"]
    whole = b"".join(masked(TEXT, packet) for packet in said)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    head = b"GET " + HANDSHAKE.encode() + b"websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n"

    def come_and_go(cut: int) -> None:
        with sockets.create_connection(("127.0.0.1", quiet.port), PATIENCE_S) as line:
            line.sendall((head + whole)[:cut])
            if cut % 3 == 0:
                line.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            elif cut % 3 == 1:
                line.recv(100)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(come_and_go, (chance.randint(len(head) // 2, len(head + whole)) for _ in range(300))))

    def poll_and_go(number: int) -> None:
        polling = Polling(quiet)
        polling.post("40")
        with ThreadPoolExecutor(3) as several:
            for packet in ('421["session_join",{"session_id":"s"}]', ASK, ("1", "41")[number % 2]):
                several.submit(polling.post, packet)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(poll_and_go, range(40)))


# Floods


def test_a_flood_of_pings_or_of_packets_holds_up_nobody_else(quiet: Server) -> None:
    unheard_of = masked(TEXT, b'42["%b"]' % (b"x" * 1000))
    for flood in (masked(PING, bytes(125)) * 5000, masked(PONG, bytes(125)) * 5000, unheard_of * 500):
        line, over = connected(quiet), threading.Event()

        def read(line: Raw = line) -> None:
            with suppress(OSError):
                while line.socket.recv(65_536):
                    pass

        def pour(line: Raw = line, flood: bytes = flood, over: threading.Event = over) -> None:
            with suppress(OSError):
                while not over.is_set():
                    line.send(flood)

        flooding = [threading.Thread(target=work) for work in (read, pour)]
        for thread in flooding:
            thread.start()
        try:
            for _ in range(10):
                assert quiet.pool.request("GET", f"{quiet.url}/health").status == 200
            assert flooding[1].is_alive()
        finally:
            over.set()
            line.socket.shutdown(sockets.SHUT_RDWR)
            for thread in flooding:
                thread.join(PATIENCE_S)


def test_who_sends_and_does_not_read_is_not_read_either(quiet: Server) -> None:
    line = connected(quiet)
    line.socket.settimeout(1.0)
    flood, before = masked(TEXT, b"40/%b," % (b"x" * 60)) * 2000, quiet.memory_bytes
    with pytest.raises(TimeoutError):
        for _ in range(500):
            line.send(flood)
    assert quiet.memory_bytes - before < 8 << 20
    line.socket.close()


def test_who_polls_for_nothing_may_not_send_for_ever(quiet: Server) -> None:
    polling = Polling(quiet)
    assert polling.connect().startswith("40")
    statuses = []
    while not statuses or statuses[-1] == 200:
        statuses.append(polling.post(*['421["session_leave",{"session_id":"a"}]'] * 16).status)
        assert len(statuses) < 1000
    assert statuses[-1] == 400
    assert len(statuses) > 10


def test_a_flood_of_events_runs_into_the_address_limit_and_is_cut(start_server: StartServer) -> None:
    for packet in ('42["chat_stream",{"message":""}]', '42["unheard-of"]', "42[{"):
        server = start_server(ADDRESS_LIMIT="20/minute")
        client = Socket(server)
        errors = []
        with pytest.raises(Gone):
            for _ in range(200):
                client.send_frame(packet)
            while True:
                errors.append(client.next()[1])
        codes = [error["code"] for error in errors]
        assert codes[:20].count(429) == 0
        assert codes[20] == 429
        assert errors[20]["retry_after"] > 0
        assert len(codes) < 200
        assert server.pool.request("GET", f"{server.url}{HANDSHAKE}polling").status == 429
