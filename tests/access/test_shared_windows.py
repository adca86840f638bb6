"""Limits that several processes count together in Redis, and what they do without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from limits.strategies import MovingWindowRateLimiter
from redis import Redis as Client

from backend.access.shared_windows import SharedWindows
from backend.chat.errors import Unavailable
from tests.redises import Redis

LIMIT = parse("30/minute")
PROCESSES = 3


class Store:
    """The scripts' Redis, which can go away."""

    def __init__(self, redis: Redis) -> None:
        self.away = False
        self.generation = 0
        self._client = Client(port=redis.port)

    def run(self, script: str, name: str, *arguments: int | str) -> object:
        if self.away:
            raise Unavailable("away")
        return self._client.eval(script, 1, name, *arguments)

    def comes_again(self, *, lost: int = 0) -> None:
        """By another connection, and without the newest so many of what it had."""
        self.generation += 1
        for name in self._client.keys("*") if lost else ():
            self._client.ltrim(name, lost, -1)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def store(redis_server: Redis) -> Iterator[Store]:
    redis_server.flush()
    store = Store(redis_server)
    yield store
    store.close()


@pytest.fixture
def desks(store: Store) -> list[Callable[[], bool]]:
    """Each process's: asking there says whether that is within the limit."""

    def desk() -> Callable[[], bool]:
        options = {"processes": lambda: PROCESSES, "generation": lambda: store.generation}
        limiter = MovingWindowRateLimiter(SharedWindows(run=store.run, **options))
        return lambda: limiter.hit(LIMIT, "alice")

    return [desk() for _ in range(PROCESSES)]


def allowed(desks: list[Callable[[], bool]], times: int) -> int:
    """How many of so many at once are."""
    with ThreadPoolExecutor(10) as pool:
        return sum(pool.map(lambda n: desks[n % len(desks)](), range(times)))


def test_all_processes_together_allow_the_limit(desks: list[Callable[[], bool]]) -> None:
    assert allowed(desks, 100) == 30


def test_while_the_store_is_away_each_allows_its_share(desks: list[Callable[[], bool]], store: Store) -> None:
    store.away = True
    assert [allowed([desk], 50) for desk in desks] == [10, 10, 10]


def test_what_a_process_allowed_before_counts_against_its_share(
    desks: list[Callable[[], bool]], store: Store
) -> None:
    assert allowed(desks[:1], 4) == 4
    store.away = True
    assert [allowed([desk], 50) for desk in desks] == [6, 10, 10]


def test_an_outage_is_told_once_and_its_end_as_well(
    desks: list[Callable[[], bool]], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for away in (True, True, False, False, True):
        store.away = away
        desks[0]()
    assert [record.message.rpartition(" ")[2] for record in caplog.records] == ["away", "again", "away"]


def test_what_was_allowed_while_the_store_was_away_counts_when_it_is_back(
    desks: list[Callable[[], bool]], store: Store
) -> None:
    store.away = True
    assert allowed(desks, 24) == 24
    store.away = False
    first = [desk() for desk in desks]  # each tells what it allowed when it is asked
    assert first.count(True) + allowed(desks, 100) == 6, "the budget is not doubled"
    assert allowed(desks, 100) == 0


def test_what_could_not_be_told_yet_is_told_later(desks: list[Callable[[], bool]], store: Store) -> None:
    store.away = True
    assert allowed(desks[:1], 5) == 5
    assert allowed(desks[:1], 5) == 5
    store.away = False
    assert allowed(desks, 100) == 20


@pytest.mark.parametrize("lost", [0, 3, 30])
def test_what_a_store_has_lost_that_was_restarted_counts(
    desks: list[Callable[[], bool]], store: Store, lost: int
) -> None:
    assert allowed(desks, 24) == 24
    store.comes_again(lost=lost)
    first = [desk() for desk in desks]
    assert first.count(True) + allowed(desks, 100) == 6, "each process tells what it had allowed"
    store.comes_again()
    assert allowed(desks, 100) == 0


def test_what_is_left_and_when_there_is_more_is_told_with_and_without_the_store(store: Store) -> None:
    now_s = 1_800_000_000.0
    windows = SharedWindows(
        run=store.run, processes=lambda: PROCESSES, generation=lambda: 0, now=lambda: now_s
    )
    limiter = MovingWindowRateLimiter(windows)
    limiter.hit(LIMIT, "alice")
    stats = limiter.get_window_stats(LIMIT, "alice")
    assert stats.remaining == 29
    assert now_s + 59 < stats.reset_time <= now_s + 60
    store.away = True
    assert limiter.get_window_stats(LIMIT, "alice").remaining < 30
