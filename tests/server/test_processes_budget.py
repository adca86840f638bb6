"""What a caller may have is one budget, however many processes there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
import urllib3

from tests.access import signing
from tests.clients import Following, call
from tests.redises import Redis
from tests.server.processes import HANGS, Upstream, at_once, processes
from tests.servers import Server
from tests.sockets import Socket

pytestmark = pytest.mark.server

CAP = 6
_numbers = count(1)


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, one_runtime: str, redis_server: Redis, scripted: Upstream
) -> Iterator[list[Server]]:
    redis_server.flush()
    env = {"RATE_LIMIT": "30/minute", "MAX_STREAMS_PER_CALLER": str(CAP)}
    folder = tmp_path_factory.mktemp("limited")
    with processes(folder, 3, redis_server.url, scripted, one_runtime, **env) as started:
        yield started


def question(what: str) -> str:
    return f"budget {next(_numbers)}. give me {what}"


class Asker:
    """Somebody who asks at every door; each gives the status."""

    def __init__(self, name: str) -> None:
        self.token = signing.token(sub=name)
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def over_sse(self, server: Server, message: str, **headers: str) -> urllib3.BaseHTTPResponse:
        url, sent = f"{server.url}/api/chat/stream", {**self.headers, **headers}
        return server.pool.request(
            "POST", url, json={"message": message}, headers=sent, preload_content=False
        )

    def sse(self, server: Server) -> int:
        response = self.over_sse(server, question("1 tokens"))
        assert response.data
        return response.status

    def v1(self, server: Server) -> int:
        body = {"model": "fake", "messages": [{"role": "user", "content": question("1 tokens")}]}
        url = f"{server.url}/v1/chat/completions"
        return server.pool.request("POST", url, json=body, headers=self.headers).status

    def socket(self, server: Server) -> int:
        socket = Socket(server, self.token)
        said = socket.call("chat_stream", {"message": question("1 tokens")})
        return 200 if said["ok"] else int(said["code"])


def test_thirty_a_minute_of_a_hundred_at_once_over_all_processes_and_doors(limited: list[Server]) -> None:
    """With room for all of them at once: each ends before the cap is met, or is asked again."""
    asker = Asker("thirty")
    doors = [asker.sse, asker.v1, asker.socket]
    statuses: Counter[int] = Counter()
    while statuses[200] + statuses[429] < 100:
        left = 100 - statuses[200] - statuses[429]
        said = Counter(at_once(lambda n: doors[n % 3](limited[n // 3 % 3]), range(left)))
        assert set(said) <= {200, 429, 503}
        statuses += Counter({200: said[200], 429: said[429]})
    assert statuses == {200: 30, 429: 70}


def test_so_many_answers_run_at_once_for_one_caller_over_all_processes(limited: list[Server]) -> None:
    asker = Asker("many")
    hanging = question(f"one token {HANGS}")
    for server in limited * 2:
        running = Following(server, asker.over_sse(server, hanging))
        next(iter(running))
    for server in limited:
        refused = asker.over_sse(server, hanging)
        assert (refused.status, refused.json()["type"]) == (503, "unavailable")
        assert "Retry-After" in refused.headers
    path = f"/api/chat/streams/{running.stream_id}/stop"
    assert call(limited[0], "POST", path, **asker.headers)[0] == 200
    again = asker.over_sse(limited[1], hanging)
    assert again.status == 200
    again.close()


@pytest.mark.parametrize("turn", range(3))
def test_of_many_that_are_asked_at_once_exactly_so_many_run(limited: list[Server], turn: int) -> None:
    asker, hanging = Asker(f"crowd {turn}"), question(f"one token {HANGS}")
    answers = at_once(lambda server: asker.over_sse(server, hanging), limited * 7)
    assert Counter(each.status for each in answers) == {200: CAP, 503: 21 - CAP}
    for each in answers:
        if each.status == 200:
            path = f"/api/chat/streams/{each.headers['X-Stream-Id']}/stop"
            assert call(limited[0], "POST", path, **asker.headers)[0] == 200
        each.close()


@pytest.mark.parametrize("turn", range(3))
def test_one_question_that_is_asked_many_times_with_its_key_is_one_answer_to_the_cap(
    limited: list[Server], scripted: Upstream, turn: int
) -> None:
    """Who only joins it has nothing running of their own."""
    asker, hanging = Asker(f"keyed {turn}"), question(f"one token {HANGS}")

    def sent(server: Server) -> Following:
        return Following(server, asker.over_sse(server, hanging, **{"Idempotency-Key": "k"}))

    followings = at_once(sent, limited * 10)
    [stream_id] = {each.stream_id for each in followings}
    assert call(limited[turn], "POST", f"/api/chat/streams/{stream_id}/stop", **asker.headers)[0] == 200
    for each in followings:
        assert each.all()[-1].data.get("finish_reason") == "stopped"
    assert scripted.calls_of(hanging) == 1
