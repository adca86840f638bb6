"""The green runtime's own primitives, in a process of their own: patching is for a whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import ROOT

PRELUDE = """
from backend import runtime
runtime.patch()
import random, time
import eventlet
green = runtime.EventletRuntime()
"""


def run(script: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, ran.stderr
    return ran.stdout.strip()


def test_every_waiter_sees_every_change_however_waits_and_wake_ups_meet() -> None:
    script = """
signal, level, seen = green.signal(), [0], []

def follow(dice):
    last = 0
    while last < 2000:
        if signal.wait_for(lambda: level[0] > last, dice.choice([0.0005, 0.002, 1.0])):
            last = level[0]
    seen.append(last)

for n in range(50):
    green.spawn(lambda n=n: follow(random.Random(n)))
for n in range(2000):
    level[0] += 1
    signal.notify()
    green.sleep(0 if n % 3 else 0.0007)
with eventlet.Timeout(20):
    while len(seen) < 50:
        green.sleep(0.001)
print(set(seen), len(signal._waiting))
"""
    assert run(script) == "{2000} 0"


def test_a_wait_that_nobody_ends_ends_with_its_time() -> None:
    script = """
started = time.monotonic()
print(green.signal().wait_for(lambda: False, 0.05), time.monotonic() - started >= 0.05)
"""
    assert run(script) == "False True"


def test_a_killed_waiter_is_not_woken_again() -> None:
    script = """
signal = green.signal()
waiter = eventlet.spawn(signal.wait_for, lambda: False, 10)
green.sleep(0.01)
waiter.kill()
signal.notify()
green.sleep(0.01)
print(len(signal._waiting))
"""
    assert run(script) == "0"


@pytest.mark.parametrize("work", ["time.sleep", "raising"])
def test_offloaded_work_leaves_the_others_running(work: str) -> None:
    script = """
import eventlet.patcher
real_sleep = eventlet.patcher.original("time").sleep
ticks = []

def tick():
    while True:
        ticks.append(1)
        green.sleep(0.005)

def block():
    real_sleep(0.5)
    if WORK == "raising":
        raise KeyError("as it was")
    return "done"

green.spawn(tick)
try:
    print(green.offload(block), len(ticks) > 10)
except KeyError as exc:
    print(exc, len(ticks) > 10)
""".replace("WORK", repr(work))
    assert run(script) == ("done True" if work == "time.sleep" else "'as it was' True")
