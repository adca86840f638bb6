"""Lines that are cut and doors that are changed at random, and an answer that loses nothing."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import clients
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer
from tests.server.test_chat import with_upstream
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

WALKERS = 20
CUTS = {"eventlet": 1000, "gevent": 200}
"""A thousand are promised; what differs between runtimes shows sooner."""


class Walk:
    """One reader's way through an answer, over many connections."""

    def __init__(self, server: Server, stream_id: str, chance: random.Random) -> None:
        self.server = server
        self.stream_id = stream_id
        self.chance = chance
        self.text = ""
        self.count = 0
        self.cuts = 0
        self.ended = False

    def go(self) -> None:
        while not self.ended:
            steps = self.chance.randint(0, 30)
            self.chance.choice((self._over_http, self._over_a_socket))(steps)
            self.cuts += 1

    def _take(self, data: dict[str, object], ended: bool) -> None:
        assert "reset" not in data, data
        if ended:
            assert data["tokens"] == self.count
            self.ended = True
            return
        assert data["count"] > self.count, "nothing comes twice"  # type: ignore[operator]
        self.text += str(data["token"])
        self.count = int(str(data["count"]))

    def _over_http(self, steps: int) -> None:
        following = clients.resume(self.server, self.stream_id, self.count)
        for _, event in zip(range(steps), following, strict=False):
            assert "error" not in event.data, event.data
            self._take(event.data, "done" in event.data)
        following.drop()

    def _over_a_socket(self, steps: int) -> None:
        socket = Socket(self.server)
        asked = socket.call("chat_resume", {"stream_id": self.stream_id, "after": self.count})
        assert asked["ok"], asked
        for _ in range(steps):
            if self.ended:
                break
            name, data = socket.next()
            assert name in ("chat_token", "chat_complete"), data
            self._take(data, name == "chat_complete")
        self.chance.choice((socket.drop, socket.close))()


def test_a_thousand_cuts_and_changes_of_door_lose_nothing(
    start_server: StartServer, runtime_name: str
) -> None:
    cuts = CUTS[runtime_name]
    tokens = [f"{n}:\u2028 ü€😀\r\n\x85 " for n in range(cuts * 6 // 5)]
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with FakeUpstream(answer(tokens, gap_s=0.014)) as upstream:
        server = with_upstream(start_server, upstream)
        stream_id = Socket(server).call("chat_stream", {"message": "go"})["stream_id"]
        walks = [Walk(server, stream_id, random.Random(seed + n)) for n in range(WALKERS)]
        with ThreadPoolExecutor(WALKERS) as pool:
            for walk in [pool.submit(walk.go) for walk in walks]:
                walk.result()
        assert {walk.text == "".join(tokens) for walk in walks} == {True}
        assert sum(walk.cuts for walk in walks) >= cuts
        assert upstream.calls == 1
