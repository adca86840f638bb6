"""A server in front of an upstream that answers by script, and OpenAI's SDK before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.runtime import LIBRARIES
from tests.access import signing
from tests.fakes.questions import Questions
from tests.redises import Redis
from tests.sdks import SDKS, Sync, connected
from tests.server.processes import Upstream, processes
from tests.servers import Server, servers, several

MODELS_FILE = """
[[upstream]]
name = "first"
base_url = "{0}"
models = ["weak"]

[[upstream]]
name = "second"
base_url = "{0}"
models = ["strong"]

[group.either]
members = [{{ model = "weak" }}, {{ model = "strong" }}]
cooldown_s = 0
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The asynchronous SDK meets the server on its first runtime only: what it adds has nothing to do with
    which one that is."""
    again = [item for item in items if is_async_again(item)]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if not is_async_again(item)]


def is_async_again(item: pytest.Item) -> bool:
    first, *_ = LIBRARIES
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("sdk") == "async" and params.get("runtime_name", first) != first


@pytest.fixture(scope="module")
def questions() -> Iterator[Questions]:
    with Questions() as questions:
        yield questions


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, runtime_name: str, questions: Questions
) -> Iterator[Server]:
    """A server that a module's tests share. The scripted upstream stands behind `fake` and `maker/fake-1`,
    and twice behind `either`."""
    folder = tmp_path_factory.mktemp("relay")
    (folder / "models.toml").write_text(MODELS_FILE.format(questions.upstream.base_url))
    with servers(folder) as started:
        env = {
            **several(runtime_name),
            "DEMO_TOKENS_PER_SECOND": "0",
            "JWT_SECRET": signing.SECRET,
            "OPENAI_BASE_URL": questions.upstream.base_url,
            "OPENAI_API_KEY": "sk-test-0123456789",
            "OPENAI_MODELS": "fake,maker/fake-1",
        }
        started.append(Server(folder, env))
        yield started[0]


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest, relay: Server) -> Iterator[Sync]:
    with connected(request.param, relay) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def scripted() -> Iterator[Upstream]:
    """An upstream that answers as each question says."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def trio(
    tmp_path_factory: pytest.TempPathFactory, runtime_name: str, redis_server: Redis, scripted: Upstream
) -> Iterator[list[Server]]:
    """Three servers on the shared Redis, that a module's tests share."""
    redis_server.flush()
    folder = tmp_path_factory.mktemp("trio")
    with processes(folder, 3, redis_server.url, scripted, runtime_name) as started:
        yield started


@pytest.fixture(scope="session")
def one_runtime(request: pytest.FixtureRequest) -> str:
    """For what has nothing to do with which runtime it is."""
    first, *_ = LIBRARIES
    return str(request.config.getoption("runtime") or first)
