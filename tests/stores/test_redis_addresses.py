"""What a `redis…://` address opens."""

from __future__ import annotations

import pytest

from backend.chat.errors import Misconfigured
from backend.stores.redis.client import connector
from tests.redises import Redis


def test_a_unix_socket_is_an_address(redis_server: Redis) -> None:
    client = connector(redis_server.unix_url)()
    assert client.ping()
    client.close()


@pytest.mark.parametrize("query", ["?no_such_option=1", "?socket_timeout=soon"])
def test_an_option_that_cannot_be_is_refused_at_once(query: str) -> None:
    with pytest.raises(Misconfigured, match="STORE_URL"):
        connector(f"redis://127.0.0.1:6379/0{query}")
