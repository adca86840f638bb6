from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.strategies import MovingWindowRateLimiter, RateLimiter

from backend.access.rates import Budget
from backend.access.windows import SWEEP_AT, Windows
from backend.chat.errors import RateLimited
from backend.chat.events import Header
from backend.chat.requests import Caller
from tests.fakes.asking import asking

EPOCH_S = 1_800_000_000.0


class Clock:
    """Two clocks, as a machine has: one that only goes on, and one that can be set."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.set_by_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def now(self) -> float:
        return EPOCH_S + self.passed_s + self.set_by_s

    def pass_s(self, seconds: float) -> None:
        self.passed_s += seconds


def strategy(clock: Clock) -> RateLimiter:
    return MovingWindowRateLimiter(Windows(monotonic=clock.monotonic, now=clock.now))


class Desk:
    """A budget, and who spends from it."""

    def __init__(self, rate: str) -> None:
        self.clock = Clock()
        self.budget = Budget(strategy(self.clock), rate, self.clock.now)

    def ask(self, owner: str = "", address: str = "192.0.2.1") -> int:
        """0, or how long to wait."""
        header = Header("s", owner, None, "q", "m", "demo", "", address=address)
        try:
            self.budget.admit(asking(header))
        except RateLimited as exc:
            return int(exc.extras["retry_after"])
        return 0

    def state(self, owner: str = "", address: str = "192.0.2.1") -> tuple[int, int, int]:
        limit, left, reset_s = self.budget.state(Caller(owner, address))
        return limit, left, reset_s - int(EPOCH_S)


def test_so_many_are_let_through_and_the_next_is_told_when_to_come_back() -> None:
    desk = Desk("3/minute")
    assert [desk.ask() for _ in range(4)] == [0, 0, 0, 60]
    desk.clock.pass_s(20.5)
    assert desk.ask() == 40
    desk.clock.pass_s(39.5)
    assert desk.ask() == 0


def test_after_the_time_that_was_told_there_is_room() -> None:
    desk = Desk("1/minute")
    desk.ask()
    desk.clock.pass_s(0.3)
    wait_s = desk.ask()
    desk.clock.pass_s(wait_s)
    assert desk.ask() == 0


def test_a_burst_at_the_edge_of_a_minute_gains_nothing() -> None:
    desk = Desk("30/minute")
    desk.clock.pass_s(59)
    assert sum(desk.ask() == 0 for _ in range(30)) == 30
    desk.clock.pass_s(2)
    assert sum(desk.ask() == 0 for _ in range(30)) == 0


def test_callers_have_budgets_of_their_own_wherever_they_are() -> None:
    desk = Desk("1/minute")
    assert desk.ask("user:a", "192.0.2.1") == 0
    assert desk.ask("user:a", "192.0.2.2") == 60
    assert desk.ask("user:b", "192.0.2.1") == 0
    assert desk.ask("", "192.0.2.1") == 0
    assert desk.ask("", "192.0.2.1") == 60
    assert desk.ask("", "192.0.2.2") == 0


def test_the_state_is_the_limit_what_is_left_and_when_there_is_more() -> None:
    desk = Desk("3/minute")
    assert desk.state() == (3, 3, 60)
    desk.ask()
    desk.clock.pass_s(10)
    desk.ask()
    assert desk.state() == (3, 1, 60)
    desk.ask()
    desk.ask()
    assert desk.state() == (3, 0, 60)
    desk.clock.pass_s(50)
    assert desk.state() == (3, 1, 70)
    assert desk.state(owner="user:a") == (3, 3, 120)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_neither_locks_out_nor_lets_in(jump_s: float) -> None:
    desk = Desk("1/minute")
    desk.ask()
    desk.clock.set_by_s = jump_s
    assert desk.ask() == 60
    desk.clock.pass_s(60)
    assert desk.ask() == 0


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_window_holds_more_than_the_limit(pauses: list[float], limit: int) -> None:
    desk = Desk(f"{limit}/minute")
    begun: list[float] = []
    for pause in pauses:
        desk.clock.pass_s(pause)
        if desk.ask() == 0:
            begun.append(desk.clock.passed_s)
        else:
            assert len(begun) >= limit
    assert all(later - earlier >= 60 for earlier, later in zip(begun, begun[limit:], strict=False))


def test_of_many_at_once_exactly_the_limit_is_let_through() -> None:
    often_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            for _ in range(20):
                desk = Desk("30/minute")
                waits = list(threads.map(lambda _, ask=desk.ask: ask(), range(100)))
                assert waits.count(0) == 30
    finally:
        sys.setswitchinterval(often_s)


def test_windows_that_have_run_empty_are_dropped() -> None:
    clock = Clock()
    windows = Windows(monotonic=clock.monotonic, now=clock.now)
    for number in range(20 * SWEEP_AT):
        clock.pass_s(1)
        assert windows.acquire_entry(f"caller {number}", 30, 60)
        assert len(windows) <= SWEEP_AT
    for number in range(3 * SWEEP_AT):
        assert windows.acquire_entry(f"at once {number}", 30, 60)
    assert len(windows) >= 3 * SWEEP_AT


def test_dropping_the_empty_forgets_nothing_that_counts() -> None:
    clock = Clock()
    windows = Windows(monotonic=clock.monotonic, now=clock.now)
    assert windows.acquire_entry("it", 1, 86400)
    for number in range(3 * SWEEP_AT):
        clock.pass_s(0.1)
        windows.acquire_entry(str(number), 1, 1)
    assert not windows.acquire_entry("it", 1, 86400)


def test_windows_can_be_cleared() -> None:
    windows = Windows()
    assert windows.acquire_entry("a", 1, 60)
    windows.clear("a")
    assert windows.acquire_entry("a", 1, 60)
    assert windows.reset() == 1
    assert windows.get_moving_window("a", 1, 60)[1] == 0
    assert windows.check()


def test_the_time_of_a_window_is_the_wall_clocks() -> None:
    clock = Clock()
    windows = Windows(monotonic=clock.monotonic, now=clock.now)
    windows.acquire_entry("a", 5, 60)
    clock.pass_s(7)
    oldest_s, count = windows.get_moving_window("a", 5, 60)
    assert (math.isclose(oldest_s, EPOCH_S), count) == (True, 1)
