"""When `/v1/chat/completions` says that its caller may ask again."""

from __future__ import annotations

import pytest

from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, rate_limited

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("said", "given"), [("70", "70"), (None, "5")])
@pytest.mark.any_runtime
def test_the_limit_of_an_upstream_says_when_to_ask_again(
    start_server: StartServer, said: str | None, given: str
) -> None:
    with FakeUpstream(rate_limited(said)) as upstream:
        server = start_server(OPENAI_BASE_URL=upstream.base_url, OPENAI_MODELS="m")
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        response = server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body, retries=False)
    assert response.status == 429
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert response.headers["Retry-After"] == given
    assert response.headers.get("X-Should-Retry") == ("false" if said else None)
