"""How late the hub runs its green threads: what all of them wait when one computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from backend.chat.ports import Runtime
from backend.telemetry.histogram import Histogram

EVERY_S = 0.05
WINDOW_S = 15.0
"""As long as the usual time between two scrapes, so that each stall is in one."""
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class HubLag(Collector):
    """Sleeps for a moment, again and again, and measures how much longer that took."""

    def __init__(self, registry: CollectorRegistry, runtime: Runtime) -> None:
        self._runtime = runtime
        self._recent = deque[tuple[float, float]](maxlen=round(WINDOW_S / EVERY_S))
        self._all = Histogram(
            "parley_hub_lag_seconds", "How late a green thread that slept for 50 ms was woken", LAG_S
        )
        registry.register(self._all)
        registry.register(self)

    def watch(self) -> None:
        """Never ends."""
        while True:
            self.sample()

    def sample(self) -> None:
        due_s = self._runtime.monotonic() + EVERY_S
        self._runtime.sleep(EVERY_S)
        now_s = self._runtime.monotonic()
        late_s = max(0.0, now_s - due_s)
        self._all.observe(late_s)
        self._recent.append((now_s, late_s))

    def worst_s(self) -> float:
        """The longest lag that ended in the last 15 s."""
        since_s = self._runtime.monotonic() - WINDOW_S
        return max((late_s for at_s, late_s in self._recent if at_s >= since_s), default=0.0)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "parley_hub_lag_worst_seconds", "The longest hub lag of the last 15 s", self.worst_s()
        )
