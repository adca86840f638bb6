"""The official Socket.IO clients, Python's and JavaScript's, as their users use them."""

from __future__ import annotations

import json
import subprocess
import threading
from shutil import which
from typing import Any

import pytest
import socketio

from tests.clients import get
from tests.conftest import StartServer
from tests.servers import PATIENCE_S, ROOT, Server

pytestmark = pytest.mark.server


class Conversation:
    """A bare client: it asks, appends what comes, and waits for the end."""

    def __init__(self, server: Server, transports: list[str]) -> None:
        self.client = socketio.Client(reconnection=False)
        self.said: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self.completed: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self.client.on("chat_token", lambda data: self.said.append(data["token"]))
        self.client.on("chat_complete", self._complete)
        self.client.on("chat_stream_error", self.errors.append)
        self.client.connect(server.url, transports=transports)

    def _complete(self, data: dict[str, Any]) -> None:
        self.completed.append(data)
        self._ended.set()

    def ask(self, message: str) -> str:
        self.said.clear()
        self._ended.clear()
        self.client.emit("chat_stream", {"message": message})
        assert self._ended.wait(PATIENCE_S), "the answer did not end"
        return "".join(self.said)


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_pythons_client_has_a_conversation(share_server: StartServer, transports: list[str]) -> None:
    server = share_server(DEMO_TOKENS_PER_SECOND="0")
    chat = Conversation(server, transports)
    try:
        for message in ("Say hello", "And again"):
            text = chat.ask(message)
            assert text == chat.completed[-1]["full_response"] != ""
        session = get(server, f"/api/chat/sessions/{chat.completed[-1]['session_id']}")
        assert session["message_count"] == 4
        refused = chat.client.call("chat_stream", {"message": b"binary"})
        assert (refused["ok"], refused["type"]) == (False, "invalid_request")
        stream_id = chat.completed[-1]["stream_id"]
        assert chat.client.call("chat_stop", {"stream_id": stream_id})["state"] == "done"
        assert chat.client.call("chat_resume", {"stream_id": stream_id, "after": 3})["ok"]
    finally:
        chat.client.disconnect()
    assert [error["type"] for error in chat.errors] == ["invalid_request"]


@pytest.mark.parametrize("transports", ["websocket", "polling", "polling,websocket"])
def test_javascripts_client_has_a_conversation(share_server: StartServer, transports: str) -> None:
    node = which("node")
    if node is None:
        pytest.fail("Node.js is missing: install it (with npm) and run make test again", pytrace=False)
    server = share_server(DEMO_TOKENS_PER_SECOND="0")
    run = subprocess.run(
        [node, "conversation.mjs", server.url, transports],
        cwd=ROOT / "tests" / "node",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    saw = json.loads(run.stdout)
    assert saw["transport"] == ("polling" if transports == "polling" else "websocket")
    for answer in (saw["first"], saw["second"]):
        assert answer["acknowledged"]["ok"]
        assert answer["early"] == 0, "the acknowledgement comes before the first token"
        assert answer["counts"] == sorted(set(answer["counts"]))
        assert answer["text"] == answer["complete"]["full_response"] != ""
    assert saw["first"]["complete"]["session_id"] == saw["second"]["complete"]["session_id"]
    assert saw["resumed"]["ok"]
    assert (saw["stopped"]["state"], saw["complete"]["finish_reason"]) == ("stopped", "stopped")
    assert saw["refused"] == {"ok": False, **saw["error"]}
    assert [saw[name]["type"] for name in ("binary", "whole")] == ["invalid_request"] * 2
