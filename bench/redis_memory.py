"""How much memory a Redis needs for answers and sessions: `python -m bench.redis_memory` prints it.

A real server writes answers into a real Redis, which then says how large each key is.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.redises import Redis
from tests.servers import Server

ANSWERS = 20
SESSIONS = 4
KINDS = ((1000, 100), (1000, 0), (10, 100))
"""Tokens of an answer, and tokens a second, 0 for as fast as it can: a token that comes alone is a row of its
own in Redis, those that come together share one."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Redis(folder / "redis") as redis:
            print(f"Redis {redis.info('server')['redis_version']}; bytes for an answer")
            env = {"STORE_URL": redis.url, "MAX_STREAMS_PER_CALLER": str(ANSWERS)}
            server = Server(folder, env)
            try:
                for tokens, pace in KINDS:
                    measure(server, redis, tokens, pace)
            finally:
                server.kill()


def measure(server: Server, redis: Redis, tokens: int, pace: int) -> None:
    redis.flush()
    before = redis.info("memory")["used_memory"]

    def converse(number: int) -> int:
        """Several answers, one after another in a session; how long their texts are together."""
        body = {"message": f"[[demo tokens={tokens} tps={pace}]] Tell me more", "session_id": f"s{number}"}
        return sum(len(answer(server, {**body, "partial": False})) for _ in range(ANSWERS // SESSIONS))

    with ThreadPoolExecutor(SESSIONS) as pool:
        text = sum(pool.map(converse, range(SESSIONS))) / ANSWERS
    used = redis.info("memory")["used_memory"] - before
    print(
        f"{tokens:,} tokens, {pace or 'unlimited'} a second: {used / ANSWERS:,.0f}, of which text {text:,.0f}"
    )
    for kind, bytes_ in sorted(by_kind(redis).items()):
        print(f"    {kind:10} {bytes_ / ANSWERS:>8,.0f}")


def answer(server: Server, body: dict[str, object]) -> bytes:
    """Its text."""
    events = server.pool.request("POST", f"{server.url}/api/chat/stream", json=body).data
    last = events.strip().rpartition(b"\ndata: ")[2]
    text: str = json.loads(last)["full_response"]
    return text.encode()


def by_kind(redis: Redis) -> dict[str, int]:
    """How large the keys of each kind are together."""
    found: dict[str, int] = defaultdict(int)
    for key in redis.client.scan_iter(count=1000):
        if "}" in key:
            found[key.rpartition(":")[2]] += redis.command("MEMORY", "USAGE", key, "SAMPLES", 0)
    return found


if __name__ == "__main__":
    main()
