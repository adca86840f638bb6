"""Answers that are read in another process than the one that writes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench.asking import Client, stream_id_of
from bench.bench import Bench
from bench.redis_server import RedisServer
from bench.scale import RATE
from bench.servers import PARLEY_STREAM, Server


def measure_elsewhere(bench: Bench, runtime: str, program: str) -> dict[str, float]:
    """What a token costs the writer, the reader and Redis, beside what it costs where nobody else reads."""
    found: dict[str, float] = {}
    with RedisServer(program) as redis, ExitStack() as started:
        servers = [started.enter_context(bench.start(runtime, STORE_URL=redis.url)) for _ in range(2)]
        for name, followed in (("alone", False), ("elsewhere", True)):
            writer, reader, commands, received, sent, cpu = _read(bench, redis, servers, runtime, followed)
            found |= {
                f"{name}_writer_us": writer, f"{name}_reader_us": reader, f"{name}_commands": commands,
                f"{name}_received": received, f"{name}_sent": sent, f"{name}_redis_us": cpu,
            }  # fmt: skip
    return found


def _read(
    bench: Bench, redis: RedisServer, servers: list[Server], runtime: str, followed: bool
) -> tuple[float, ...]:
    """For each token: microseconds of the writer and of the reader, and what Redis did."""
    scale = bench.scale
    streams, tokens = scale.elsewhere, scale.elsewhere_tokens
    writer, reader = servers
    script = f"tokens={tokens} tps={RATE} ttft={scale.ahead_s}"
    with ExitStack() as open_ones, ThreadPoolExecutor(streams) as pool:
        clients = [Client(writer.port) for _ in range(streams)]
        for client in clients:
            open_ones.callback(client.close)
        answers = list(pool.map(lambda client: client.begin(script), clients))
        before, cpu = redis.usage(), [server.gauge.cpu_s for server in servers]
        readers = [
            open_ones.enter_context(
                bench.load.clients(
                    port=reader.port, method="GET", mark=PARLEY_STREAM[runtime].mark, tokens=tokens,
                    path=f"/api/chat/streams/{stream_id_of(answer)}?after=0&partial=false",
                )
            )
            for answer in answers if followed
        ]  # fmt: skip
        reports = [each.report() for each in readers]
        for answer in answers:
            answer.read()
        spent = redis.usage().since(before).each(streams * tokens)
        took = [
            (server.gauge.cpu_s - then) * 1e6 / (streams * tokens)
            for server, then in zip(servers, cpu, strict=True)
        ]
    if sum(report.failed for report in reports):
        raise RuntimeError("some who read elsewhere did not get the whole answer")
    return (*took, spent.commands, spent.received, spent.sent, spent.cpu_s * 1e6)
