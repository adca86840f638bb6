"""Many at once, cancelled and left: nothing is lost, and nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parley_client import AsyncParley, Done, Parley
from tests.client.test_package import CLIENT
from tests.client.twins import QUICK, Connect, run
from tests.line import line_to
from tests.programs import until
from tests.servers import Server

pytestmark = pytest.mark.server

MANY = 60

LEAVES = """
import asyncio, sys
from parley_client import AsyncParley, Parley

async def leave(url):
    async with AsyncParley(url) as client:
        async for event in client.stream_chat("[[demo hang=2]] Say hello"):
            break
        async for chunk in client.completion_stream([{"role": "user", "content": "Hello"}]):
            break
        never_begun = client.stream_chat("Say hello")
    async with AsyncParley(url) as client:
        print((await client.stream_chat("[[demo tokens=2]] Say hello").read()).tokens)

asyncio.run(leave(sys.argv[1]))
with Parley(sys.argv[1]) as client:
    for event in client.stream_chat("[[demo hang=2]] Say hello"):
        break
    never_begun = client.stream_chat("Say hello")
"""


def test_many_streams_of_one_client_run_side_by_side(server: Server) -> None:
    async def many() -> list[Done]:
        async with AsyncParley(server.url, patience=QUICK) as client:
            asked = (client.stream_chat(f"[[demo echo]] number {number}").read() for number in range(MANY))
            return await asyncio.gather(*asked)

    expected = [f"number {number}" for number in range(MANY)]
    assert [done.full_response.strip() for done in run(many())] == expected
    with Parley(server.url, patience=QUICK) as client, ThreadPoolExecutor(MANY) as pool:
        asked = [f"[[demo echo]] {text}" for text in expected]
        answers = pool.map(lambda message: client.stream_chat(message).read().full_response, asked)
        assert [answer.strip() for answer in answers] == expected


def test_a_cancelled_reader_can_come_back(server: Server) -> None:
    async def cancelled() -> str:
        async with AsyncParley(server.url, patience=QUICK) as client:
            stream = client.stream_chat("[[demo hang=3]] Say hello")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stream.read()
            again = client.resume(str(stream.stream_id), 3)
            await client.stop(str(stream.stream_id))
            done = await again.read()
            assert done.full_response == stream.text
            return done.finish_reason

    assert run(cancelled()) == "stopped"


def test_a_stream_that_is_dropped_frees_its_connection(connect: Connect, server: Server) -> None:
    with line_to(server.port) as line:
        client = connect(line.url, alone=True)
        for _ in client.stream_chat("[[demo hang=3]] Say hello", "dropped"):
            break

        def is_freed() -> bool:
            client.sessions.get("dropped")
            return line.connections == 0

        until(is_freed, "the connection is freed")
        client.stop(client.sessions.get("dropped").live_stream.stream_id)


def test_leaving_in_mid_answer_leaves_no_warning(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEAVES, server.url], cwd=tmp_path,
        env={"PYTHONPATH": str(CLIENT)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
