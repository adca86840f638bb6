from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from backend.runtime import LIBRARIES
from tests.redises import Redis
from tests.servers import Server, Service, servers

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

StartServer = Callable[..., Server]

CHROMIUM = Path(which("chromium") or which("chromium-browser") or which("google-chrome") or "chromium")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runtime", choices=LIBRARIES, help="try the server on this runtime only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever meets a running server meets one on each runtime."""
    if "runtime_name" in metafunc.fixturenames:
        only = metafunc.config.getoption("runtime")
        metafunc.parametrize("runtime_name", [only] if only else LIBRARIES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def runtime_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def start_server(tmp_path: Path, runtime_name: str) -> Iterator[StartServer]:
    """`start_server(DEMO_TOKENS_PER_SECOND="0")` is a real server with these variables."""
    with servers(tmp_path) as started:

        def start(**env: str) -> Server:
            folder = tmp_path / f"server{len(started)}"
            folder.mkdir()
            started.append(Server(folder, {"RUNTIME": runtime_name, **env}))
            return started[-1]

        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server that a module's tests share: the built-in model as fast as it can."""
    folder = tmp_path_factory.mktemp("server")
    with servers(folder) as started:
        env = {"RUNTIME": runtime_name, "DEMO_TOKENS_PER_SECOND": "0", "MAX_STREAMS_PER_CALLER": "200"}
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Service]:
    """The HTTP server with an application that does what Parley's doors never do."""
    service = Service(tmp_path_factory.mktemp("service"), runtime_name)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One Redis for all tests, each of which leaves it running; who stops or freezes one starts its own."""
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The shared Redis, emptied."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests: Playwright runs one at a time in a process."""
    if not CHROMIUM.exists():
        pytest.fail("Chromium is missing: install it with apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()
