from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.telemetry.histogram import Histogram

BOUNDS = (0.1, 0.5, 2.0)


def samples(histogram: Histogram) -> dict[str, float]:
    """What a scraper reads: buckets by their bound, `count` and `sum`."""
    registry = CollectorRegistry()
    registry.register(histogram)
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    assert family.type == "histogram"
    return {
        sample.labels.get("le", sample.name.removeprefix("parley_test_")): sample.value
        for sample in family.samples
    }


def test_an_empty_histogram_has_all_its_buckets() -> None:
    found = samples(Histogram("parley_test", "A test", BOUNDS))
    assert found == {"0.1": 0, "0.5": 0, "2.0": 0, "+Inf": 0, "count": 0, "sum": 0}


def test_a_bound_belongs_to_its_own_bucket_and_what_is_past_the_last_to_none() -> None:
    histogram = Histogram("parley_test", "A test", BOUNDS)
    for value in (0.0, 0.1, 0.11, 0.5, 2.0, 2.1, 100.0):
        histogram.observe(value)
    found = samples(histogram)
    assert [found[bound] for bound in ("0.1", "0.5", "2.0", "+Inf")] == [2, 4, 5, 7]
    assert found["count"] == 7
    assert abs(found["sum"] - 104.81) < 1e-9


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), max_size=30))
def test_buckets_are_what_counting_one_by_one_gives(values: list[tuple[float, int]]) -> None:
    histogram = Histogram("parley_test", "A test", BOUNDS)
    counts = [0] * 4
    for value, times in values:
        histogram.observe(value, times)
        counts[bisect_left(BOUNDS, value)] += times
    found = samples(histogram)
    assert [found[bound] for bound in ("0.1", "0.5", "2.0", "+Inf")] == [
        sum(counts[: end + 1]) for end in range(4)
    ]
    assert found["count"] == sum(counts)
