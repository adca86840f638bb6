"""The Redis stores of several processes, in one."""

from __future__ import annotations

from backend.stores.redis.client import connector
from backend.stores.redis.opened import RedisStores, open_redis
from tests.fakes.runtime import ThreadRuntime


class Opening:
    """Each that it opens is another process; `close` ends them all."""

    def __init__(self) -> None:
        self.runtime = ThreadRuntime()
        self.opened: list[RedisStores] = []

    def open(self, url: str) -> RedisStores:
        stores = open_redis(
            connector(url), self.runtime, stream_ttl_s=3600.0, session_ttl_s=None, lease_s=2.0
        )
        stores.presence.renew()
        for loop in stores.loops:
            self.runtime.spawn(loop)
        self.opened.append(stores)
        return stores

    def close(self) -> None:
        for stores in self.opened:
            stores.close()
        self.runtime.join()
