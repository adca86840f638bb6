"""The simulation of workers and shards: what must hold for any costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.capacity.clock import Clock, Cores, Process
from bench.capacity.costs import MEASURED, TWO_WORKERS
from bench.capacity.plan import Plan
from bench.capacity.simulation import quantile, simulate

FEW = Plan(streams=40, workers=2, tokens=30, ramp_s=0.5)
STEADY = replace(FEW, ramp_s=1, for_s=4)
SLOW = replace(MEASURED, turn_s=30 * MEASURED.turn_s)


def test_every_token_arrives_however_slow_the_worker_is() -> None:
    for costs in (MEASURED, SLOW):
        assert simulate(FEW, costs).tokens == FEW.streams * FEW.tokens


def test_the_same_seed_gives_the_same() -> None:
    plan = replace(FEW, elsewhere=0.5)
    assert simulate(plan, MEASURED) == simulate(plan, MEASURED)


def test_a_worker_with_time_to_spare_writes_every_token_by_itself_at_its_pace() -> None:
    seen = simulate(FEW, MEASURED)
    assert seen.row_tokens == pytest.approx(1, abs=0.05)
    assert seen.share > 0.98
    assert seen.p50_ms == pytest.approx(1000 / FEW.rate, rel=0.02)


def test_a_worker_without_writes_several_at_once() -> None:
    seen = simulate(replace(FEW, workers=1), SLOW)
    assert seen.row_tokens > 1.3
    assert seen.worker > 0.95


def test_a_slow_redis_is_what_is_busy() -> None:
    seen = simulate(STEADY, replace(MEASURED, redis_row_s=2e-3))
    assert seen.redis > 0.8 > seen.worker


def test_shards_share_the_rows() -> None:
    one, four = (simulate(replace(FEW, shards=shards), MEASURED) for shards in (1, 4))
    assert four.redis < one.redis


def test_what_is_read_elsewhere_costs_more_and_arrives_all_the_same() -> None:
    here, elsewhere = (simulate(replace(FEW, elsewhere=share), MEASURED) for share in (0.0, 1.0))
    assert elsewhere.tokens == here.tokens
    assert elsewhere.worker > here.worker


def test_on_shared_cores_nobody_has_more_than_there_are() -> None:
    seen = simulate(replace(STEADY, cores=1), SLOW)
    assert 0.4 < seen.worker < 0.6
    assert seen.worker + seen.redis < 1


def test_answers_that_follow_each_other_keep_up_the_rate() -> None:
    seen = simulate(STEADY, MEASURED)
    assert seen.share == pytest.approx(1, abs=0.05)


def test_it_finds_what_was_measured() -> None:
    seen = simulate(TWO_WORKERS.plan, MEASURED)
    assert seen.share == pytest.approx(TWO_WORKERS.share, rel=0.15)
    assert TWO_WORKERS.p99_ms / 2 < seen.p99_ms < TWO_WORKERS.p99_ms * 2
    assert seen.worker_us == pytest.approx(TWO_WORKERS.worker_us, rel=0.35)


def test_a_process_does_one_thing_after_another_and_waits_for_a_core() -> None:
    clock, ends = Clock(), list[float]()
    cores = Cores(clock, 1)
    first, second = Process(cores), Process(cores)
    for process in (first, first, second):
        process.do(1.0, lambda: ends.append(clock.now_s))
    clock.run(10.0)
    assert ends == [1.0, 2.0, 3.0]
    assert (first.busy_s, second.busy_s) == (2.0, 1.0)


def test_a_quantile_counts_what_came_together() -> None:
    assert quantile([1.0, 2.0, 3.0], 0, 0.5) == 2.0
    assert quantile([1.0], 3, 0.5) == 0.0
    assert quantile([], 0, 0.99) == 0.0
