"""What answers do, counted while they do it."""

from __future__ import annotations

import logging
import time
from collections import Counter as Totals
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from backend.chat.events import Closing, Failed, Header, Route
from backend.telemetry.histogram import Histogram

logger = logging.getLogger(__name__)

FIRST_TOKEN_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Answers(Collector):
    """A `Meter` of `chat.ports`. Tokens are an answer's entries: with most upstreams one is one token."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.tokens = Totals[str]()
        self.first = Histogram(
            "parley_time_to_first_token_seconds", "From the question to the first token", FIRST_TOKEN_S
        )
        self.between = Histogram(
            "parley_time_between_tokens_seconds",
            "From one token to the next; tokens that came together are 0 apart",
            BETWEEN_TOKENS_S,
        )
        self._ended = Counter(
            "parley_answers", "Answers that ended, by how", ["state", "model"], registry=registry
        )
        self._upstream_errors = Counter(
            "parley_upstream_errors",
            "Answers that their upstream failed",
            ["type", "model"],
            registry=registry,
        )
        self._calls = Counter(
            "parley_upstream_calls",
            "Upstreams asked for an answer, by what came of it",
            ["upstream", "model", "outcome"],
            registry=registry,
        )
        self._cost = Counter(
            "parley_cost_micro_usd",
            "What answers cost, in millionths of a dollar, where the price is known",
            ["upstream", "model"],
            registry=registry,
        )
        for collector in (self, self.first, self.between):
            registry.register(collector)

    def began(self, header: Header) -> Tally:
        return Tally(self, header)

    def routed(self, header: Header, route: Route) -> None:
        """Who answers is counted when it has."""
        for call in route.tries:
            if call.failure is not None:
                self._calls.labels(call.upstream, header.model, call.failure).inc()

    def came(self, header: Header, route: Route, closing: Closing) -> None:
        """Count what came of a route, and what it took at its price."""
        if route.tries and route.tries[-1].failure is None:
            outcome = closing.type if isinstance(closing, Failed) else "answered"
            self._calls.labels(route.tries[-1].upstream, header.model, outcome).inc()
        if route.price is not None and closing.usage is not None:
            micro_usd = route.price.micro_usd(closing.usage)
            self._cost.labels(route.tries[-1].upstream, header.model).inc(micro_usd)

    def ended(self, header: Header, closing: Closing) -> None:
        self._ended.labels(closing.state, header.model).inc()
        failure = closing.type if isinstance(closing, Failed) else None
        if failure in ("upstream_error", "upstream_timeout"):
            self._upstream_errors.labels(failure, header.model).inc()
        named = {
            "stream_id": header.stream_id,
            "model": header.model,
            "state": closing.state,
            "type": failure,
        }
        level = logging.WARNING if failure else logging.DEBUG
        message = "answer %s after %d tokens, %.1f s"
        logger.log(level, message, closing.state, closing.tokens, closing.duration_s, extra=named)

    def collect(self) -> Iterator[CounterMetricFamily]:
        tokens = CounterMetricFamily("parley_tokens", "Tokens generated", labels=["model"])
        for model, count in self.tokens.items():
            tokens.add_metric([model], count)
        yield tokens


class Tally:
    """A `Tally` of `chat.ports`: one answer's numbers, on their way into everybody's."""

    __slots__ = ("_answers", "_header", "_last_s", "_route", "_started_s")

    def __init__(self, answers: Answers, header: Header) -> None:
        self._answers = answers
        self._header = header
        self._started_s = answers.monotonic()
        self._last_s: float | None = None
        self._route: Route | None = None

    def wrote(self, entries: int) -> None:
        answers = self._answers
        now_s = answers.monotonic()
        if self._last_s is None:
            answers.first.observe(now_s - self._started_s)
        else:
            answers.between.observe(now_s - self._last_s)
        if entries > 1:
            answers.between.observe(0.0, entries - 1)
        self._last_s = now_s
        answers.tokens[self._header.model] += entries

    def routed(self, route: Route) -> None:
        self._route = route
        self._answers.routed(self._header, route)

    def ended(self, closing: Closing) -> None:
        self._answers.ended(self._header, closing)
        if self._route is not None:
            self._answers.came(self._header, self._route, closing)
