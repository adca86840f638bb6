"""The primitives of each runtime, in processes of their own: patching is for a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import runtime
from backend.chat.errors import Misconfigured
from backend.config import Config, load
from tests.runtime.conftest import Run
from tests.servers import ROOT


def test_every_waiter_sees_every_change_however_waits_and_wake_ups_meet(run: Run) -> None:
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
ends_s = time.monotonic() + 20
while len(seen) < 50 and time.monotonic() < ends_s:
    green.sleep(0.001)
print(set(seen), len(signal._waiting))
"""
    assert run(script) == "{2000} 0"


def test_others_run_while_a_name_is_looked_up(runtime_name: str) -> None:
    script = """
import _socket, os, time
sleep, look_up, asked = time.sleep, _socket.getaddrinfo, []

def slowly(*named, **more):
    asked.append(named[0])
    sleep(0.3)
    return look_up(*named, **more)

_socket.getaddrinfo = slowly
from pathlib import Path
from backend import runtime
green = runtime.start(os.environ, Path("/nowhere"))
import socket
from urllib3.util.connection import create_connection
listening = socket.create_server(("127.0.0.1", 0))
turns = [0]

def turn():
    while True:
        turns[0] += 1
        green.sleep(0.01)

green.spawn(turn)
create_connection(("localhost", listening.getsockname()[1])).close()
print(asked, turns[0] > 10)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    env = {**os.environ, "RUNTIME": runtime_name}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("['localhost'] True", "")


def test_a_wait_that_nobody_ends_ends_with_its_time(run: Run) -> None:
    script = """
started = time.monotonic()
print(green.signal().wait_for(lambda: False, 0.05), time.monotonic() - started >= 0.05)
"""
    assert run(script) == "False True"


def test_waits_of_all_lengths_share_a_signal_and_end_with_their_time(run: Run) -> None:
    script = """
signal, ended = green.signal(), {}

def wait(seconds):
    began = time.monotonic()
    signal.wait_for(lambda: False, seconds)
    ended[seconds] = time.monotonic() - began

for seconds in (1.4, 0.05, 0.7, 1.2, 0.3):
    green.spawn(lambda seconds=seconds: wait(seconds))
green.sleep(0.1)
signal.notify()
while len(ended) < 5:
    green.sleep(0.01)
print(list(ended), all(took >= seconds for seconds, took in ended.items()), len(signal._waiting))
"""
    assert run(script) == "[0.05, 0.3, 0.7, 1.2, 1.4] True 0"


def test_alarms_of_waits_of_all_lengths_do_not_pile_up_while_somebody_waits(run: Run) -> None:
    script = """
from backend.runtime.green import GreenSignal

class CountingLoop(type(green._loop)):
    alarms = 0

    def later(self, seconds, call):
        self.alarms += 1
        super().later(seconds, lambda: self.rung(call))

    def rung(self, call):
        self.alarms -= 1
        call()

loop = CountingLoop()
signal, over = GreenSignal(loop), []
green.spawn(lambda: over.append(signal.wait_for(lambda: False, 60)))
for n in range(20):
    green.sleep(0)
    signal.wait_for(lambda: False, 0.01)
ends_s = time.monotonic() + 20
while loop.alarms > 1 and time.monotonic() < ends_s:
    green.sleep(0.01)
print(loop.alarms)
"""
    assert run(script) == "1"


def test_two_who_always_wake_each_other_keep_nobody_from_their_turn(run: Run) -> None:
    script = """
signals, served = [green.signal(), green.signal()], [0, 0]

def serve(me):
    while served[me] < 1_000_000:
        served[me] += 1
        signals[1 - me].notify()
        signals[me].wait_for(lambda: served[1 - me] > served[me], 10)

for me in (0, 1):
    green.spawn(lambda me=me: serve(me))
for _ in range(10):
    green.sleep(0.001)
