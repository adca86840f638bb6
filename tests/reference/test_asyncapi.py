from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from backend.chat.events import Failed, Finished, Header, Usage
from backend.chat.log import Log
from backend.chat.news import News
from backend.wire import sockets
from tests import clients
from tests.fakes.runtime import ThreadSignal
from tests.reference.documents import Document, at, closed, every, served
from tests.servers import ROOT, Server
from tests.sockets import Socket

AT = "2026-11-21T05:00:00.000000+00:00"
SPECIFICATION = ROOT / "tests/node/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"


@pytest.fixture(scope="module")
def document() -> Document:
    return served("asyncapi", max_message_chars=300, max_answer_tokens=20, host="localhost", port=8080)


def test_it_is_a_document_as_asyncapi_wants_it(document: Document) -> None:
    if not SPECIFICATION.exists():
        pytest.fail("AsyncAPI's specification is missing: npm ci --prefix tests/node", pytrace=False)
    specification = json.loads(SPECIFICATION.read_text("utf-8"))
    errors = [error.message for error in jsonschema_rs.Draft7Validator(specification).iter_errors(document)]
    assert errors == []


def test_every_reference_in_it_leads_somewhere(document: Document) -> None:
    for pointer in every(document, "$ref"):
        at(document, pointer)


def test_every_message_and_every_schema_is_used(document: Document) -> None:
    used = {pointer.rpartition("/")[2] for pointer in every(document, "$ref")}
    assert set(document["channels"]["chat"]["messages"]) - used == set()
    assert set(document["components"]["schemas"]) - used == set()


def test_what_is_said_of_a_field_is_told_also_where_it_is_inherited(document: Document) -> None:
    partial = document["components"]["schemas"]["ChatStreamBody"]["properties"]["partial"]
    assert partial["default"] is False
    assert partial["description"].startswith("Whether every event repeats")


def test_limits_and_address_are_told_as_they_are_set(document: Document) -> None:
    fields = document["components"]["schemas"]["ChatStreamBody"]["properties"]
    assert fields["message"]["maxLength"] == 300
    assert [kind["maximum"] for kind in fields["max_tokens"]["anyOf"] if kind["type"] == "integer"] == [20]
    assert document["servers"]["parley"]["host"] == "localhost:8080"


def test_whatever_a_client_sends_is_acknowledged_with_success_or_a_refusal(document: Document) -> None:
    for name, operation in document["operations"].items():
        if operation["action"] == "receive":
            payloads = [
                at(document, message["$ref"])["payload"] for message in operation["reply"]["messages"]
            ]
            successes = [at(document, payload["$ref"])["properties"]["ok"]["const"] for payload in payloads]
            assert sorted(successes) == [False, True], name


def answer(closing: Finished | Failed) -> Log:
    log = Log(Header("stream", "", "session", "question", "message", "demo", AT), ThreadSignal())
    log.append(["Hello", " there"])
    log.close(closing)
    return log


FINISHED = answer(Finished("stop", 2, 0.4, 1.5, Usage(9, 2, 11, estimated=True), AT, history_dropped=1))
FAILED = answer(Failed("upstream_error", 502, "It broke off", 2, AT))


@pytest.mark.parametrize(
    "packet",
    [
        sockets.token_packet(FINISHED.header, FINISHED.read(0)),
        sockets.token_packet(FINISHED.header, FINISHED.read(0), "Hello there"),
        sockets.closing_packet(FINISHED),
        sockets.closing_packet(FAILED),
        sockets.reset_packet(FINISHED.header, "Hello", 1),
        sockets.news_packet(News("session", "message", FINISHED)),
        sockets.news_packet(News("session", "deleted")),
    ],
    ids=lambda packet: packet[:20],
)
def test_a_real_event_has_its_shape_and_no_other_field(document: Document, packet: str) -> None:
    name, fields = json.loads(packet[1:])
    shape = document["channels"]["chat"]["messages"][name]["payload"]["$ref"].rpartition("/")[2]
    jsonschema_rs.Draft202012Validator(closed(document, shape)).validate(fields)


class Checked:
    """A socket of the door, all of whose words are held to the document."""

    def __init__(self, server: Server, document: Document) -> None:
        self.told: set[str] = set()
        self._socket = Socket(server)
        self._document = document

    def call(self, event: str, ok: bool = True, **payload: object) -> Any:
        said = self._socket.call(event, payload)
        for row in self._document["operations"][event]["reply"]["messages"]:
            reference = at(self._document, row["$ref"])["payload"]
            if at(self._document, reference["$ref"])["properties"]["ok"]["const"] is ok:
                self._check(reference, said)
        assert said["ok"] is ok
        return said

    def hear(self, *until: str) -> None:
        for name, fields in self._socket.until(*until):
            self.told.add(name)
            self._check(self._document["channels"]["chat"]["messages"][name]["payload"], fields)

    def _check(self, reference: Document, fields: object) -> None:
        shape = reference["$ref"].rpartition("/")[2]
        jsonschema_rs.Draft202012Validator(closed(self._document, shape)).validate(fields)


@pytest.mark.server
def test_what_a_real_door_says_has_the_shapes_and_no_other_field(server: Server, document: Document) -> None:
    """All but `auth_expired` and `server_draining`, which take their time to come."""
    socket, other = Checked(server, document), Checked(server, document)
    room = clients.call(server, "POST", "/api/chat/sessions")[1]["session_id"]
    socket.call("session_join", session_id=room)
    asked = socket.call("chat_stream", message="[[demo tokens=3]] Hi", session_id=room, partial=True)
    socket.hear("chat_complete")
    other.call("chat_resume", stream_id=asked["stream_id"], after=1000)
    other.hear("chat_complete")
    socket.call("chat_stop", stream_id=asked["stream_id"])
    socket.call("chat_stream", message="[[demo fail=1]] Hi", session_id=room)
    socket.hear("chat_stream_error")
    for event, payload in {
        "chat_stream": {"message": " "},
        "chat_resume": {"stream_id": "no-such"},
        "chat_stop": {"stream_id": "no-such"},
        "session_join": {"session_id": "no such"},
        "session_leave": {"session_id": "no such"},
    }.items():
        socket.call(event, ok=False, **payload)
        socket.hear("chat_stream_error")
    socket.call("session_leave", session_id=room)
    sent = {name for name, row in document["operations"].items() if row["action"] == "send"}
    assert socket.told | other.told == sent - {"auth_expired", "server_draining"}
