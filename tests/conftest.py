from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from backend.runtime import LIBRARIES
from backend.stores.redis.streams import CLOCKS_APART_S
from tests.chromium import ARGS, CHROMIUM
from tests.fakes.runtime import ThreadRuntime
from tests.postgres import Postgres
from tests.programs import until
from tests.redises import Cluster, Redis, cluster
from tests.servers import Server, Service, servers, several
from tests.stores.kinds import KINDS, Stores

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

StartServer = Callable[..., Server]

FIRST = (
    "bench/test_bench.py",
    "server/test_reference.py",
    "browser/test_coming_back.py",
    "browser/test_everyone.py",
    "browser/test_never_lost.py",
    "browser/test_transports.py",
    "test_docs.py",
    "browser/test_signing_in.py",
    "server/test_socket_crowds.py",
    "server/test_survival.py",
    "server/test_processes_going_on.py",
    "test_workers.py",
)
"""What takes longest: begun late, it would run on when all else has ended."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runtime", choices=LIBRARIES, help="try the server on this runtime only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever meets a running server meets one on each runtime, unless its module says with RUNTIMES, or it
    says itself with `any_runtime`, that one is enough."""
    if "runtime_name" in metafunc.fixturenames:
        only = metafunc.config.getoption("runtime")
        names = [only] if only else list(getattr(metafunc.module, "RUNTIMES", LIBRARIES))
        if metafunc.definition.get_closest_marker("any_runtime"):
            del names[1:]
        metafunc.parametrize("runtime_name", names, indirect=True, scope="module")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """On gevent servers keep what they have in Redis, each in a database of its own."""
    with ExitStack() as stack:
        started: list[Redis] = []
        numbers = count()

        def deploy() -> dict[str, str]:
            if not started:
                started.append(stack.enter_context(Redis(tmp_path_factory.mktemp("stores"), databases=4096)))
            return {"STORE_URL": f"{started[0].url.removesuffix('0')}{next(numbers)}", "LEASE_S": "3"}

        Server.deployments = {"gevent": deploy}
        yield


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
def share_server(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[StartServer]:
    """`share_server(AUTH="required")` is the server with these variables that a module's tests share: it is
    started for the first of them."""
    folder = tmp_path_factory.mktemp("shared")
    known: dict[frozenset[tuple[str, str]], Server] = {}
    with servers(folder) as started:

        def share(**env: str) -> Server:
            variables = frozenset(env.items())
            if variables not in known:
                place = folder / f"server{len(started)}"
                place.mkdir()
                known[variables] = Server(place, {"RUNTIME": runtime_name, **env})
                started.append(known[variables])
            return known[variables]

        yield share


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, runtime_name: str) -> Iterator[Server]:
    """A server that a module's tests share: the built-in model as fast as it can."""
    folder = tmp_path_factory.mktemp("server")
    with servers(folder) as started:
        env = {"DEMO_TOKENS_PER_SECOND": "0", "MAX_STREAMS_PER_CALLER": "200", **several(runtime_name)}
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


@pytest.fixture
def older_redis_url(redis_server: Redis, redis_url: str) -> str:
    """That of one that has surely run since before any answer of the test's began, also by clocks that are as
    far apart as may be: only then does anybody go on with what another process has left."""
    until(lambda: redis_server.info("server")["uptime_in_seconds"] >= CLOCKS_APART_S + 2, "it is old enough")
    return redis_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests; who stops it starts their own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests: Playwright runs one at a time in a process."""
    if not CHROMIUM.exists():
        pytest.fail("Chromium is missing: install it with apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """Where a store of this kind keeps what it has: nothing yet."""
    if kind == "redis":
        return str(request.getfixturevalue("redis_url"))
    if kind == "cluster":
        nodes: Cluster = request.getfixturevalue("nodes")
        nodes.flush()
        return nodes.url
    return str(tmp_path)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_stores(kind: str, place: str) -> Iterator[Callable[..., Stores]]:
    opened: list[Stores] = []

    def open_(ttl_s: float = 3600.0) -> Stores:
        opened.append(KINDS[kind](ThreadRuntime(), place, ttl_s))
        return opened[-1]

    yield open_
    for stores in opened:
        stores.close()
