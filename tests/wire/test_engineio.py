from __future__ import annotations

import json

import pytest
from engineio.packet import Packet as EnginePacket
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from backend.chat.errors import InvalidJson
from backend.wire.engineio import MAX_ATTACHMENTS, SEPARATOR, BadFrame, Frames


@pytest.mark.parametrize(
    "frame",
    [
        "1",
        "2probe",
        "3",
        "5",
        "40",
        "40/,",
        '40{"token":"x"}',
        "41",
        '42["chat_stream",{"message":"a, b - c"}]',
        '4212["chat_stream",{"message":"[1-2]"}]',
        '42999999999999999["a"]',
    ],
)
def test_what_clients_send_passes_as_it_is(frame: str) -> None:
    assert Frames().read(frame) == frame


@pytest.mark.parametrize(
    "frame",
    [
        "", "0", "7", "x", "2", "2x", "3x", "3probe", "6", "4", "47", "4x", "4[", "40[1]", "40x", "401{}",
        "41{}", "411", "42", "42{}", "42[]", "42[1]", '42["a"', '42x["a"]', "43[1]", "431[1]",
        '44{"message":"x"}', "46", '421-["a"]', '45["a"]', '4517-["a"]',
        '459999999999-["a"]', '4599999999999["a"]',
        '4510000000000-["a"]',
        "421" + "0" * 99 + '["a"]', '42٣["a"]', "4" + "[" * 100_000, "42" + "[" * 100_000, b"binary", "bAAAA",

        '42["connect",{}]', '42["disconnect"]', '421["connect"]', '42["a",NaN]',
        '42["a",{"b":1,"b":2}]', '42["a","\\ud800"]', '42["a",1e999]',
    ],
)  # fmt: skip
def test_what_no_client_sends_ends_the_connection(frame: str | bytes) -> None:
    with pytest.raises(BadFrame):
        Frames().read(frame)


def test_an_event_that_is_no_strict_json_is_told_when_there_is_somebody_to_tell() -> None:
    frames, refused = Frames(), list[tuple[InvalidJson, str]]()
    frames.refuse = lambda error, number: refused.append((error, number))
    for number, data in enumerate(("NaN", '{"b":1,"b":2}', '"\\ud800"', "1e999", "[" * 100_000)):
        assert frames.read(f'42{number or ""}["a",{data}]') is None
    assert [number for _, number in refused] == ["", "1", "2", "3", "4"]
    assert frames.read('42["a"]') == '42["a"]'


def test_a_binary_event_is_read_without_its_attachments() -> None:
    frames = Frames()
    frame = '452-/,7["chat_stream",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert (
        frames.read(frame)
        == '42/,7["chat_stream",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    )
    with pytest.raises(BadFrame):
        frames.read('42["an event among the attachments"]')
    assert frames.read(b"one") is None
    assert frames.read("bdHdv") is None
    with pytest.raises(BadFrame):
        frames.read(b"three")


def test_attachments_are_few() -> None:
    assert Frames().read(f'45{MAX_ATTACHMENTS}-["a"]')
    with pytest.raises(BadFrame):
        Frames().read(f'45{MAX_ATTACHMENTS + 1}-["a"]')


@pytest.mark.parametrize("packet", ["2", "2probe", "5", "6"])
def test_what_belongs_to_websockets_does_not_come_by_polling(packet: str) -> None:
    with pytest.raises(BadFrame):
        Frames().read_payload(SEPARATOR.join(['42["a"]', packet]))


def test_a_polling_request_carries_few_packets() -> None:
    packets = ['42["a"]'] * 16
    assert Frames().read_payload(SEPARATOR.join(packets)) == SEPARATOR.join(packets)
    with pytest.raises(BadFrame):
        Frames().read_payload(SEPARATOR.join([*packets, "3"]))
    assert Frames().read_payload(SEPARATOR.join(['451-["a"]', "bAAAA", "3"])) == SEPARATOR.join(
        ['42["a"]', "3"]
    )


@given(st.text(max_size=40) | st.binary(max_size=10) | st.from_regex(r"4[0-6]([0-9]+-)?(/,)?[0-9]*[\[{].*"))
def test_whatever_comes_it_is_read_or_refused_and_the_libraries_can_read_it(frame: str | bytes) -> None:
    try:
        read = Frames().read(frame)
    except BadFrame:
        return
    assert read is not None
    packet = EnginePacket(encoded_packet=read)
    if read[0] == "4":
        assert isinstance(packet.data, str)
        inner = Packet(encoded_packet=packet.data)
        assert inner.attachment_count == 0
        if inner.packet_type == 2:
            assert inner.data == json.loads(packet.data[packet.data.index("[") :])
