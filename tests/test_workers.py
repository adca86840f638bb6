"""Several processes on one port: their parent, and a worker on its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import urllib3

from backend.child import PLACE
from backend.runtime import listen
from tests.ports import free_port
from tests.servers import PATIENCE_S, PYTHONPATH, ROOT

CREW = (ROOT / "tests" / "fakes" / "crew.py").read_text()
BROKEN = "raise SystemExit(1)\n"


def wait_until(happened: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


class Crew:
    """`tests.fakes.crew` as a process, with its code in a folder of its own."""

    def __init__(self, folder: Path, code: str = CREW, **env: str) -> None:
        self.port = free_port()
        self.code = folder / "crew.py"
        self.code.write_text(code)
        self._log = folder / "crew.log"
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH, "PORT": str(self.port), "WORKERS": "2"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "crew.py"], cwd=folder, env={**clean, **env}, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(self) -> int:
        """The process id of whoever answers."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as line:
            return int(line.recv(20))

    def pids(self, count: int = 2) -> set[int]:
        """Of the workers that answer now, once there are so many of them."""
        found = set[int]()
        self.wait_for_log("serves")
        wait_until(lambda: found.add(self.ask()) or len(found) == count, lambda: self.log)
        return found

    def replaced(self, old: set[int], times: int = 1) -> set[int]:
        """Who serves now that all were replaced, and the old ones have ended."""
        self.wait_for_log("every worker has been replaced", times)
        wait_until(lambda: all(map(gone, old)), lambda: self.log)
        return self.pids(len(old))

    def wait_for_log(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.log.count(text) >= times, lambda: f"no {text!r} in\n{self.log}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


StartCrew = Callable[..., Crew]


@pytest.fixture
def start_crew(tmp_path: Path) -> Iterator[StartCrew]:
    with ExitStack() as stack:

        def start(code: str = CREW, **env: str) -> Crew:
            crew = Crew(tmp_path, code, **env)
            stack.callback(crew.stop)
            return crew

        yield start


def lines_of(pid: int) -> list[str]:
    """What kinds of pipes and sockets it has open."""
    kinds = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            kinds.append(os.readlink(each).partition(":")[0])
    return [kind for kind in kinds if kind in ("pipe", "socket")]


def gone(pid: int) -> bool:
    """Whether it has ended, even if nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_every_worker_answers_on_the_one_port_and_all_end_well(start_crew: StartCrew) -> None:
    crew = start_crew(WORKERS="3")
    pids = crew.pids(3)
    assert crew.process.pid not in pids
    crew.send(signal.SIGTERM)
    assert crew.end() == 0
    assert all(map(gone, pids))
    with pytest.raises(ConnectionRefusedError):
        crew.ask()


def test_a_killed_worker_is_replaced_at_once_and_one_that_keeps_dying_after_longer_pauses(
    start_crew: StartCrew,
) -> None:
    crew = start_crew()
    crew.wait_for_log("worker 2 (pid")
    for n in range(1, 4):
        crew.wait_for_log("serves", 1 + n)
        os.kill(int(crew.log.rpartition("worker 2 (pid ")[2].partition(")")[0]), signal.SIGKILL)
        crew.wait_for_log("starting another worker 2", n)
    assert "starting another worker 2 at once" in crew.log
    assert "starting another worker 2 in 0.02 s" in crew.log
    assert "starting another worker 2 in 0.04 s" in crew.log


def test_a_start_that_never_succeeds_is_given_up_with_what_to_do(start_crew: StartCrew) -> None:
    crew = start_crew(CREW.replace("worker.ready()", "os.abort()"))
    assert crew.end() == 1
    assert crew.log.count("died (signal 6)") == 5
    assert "giving up: 5 starts in a row came to nothing" in crew.log
    assert "worker 2" not in crew.log, "the first was started alone"


def test_who_serves_is_not_given_up_for_those_that_cannot_start(start_crew: StartCrew) -> None:
    crew = start_crew()
    first, second = crew.pids()
    crew.code.write_text(BROKEN)
    os.kill(second, signal.SIGKILL)
    crew.wait_for_log("died (exit code 1)", 8)
    assert crew.ask() == first
    crew.code.write_text(CREW)
    assert first in crew.pids()
    crew.send(signal.SIGTERM)
    assert crew.end() == 0


def test_a_setting_that_the_workers_refuse_is_told_once(start_crew: StartCrew) -> None:
    crew = start_crew(CREW.replace("assert worker\n", "print('set X', file=sys.stderr); sys.exit(2)\n"))
    assert crew.end() == 2
    assert crew.log.count("set X") == 1
    assert "died" not in crew.log


@pytest.mark.parametrize(
    "env", [{"WORKERS": "65"}, {"WORKERS": "0"}, {"WORKERS": "many"}, {"PORT": "-1"}], ids=str
)
def test_a_setting_that_the_parent_needs_is_refused_with_what_it_takes(
    start_crew: StartCrew, env: dict[str, str]
) -> None:
    crew = start_crew(**env)
    assert crew.end() == 1
    ((name, value),) = env.items()
    assert f"parley: {name} must be a" in crew.log
    assert crew.log.endswith(f"not {value!r}\n")


@pytest.mark.parametrize("signals", [[signal.SIGTERM] * 2, [signal.SIGTERM, signal.SIGINT], [signal.SIGINT]])
def test_a_second_signal_or_an_interrupt_hurries_the_workers(
    start_crew: StartCrew, signals: list[int]
) -> None:
    crew = start_crew(DRAINS="1")
    crew.pids()
    for number in signals[:-1]:
        crew.send(number)
        crew.wait_for_log("ending: 2 workers")
    crew.send(signals[-1])
    assert crew.end() == 0


def test_a_signal_to_the_whole_group_hurries_nobody(start_crew: StartCrew) -> None:
    crew = start_crew(DRAINS="1")
    pids = crew.pids()
    for pid in (*pids, crew.process.pid, *pids):
        os.kill(pid, signal.SIGTERM)
    crew.wait_for_log("ending: 2 workers")
    assert not any(map(gone, pids))
    crew.send(signal.SIGTERM)
    assert crew.end() == 0


def test_an_end_that_was_not_clean_shows_in_the_exit_code(start_crew: StartCrew) -> None:
    crew = start_crew(ENDS_WITH="7")
    crew.pids()
    crew.send(signal.SIGTERM)
    assert crew.end() == 1
    assert crew.log.count("ended badly (exit code 7)") == 2


def test_a_parent_told_to_end_while_it_starts_ends(start_crew: StartCrew) -> None:
    crew = start_crew(CREW.replace("worker.ready()", "time.sleep(60)"))
    crew.wait_for_log("starting 2 workers")
    crew.send(signal.SIGTERM)
    assert crew.end() == 0


@contextmanager
def asking_all_the_time(crew: Crew) -> Iterator[list[int]]:
    """The process ids of those who answered, in their order."""
    answered: list[int] = []
    failed: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answered.append(crew.ask())
            except Exception as exc:  # noqa: BLE001
                failed.append(exc)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answered
    finally:
        done.set()
        asker.join(PATIENCE_S)
    assert not failed


def test_all_workers_are_replaced_without_a_connection_refused(start_crew: StartCrew) -> None:
    crew = start_crew(WORKERS="3")
    old = crew.pids(3)
    with asking_all_the_time(crew) as answered:
        for n in (1, 2):
            crew.send(signal.SIGHUP)
            new = crew.replaced(old, n)
            assert not new & old
            old = new
    assert len(answered) > 50
    assert "died" not in crew.log


def test_who_drains_holds_up_no_replacement(start_crew: StartCrew) -> None:
    crew = start_crew(DRAINS="1")
    old = crew.pids()
    crew.send(signal.SIGHUP)
    crew.wait_for_log("every worker has been replaced")
    wait_until(lambda: not crew.pids() & old, lambda: crew.log)
    assert not any(map(gone, old))
    crew.send(signal.SIGTERM)
    crew.wait_for_log("ending: 4 workers")
    crew.send(signal.SIGTERM)
    assert crew.end() == 0


def test_new_code_that_cannot_start_leaves_the_old_workers_alone(start_crew: StartCrew) -> None:
    crew = start_crew()
    old = crew.pids()
    crew.code.write_text(BROKEN)
    crew.send(signal.SIGHUP)
    crew.wait_for_log("and the workers there are stay")
    assert crew.pids() == old
    crew.code.write_text(CREW.replace("os.getpid())", "(os.getpid() + 10**9))"))
    crew.send(signal.SIGHUP)
    assert min(crew.replaced(old)) > 10**9, "that is the new code"


def test_a_second_wish_to_replace_them_is_heard_after_the_first(start_crew: StartCrew) -> None:
    crew = start_crew()
    crew.pids()
    crew.send(signal.SIGHUP)
    crew.wait_for_log("replacing every worker")
    crew.send(signal.SIGHUP)
    crew.wait_for_log("every worker has been replaced", 2)
    assert len(crew.pids()) == 2


def test_an_old_worker_that_dies_during_its_replacement_is_not_replaced_twice(start_crew: StartCrew) -> None:
    crew = start_crew()
    crew.pids()
    go = crew.code.parent / "go"
    crew.code.write_text(
        CREW.replace("worker.ready()", "while not Path('go').exists(): time.sleep(0.01)\nworker.ready()")
    )
    crew.send(signal.SIGHUP)
    crew.wait_for_log("replacing every worker")
    os.kill(int(crew.log.partition("worker 1 (pid ")[2].partition(")")[0]), signal.SIGKILL)
    crew.wait_for_log("died (signal 9)")
    go.touch()
    crew.wait_for_log("every worker has been replaced")
    assert "starting another" not in crew.log
    assert len(crew.pids()) == 2


def test_workers_end_when_their_parent_is_killed_and_the_port_is_free(start_crew: StartCrew) -> None:
    crew = start_crew()
    pids = crew.pids()
    crew.process.kill()
    wait_until(lambda: all(map(gone, pids)), lambda: crew.log)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", crew.port))


def test_a_terminal_that_closes_ends_them(tmp_path: Path) -> None:
    (tmp_path / "crew.py").write_text(CREW)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH, "PORT": "0", "WORKERS": "2"}
        os.execve(sys.executable, [sys.executable, "crew.py"], env)
    said = b""
    while said.count(b"serves") < 2:
        said += os.read(terminal, 4096)
    os.close(terminal)
    wait_until(lambda: gone(pid), lambda: "it lives on")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 120), "Python says 120 where nobody hears it any more"


def test_the_parent_has_no_green_thread_library() -> None:
    script = "import sys, backend.workers; print({'eventlet', 'gevent', 'greenlet'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_a_worker_has_the_socket_and_nothing_else_of_its_parent(start_crew: StartCrew) -> None:
    crew = start_crew()
    old = crew.pids()
    crew.send(signal.SIGHUP)
    for pid in crew.replaced(old):
        wait_until(lambda pid=pid: lines_of(pid) == ["socket"], lambda pid=pid: str(lines_of(pid)))
    assert len(os.listdir(f"/proc/{crew.process.pid}/fd")) == 3 + 3, "its signals' pipe and the socket"


# A real worker, with the test as its parent


class RealWorker:
    """`python -m backend` as one of several."""

    def __init__(
        self,
        folder: Path,
        listener: socket.socket,
        parent: int | None = None,
        heard: bool = True,
        **env: str,
    ) -> None:
        """Ready when made; unless it is not `heard`: then its parent was gone before it could say so."""
        pipe, end = os.pipe()
        self.shared = folder / "shared"
        self.shared.mkdir(parents=True)
        self._log = folder / "worker.log"
        place = json.dumps([parent or os.getpid(), listener.fileno(), end, str(self.shared)])
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH, PLACE: place, "STORE_URL": "memory://"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend"],
                cwd=folder, env={**clean, **env}, stderr=log, pass_fds=[listener.fileno(), end],
            )  # fmt: skip
        os.close(end)
        with open(pipe, "rb") as said:
            assert not heard or said.read() == b".", self.log

    @property
    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        yield listener


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


StartWorker = Callable[..., RealWorker]


@pytest.fixture
def start_worker(tmp_path: Path, runtime_name: str, listener: socket.socket) -> Iterator[StartWorker]:
    started: list[RealWorker] = []

    def start(**env: object) -> RealWorker:
        folder = tmp_path / f"worker{len(started)}"
        started.append(RealWorker(folder, listener, RUNTIME=runtime_name, **env))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for worker in started:
        worker.process.kill()
        worker.process.wait(PATIENCE_S)


@pytest.mark.server
def test_a_burst_is_spread_over_the_workers_and_who_comes_too_late_waits_on(
    start_worker: StartWorker, listener: socket.socket
) -> None:
    workers = [start_worker(), start_worker()]
    address = listener.getsockname()
    request = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    def come(crowd: int) -> None:
        with ExitStack() as stack:
            lines = []
            for _ in range(crowd):
                lines.append(stack.enter_context(socket.create_connection(address, PATIENCE_S)))
                lines[-1].sendall(request)
            for line in lines:
                assert line.recv(100).startswith(b"HTTP/1.1 200")

    come(200)
    served = [worker.log.count("/api/status 200") for worker in workers]
    assert sum(served) == 200
    assert min(served) >= 30
    for _ in range(100):
        come(1)
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        assert worker.process.wait(PATIENCE_S) == 0
        assert "could not be accepted" not in worker.log
        assert f"backend[{worker.process.pid}]: ended" in worker.log


@pytest.mark.server
def test_a_replaced_worker_leaves_new_connections_to_others_and_ends_its_answers(
    start_worker: StartWorker, listener: socket.socket, stack: ExitStack
) -> None:
    old = start_worker(DEMO_TOKENS_PER_SECOND="0")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    pool = urllib3.PoolManager(timeout=PATIENCE_S, retries=False)
    body = {"message": "[[demo tokens=60 tps=40]] go", "partial": False}
    answer = pool.request("POST", f"{url}/api/chat/stream", json=body, preload_content=False)
    pieces = answer.stream(None)
    next(pieces)
    idle = stack.enter_context(socket.create_connection(listener.getsockname(), PATIENCE_S))
    idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert idle.recv(1000).startswith(b"HTTP/1.1 200")
    fresh = stack.enter_context(socket.create_connection(listener.getsockname(), PATIENCE_S))
    old.process.send_signal(signal.SIGHUP)
    assert idle.recv(1000) == b"", "a client would ask in vain on it"
    fresh.sendall(b"POST /api/chat/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n\r\n")
    fresh.sendall(b'{"message": "a"}')
    assert fresh.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until(lambda: "ending: 1 answers" in old.log, lambda: old.log)
    start_worker()
    for _ in range(20):
        asked = urllib3.request(
            "POST",
            f"{url}/api/chat/stream",
            json={"message": "[[demo tokens=1]] go"},
            headers={"Connection": "close"},
        )
        assert asked.status == 200, "nobody meets the one that drains"
    assert b'"done": true' in b"".join(pieces)
    assert old.process.wait(PATIENCE_S) == 0
    pool.clear()


@pytest.mark.server
def test_a_worker_without_its_parent_ends_and_says_why(start_worker: StartWorker) -> None:
    worker = start_worker(parent=1, LOG_FORMAT="json")
    assert worker.process.wait(PATIENCE_S) == 0
    assert "the parent process is gone" in worker.log
    assert f'"pid": {worker.process.pid}' in worker.log
    assert not worker.shared.exists()


@pytest.mark.server
def test_a_worker_whose_parent_was_gone_before_it_served_ends_as_well(start_worker: StartWorker) -> None:
    worker = start_worker(parent=1, heard=False)
    assert worker.process.wait(PATIENCE_S) == 0
    assert "the parent process is gone" in worker.log


@pytest.mark.server
def test_several_workers_need_a_store_that_they_can_share(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH, "PORT": "0"}
    (tmp_path / ".env").write_text("WORKERS=3\n")
    command = [sys.executable, "-m", "backend", "serve"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert (
        done.stderr.count("parley: WORKERS=3 needs a store that processes share: set STORE_URL=redis://") == 1
    )


HANGING = CREW.replace("assert worker\n", "assert worker\ntime.sleep(600)\n")


def test_a_worker_that_does_not_come_to_serve_is_killed_and_started_again(start_crew: StartCrew) -> None:
    crew = start_crew(HANGING, START_S="0.5")
    crew.wait_for_log("does not serve after 0.5 s, and is killed", times=2)
    crew.code.write_text(CREW)
    assert len(crew.pids()) == 2
    assert crew.log.count("giving up") == 0


def test_a_successor_that_does_not_come_to_serve_ends_the_roll(start_crew: StartCrew) -> None:
    crew = start_crew(START_S="6")
    pids = crew.pids()
    crew.code.write_text(HANGING)
    crew.send(signal.SIGHUP)
    crew.wait_for_log("before it served, and the workers there are stay")
    assert crew.pids() == pids


def test_a_worker_that_is_ended_alone_is_replaced_and_has_not_died(start_crew: StartCrew) -> None:
    crew = start_crew()
    pids = crew.pids()
    ended = min(pids)
    os.kill(ended, signal.SIGTERM)
    crew.wait_for_log("was ended by somebody else")
    assert ended not in crew.pids()
    assert "died" not in crew.log