print(0 < served[0] < 1_000_000)
served[:] = 1_000_000, 1_000_000
"""
    assert run(script) == "True"


QUIET = {
    "eventlet": "import eventlet.debug; eventlet.debug.hub_exceptions(False)",
    "gevent": "import gevent; gevent.get_hub().print_exception = lambda *_: None",
}


def test_one_that_breaks_when_woken_keeps_nobody_else_asleep(run: Run, runtime_name: str) -> None:
    script = """
signal, woken = green.signal(), []

def follow(n):
    signal.wait_for(lambda: go, 10)
    woken.append(n)
    raise KeyError(n)

go = False
for n in range(5):
    green.spawn(lambda n=n: follow(n))
green.sleep(0.01)
go = True
signal.notify()
ends_s = time.monotonic() + 5
while len(woken) < 5 and time.monotonic() < ends_s:
    green.sleep(0.01)
print(woken)
"""
    assert run(QUIET[runtime_name] + script) == "[0, 1, 2, 3, 4]"


KILLING = {
    "eventlet": "import eventlet; spawn, kill = eventlet.spawn, eventlet.kill",
    "gevent": "import gevent; spawn, kill = gevent.spawn, gevent.kill",
}


def test_a_killed_waiter_is_not_woken_again(run: Run, runtime_name: str) -> None:
    script = """
signal = green.signal()
waiter = spawn(signal.wait_for, lambda: False, 10)
green.sleep(0.01)
kill(waiter)
signal.notify()
green.sleep(0.01)
print(len(signal._waiting))
"""
    assert run(KILLING[runtime_name] + script) == "0"


@pytest.mark.parametrize("work", ["time.sleep", "raising"])
def test_offloaded_work_leaves_the_others_running(run: Run, work: str) -> None:
    script = """
import ctypes
ticks = []

def tick():
    while True:
        ticks.append(1)
        green.sleep(0.005)

def block():
    ctypes.CDLL(None).usleep(500_000)
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


def test_green_threads_take_turns_on_the_standard_librarys_sockets_and_locks(run: Run) -> None:
    script = """
listener = socket.create_server(("127.0.0.1", 0))
lock, order = threading.Lock(), []

def answer():
    peer, _ = listener.accept()
    with peer:
        order.append(peer.recv(10))
        with lock:
            peer.sendall(b"late")

lock.acquire()
green.spawn(answer)
client = socket.create_connection(listener.getsockname())
client.settimeout(5)
client.sendall(b"early")
while not order:
    green.sleep(0.001)
lock.release()
print(order, client.recv(10))
client.close(), listener.close()
"""
    assert run(script) == "[b'early'] b'late'"


def test_only_the_chosen_library_is_imported(run: Run, runtime_name: str) -> None:
    script = "import sys; print([name for name in runtime.LIBRARIES if name in sys.modules])"
    assert run(script) == f"['{runtime_name}']"


def test_the_file_is_heeded_where_the_environment_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("export RUNTIME='gevent' # the other one\n")
    script = "import os; from pathlib import Path; from backend import runtime; "
    script += "print(runtime.start({'RUNTIME': ''}, Path(os.environ['AT'])).name)"
    env = {**os.environ, "AT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"gevent\n", b"")


def test_an_unknown_runtime_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="RUNTIME must be eventlet or gevent, not 'asyncio'"):
        runtime.start({"RUNTIME": "asyncio"}, tmp_path)


def test_a_runtime_that_is_not_installed_is_refused_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gevent", None)
    monkeypatch.delitem(sys.modules, runtime.LIBRARIES["gevent"], raising=False)
    with pytest.raises(Misconfigured, match=r"gevent needs gevent: .* -r requirements-gevent\.txt"):
        runtime.start({"RUNTIME": "gevent"}, tmp_path)


def test_the_settings_know_the_same_runtimes(tmp_path: Path) -> None:
    assert Config().runtime == next(iter(runtime.LIBRARIES))
    for name in runtime.LIBRARIES:
        assert load({"RUNTIME": name}, tmp_path).runtime == name
