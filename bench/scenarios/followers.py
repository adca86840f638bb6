"""One answer that many follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.asking import Client, stream_id_of
from bench.bench import Bench
from bench.load import Quantiles
from bench.servers import PARLEY_STREAM, Server

PACE = 100
"""Tokens a second: a model that is quick."""


@contextmanager
def followed(server: Server, script: str) -> Iterator[str]:
    """The path of an answer that is under way."""
    client = Client(server.port)
    answer = client.begin(script)
    try:
        yield f"/api/chat/streams/{stream_id_of(answer)}?after=0&partial=false"
    finally:
        answer.close()
        client.close()


def measure_gap(bench: Bench, server: Server, runtime: str) -> dict[str, float]:
    """How much longer the next token takes when so many follow. The median is the model's pace, however
    late all are."""
    alone, among = (_gaps_ms(bench, server, runtime, n) for n in (1, bench.scale.followers))
    return {"follower_gap_p99_ms": among.p99 - alone.p99}


def _gaps_ms(bench: Bench, server: Server, runtime: str, followers: int) -> Quantiles:
    tokens = int(bench.scale.followed_s * PACE)
    with followed(server, f"tokens={tokens} tps={PACE} ttft={bench.scale.ahead_s}") as path:
        report = bench.load.run(
            port=server.port, method="GET", path=path, mark=PARLEY_STREAM[runtime].mark, tokens=tokens,
            streams=followers,
        )  # fmt: skip
    if report.failed:
        raise RuntimeError(f"{report.failed} of {followers} followers did not get the whole answer")
    return report.gap_ms


def measure_memory(bench: Bench, runtime: str) -> dict[str, float]:
    """What an answer takes beyond one half as long, with one follower and with many: what a follower
    itself takes, a batch, is in both."""
    many, tokens = bench.scale.followers, bench.scale.followed_tokens
    taken = {
        n: _held_kib(bench, runtime, tokens, n) - _held_kib(bench, runtime, tokens // 2, n) for n in (1, many)
    }
    return {"followed_kib": taken[1], "followed_by_many_kib": taken[many]}


def _held_kib(bench: Bench, runtime: str, tokens: int, followers: int) -> int:
    """What a server has taken when an answer of so many tokens has been read by all and goes on."""
    with bench.start(runtime) as server:
        before = server.gauge.settled_kib()
        mark = PARLEY_STREAM[runtime].mark
        with followed(server, f"tokens={tokens + 1} tps=0 hang={tokens}") as path:
            with bench.load.clients(
                hold=1, port=server.port, method="GET", path=path, mark=mark, tokens=tokens,
                streams=followers,
            ):  # fmt: skip
                return server.gauge.settled_kib() - before
