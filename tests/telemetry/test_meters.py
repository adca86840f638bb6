from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.chat.errors import Internal, UpstreamTimeout
from backend.chat.events import Closing, Failed, Finished, Header, Usage
from backend.telemetry.lag import WINDOW_S, HubLag
from backend.telemetry.meters import Meters
from tests.fakes.runtime import ThreadRuntime

HEADER = Header("s1", "", None, "q", "m", "demo", "2026-11-21T00:00:00+00:00")
DONE = Finished("stop", 3, 1.0, 10.0, Usage(1, 3, 4), "2026-11-21T00:00:01+00:00")


class Clock:
    """Time that passes when it is told to, and while one sleeps: `late_s` more than was asked for."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.late_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + self.late_s


class ClockRuntime(ThreadRuntime):
    """A Runtime on that clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.monotonic = clock.monotonic  # type: ignore[method-assign]
        self.sleep = clock.sleep  # type: ignore[method-assign]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meters(clock: Clock) -> Meters:
    meters = Meters("1.2.3", "memory", ClockRuntime(clock))
    meters.answers.monotonic = clock.monotonic
    return meters


def read(meters: Meters, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(meters.exposition().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_every_name_has_our_prefix_and_its_help(meters: Meters) -> None:
    families = list(text_string_to_metric_families(meters.exposition().decode()))
    assert len(families) > 15
    for family in families:
        assert family.name.startswith("parley_"), family.name
        assert family.documentation, family.name
        assert not family.name.endswith("_created"), family.name


def test_what_runs_is_said(meters: Meters) -> None:
    assert read(meters, "parley_build_info", version="1.2.3", store="memory", runtime="threading") == 1
    assert (read(meters, "parley_process_resident_memory_bytes") or 0) > 1e6
    assert (read(meters, "parley_process_open_fds") or 0) > 0


def test_an_answers_tokens_and_the_time_between_them_are_counted(meters: Meters, clock: Clock) -> None:
    tally = meters.answers.began(HEADER)
    for wait_s, entries in ((0.3, 1), (0.02, 3), (4.0, 1)):
        clock.sleep(wait_s)
        tally.wrote(entries)
    assert read(meters, "parley_tokens_total", model="demo") == 5
    assert read(meters, "parley_time_to_first_token_seconds_count") == 1
    assert read(meters, "parley_time_to_first_token_seconds_sum") == pytest.approx(0.3)
    assert read(meters, "parley_time_between_tokens_seconds_count") == 4
    assert read(meters, "parley_time_between_tokens_seconds_sum") == pytest.approx(4.02)
    assert read(meters, "parley_time_between_tokens_seconds_bucket", le="0.001") == 2, "two came together"
    assert read(meters, "parley_time_between_tokens_seconds_bucket", le="5.0") == 4


@pytest.mark.parametrize(
    ("closing", "state", "upstream_errors"),
    [
        (DONE, "done", 0),
        (replace(DONE, finish_reason="stopped"), "stopped", 0),
        (Failed.because(UpstreamTimeout("slow"), tokens=1, at=DONE.at), "failed", 1),
        (Failed.because(Internal("ours"), tokens=1, at=DONE.at), "failed", 0),
    ],
)
def test_an_answers_end_is_counted_by_how_and_by_whose_fault(
    meters: Meters, closing: Closing, state: str, upstream_errors: int
) -> None:
    meters.answers.began(HEADER).ended(closing)
    assert read(meters, "parley_answers_total", state=state, model="demo") == 1
    found = read(meters, "parley_upstream_errors_total", type="upstream_timeout", model="demo")
    assert (found or 0) == upstream_errors


def test_an_answer_that_never_wrote_has_no_first_token(meters: Meters) -> None:
    meters.answers.began(HEADER)
    assert read(meters, "parley_time_to_first_token_seconds_count") == 0
    assert read(meters, "parley_tokens_total", model="demo") is None


def test_readers_are_counted_while_they_follow(meters: Meters) -> None:
    with meters.following("sse"), meters.following("sse"):
        assert read(meters, "parley_streams_open", door="sse") == 2
    assert read(meters, "parley_streams_open", door="sse") == 0
    with pytest.raises(ValueError, match="gone"), meters.following("sse"):
        raise ValueError("gone")
    assert read(meters, "parley_streams_open", door="sse") == 0


def test_sockets_refusals_and_running_answers_are_counted(meters: Meters) -> None:
    meters.sockets_open.set(7)
    meters.refused("socket", "rate_limited")
    meters.count_running(lambda: 3)
    meters.count_settling(lambda: 2)
    assert read(meters, "parley_sockets_open") == 7
    assert read(meters, "parley_refusals_total", type="rate_limited", door="socket") == 1
    assert read(meters, "parley_answers_running") == 3
    assert read(meters, "parley_calls_settling") == 2


def test_the_worst_lag_is_that_of_the_last_15_seconds(meters: Meters, clock: Clock) -> None:
    lag: HubLag = meters.lag
    lag.sample()
    assert read(meters, "parley_hub_lag_worst_seconds") == pytest.approx(0, abs=1e-6)
    clock.late_s = 0.2
    lag.sample()
    clock.late_s = 0.01
    lag.sample()
    assert read(meters, "parley_hub_lag_worst_seconds") == pytest.approx(0.2)
    clock.now_s += WINDOW_S - 0.06
    assert read(meters, "parley_hub_lag_worst_seconds") == pytest.approx(0.2)
    clock.now_s += 0.01
    assert read(meters, "parley_hub_lag_worst_seconds") == pytest.approx(0.01)
    assert read(meters, "parley_hub_lag_seconds_count") == 3
    assert read(meters, "parley_hub_lag_seconds_sum") == pytest.approx(0.21)
