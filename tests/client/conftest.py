from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.access import signing
from tests.books import Books, books_of
from tests.client.faulty import FaultyLine, faulty_line_to
from tests.client.twins import TWINS, Connect, connecting
from tests.conftest import StartServer
from tests.fakes.questions import Questions
from tests.servers import Server, servers

CREDITS = 10
"""Of a test's team."""
MODELS_FILE = """
[model.demo]
price = { input = 1.0, output = 2.0 }

[model.scripted]
price = { input = 10.0, output = 20.0 }
"""


@pytest.fixture(params=TWINS)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with connecting(request.param) as connect:
        yield connect


@pytest.fixture(scope="session")
def questions() -> Iterator[Questions]:
    """What the model `scripted` answers."""
    with Questions() as questions:
        yield questions


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, questions: Questions) -> Iterator[Server]:
    """One for all tests of the client, on the default runtime: what differs between runtimes is no client's
    business."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "models.toml").write_text(MODELS_FILE)
    env = {
        "DEFAULT_MODEL": "demo",
        "DEMO_TOKENS_PER_SECOND": "0",
        "JWT_SECRET": signing.SECRET,
        "MAX_STREAMS_PER_CALLER": "200",
        "OPENAI_API_KEY": "sk-test-0123456789",
        "OPENAI_BASE_URL": questions.upstream.base_url,
        "OPENAI_MODELS": "scripted",
    }
    with servers(folder) as started:
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(scope="session")
def books(server: Server) -> Iterator[Books]:
    with books_of(server) as books:
        yield books


@pytest.fixture
def line(server: Server) -> Iterator[FaultyLine]:
    with faulty_line_to(server.port) as line:
        yield line


@pytest.fixture
def team() -> str:
    """The id of the test's own."""
    return f"team-{uuid4().hex}"


@pytest.fixture
def key(books: Books, team: str) -> str:
    """The team's."""
    return books.team(team, CREDITS)


@pytest.fixture
def client(line: FaultyLine, connect: Connect, key: str, team: str) -> Any:
    """The team's, over a line that may be faulty."""
    return connect(line.url, key, team)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    with servers(tmp_path) as started:

        def start(**env: str) -> Server:
            folder = tmp_path / f"server{len(started)}"
            folder.mkdir()
            started.append(Server(folder, env))
            return started[-1]

        yield start
