"""What gathers while something is being done, on each runtime."""

from __future__ import annotations

import json

from tests.runtime.conftest import Run


def test_who_was_just_answered_is_in_the_next_call_beside_those_who_waited(run: Run) -> None:
    script = """
import json
from backend.stores.gathering import Gathering

together, replied, done = [], green.signal(), [0] * 20

def work(items):
    together.append(len(items))
    if len(together) == 1:
        for n in range(10, 20):
            green.spawn(lambda n=n: ask(n))
    green.sleep(0.001)
    for n in items:
        done[n] += 1
    replied.notify()

gathering = Gathering(work, green)

def ask(n):
    for times in range(1, 11):
        gathering.add(n)
        replied.wait_for(lambda: done[n] == times, 10)

for n in range(10):
    green.spawn(lambda n=n: ask(n))
while sum(done) < 200:
    green.sleep(0.01)
print(json.dumps(together))
"""
    together = json.loads(run(script))
    assert sum(together) == 200
    assert together.count(20) >= 8, together


def test_what_comes_without_end_does_not_keep_a_call_from_being_made(run: Run) -> None:
    script = """
from backend.stores.gathering import Gathering

calls, going = [0], [True]

def work(items):
    calls[0] += 1

gathering = Gathering(work, green)

def add():
    while going[0]:
        gathering.add(1)
        green.sleep(0)

green.spawn(add)
green.spawn(add)
until = time.monotonic() + 30
while calls[0] < 20 and time.monotonic() < until:
    green.sleep(0.01)
going[0] = False
print(calls[0] >= 20)
"""
    assert run(script) == "True"
