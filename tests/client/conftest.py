from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.twins import TWINS, Connect, connecting
from tests.conftest import StartServer
from tests.servers import Server, servers


@pytest.fixture(params=TWINS)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with connecting(request.param) as connect:
        yield connect


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of the client, on the default runtime: what differs between runtimes is no client's
    business."""
    folder = tmp_path_factory.mktemp("server")
    with servers(folder) as started:
        started.append(Server(folder, {"DEMO_TOKENS_PER_SECOND": "0", "MAX_STREAMS_PER_CALLER": "200"}))
        yield started[0]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    with servers(tmp_path) as started:

        def start(**env: str) -> Server:
            folder = tmp_path / f"server{len(started)}"
            folder.mkdir()
            started.append(Server(folder, env))
            return started[-1]

        yield start
