"""The servers that are measured, and how each is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from bench.cores import Cores
from bench.processes import Gauge, children
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0
"""LiteLLM's proxy takes a while, and longer on a busy machine."""
RUNTIMES = ("eventlet", "gevent")
DEFAULT_RUNTIME = "eventlet"
COMPLETIONS = "/v1/chat/completions"
MODEL = "bench"
"""What all know the upstream's model as."""

RAISED = {
    "RATE_LIMIT": "off",
    "ADDRESS_LIMIT": "off",
    "MAX_STREAMS": "20000",
    "MAX_STREAMS_PER_CALLER": "20000",
    "MAX_HANDSHAKES_PER_ADDRESS": "20000",
    "MAX_ANSWER_TOKENS": "60000",
    "OPENAI_MODELS": MODEL,
}
"""What Parley is told: all clients come from one address here, which its limits are made to stop."""


@dataclass(frozen=True, slots=True)
class Row:
    """A server: what is run, with which variables besides PORT; `needs` are the packages it imports."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


PYTHON = (sys.executable, "-m")
PEERS = ROOT / "bench" / "peers"
PEER_NODE = PEERS / "sockets.mjs"
LITELLM_BIN = ROOT / ".venv-litellm" / "bin"
LITELLM_FLAGS = ("--config", str(PEERS / "litellm.yaml"), "--host", "127.0.0.1", "--num_workers", "1")
MOCK_MODEL = "mock"
MOCK = 'A mock answers — word by word, "quotes" and all.'
LITELLM_ENV = {
    "MOCK_RESPONSE": MOCK,
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "True",
}
"""What peers/litellm.yaml leaves to the environment: production as its documentation has it, nothing fetched
at its start, and no key to check unless one is given."""

SERVERS = {
    **{name: Row((*PYTHON, "backend"), {"RUNTIME": name, **RAISED}, (name,)) for name in RUNTIMES},
    "stream": Row((*PYTHON, "bench.peers.stream"), needs=("fastapi", "uvicorn", "uvloop", "httptools")),
    "relay": Row(
        (*PYTHON, "bench.peers.relay"), needs=("fastapi", "uvicorn", "uvloop", "httptools", "httpx")
    ),
    "node": Row(("node", str(PEER_NODE))),
    "litellm": Row((str(LITELLM_BIN / "litellm"), *LITELLM_FLAGS), LITELLM_ENV),
}


def missing(name: str) -> str | None:
    """Why a server cannot be measured here, as a sentence's end."""
    row = SERVERS[name]
    if shutil.which(row.command[0]) is None:
        return f"{name} is not installed"
    if name == "node":
        there = (PEERS.parent / "node_modules" / "socket.io").is_dir()
        return None if there else "socket.io is not installed beside it"
    lacking = [package for package in row.needs if find_spec(package) is None]
    return f"{', '.join(lacking)} not installed" if lacking else None


class Server:
    """One of SERVERS as a process alone on its core, in a folder of its own; up when made, gone at the end
    of its `with`. With WORKERS=n in `env` it is n processes, of which the gauge tells."""

    def __init__(self, name: str, cores: Cores, **env: str) -> None:
        row = SERVERS[name]
        workers = int(env.get("WORKERS", "1"))
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.port = free_port()
        known = {"PATH": os.environ["PATH"], "PYTHONPATH": modules(), "PORT": str(self.port)}
        self.folder = Path(self._folder.name)
        log_path = self.folder / "server.log"
        self._workers: list[int] = []
        with log_path.open("wb") as log, cores.at_server():
            self._process = subprocess.Popen(
                row.command, cwd=self._folder.name, env={**known, **row.env, **env}, stdout=log, stderr=log
            )
        try:
            self._wait(name, log_path, workers)
        except BaseException:  # a signal, too: what was started is ended
            self.end()
            raise
        self._workers = children(self._process.pid) if workers > 1 else []
        self.gauge = Gauge(*(self._workers or [self._process.pid]))

    def _wait(self, name: str, log_path: Path, workers: int) -> None:
        """Until it serves."""
        deadline = time.monotonic() + START_S
        while not (
            answers(self.port) if workers == 1 else log_path.read_text().count(" serves\n") >= workers
        ):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log_path.read_text("utf-8", "replace")
                raise RuntimeError(f"{name} did not start:\n{said}")
            time.sleep(0.02)

    def end(self) -> None:
        """The parent of workers first: it would start others in their place."""
        self._process.kill()
        self._process.wait()
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._folder.cleanup()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def modules() -> str:
    """Where a server finds what it imports besides what is installed: as we do, after Parley itself."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Subject:
    """A way of answering: `server` of SERVERS, or none for the upstream itself; `relayed` answers come from
    the upstream; `model` is the one Parley is asked for; `openai`: in OpenAI's format."""

    name: str
    server: str | None
    door: str = "sse"
    relayed: bool = False
    model: str | None = None
    openai: bool = False

    @property
    def path(self) -> str:
        return COMPLETIONS if self.openai else "/api/chat/stream"

    @property
    def mark(self) -> str:
        """What each token has in an event stream, and nothing else."""
        return '"content":"' if self.openai else '"token": '

    def body(self, script: str) -> str:
        """What is asked, as JSON."""
        message = f"[[demo {script}]] Say something"
        if self.openai:
            messages = [{"role": "user", "content": message}]
            return json.dumps({"model": MODEL, "messages": messages, "stream": True})
        fields: dict[str, object] = {"message": message}
        if self.model is not None:
            fields |= {"model": self.model, "partial": False}
            if self.door == "sockets":
                fields["session_id"] = "bench-$N"  # a new session each time, as over HTTP
        return json.dumps(fields)


UPSTREAM = Subject("the upstream itself", None, relayed=True, openai=True)
FASTAPI_RELAY = Subject("FastAPI + httpx", "relay", relayed=True)
LITELLM = Subject("LiteLLM's proxy", "litellm", relayed=True, openai=True)

PARLEY_STREAM = {name: Subject(f"Parley, {name}", name, model="demo") for name in RUNTIMES}
PARLEY_RELAY = {name: Subject(f"Parley, {name}", name, relayed=True, model=MODEL) for name in RUNTIMES}
PARLEY_OPENAI = {
    name: Subject(f"Parley, {name}, `/v1`", name, relayed=True, openai=True) for name in RUNTIMES
}
STORES = ("memory://", "redis://")
ON_STORE = {
    (store, relayed): Subject(
        f"Parley, `{store}`", DEFAULT_RUNTIME, relayed=relayed, model=MODEL if relayed else "demo"
    )
    for relayed in (False, True)
    for store in STORES
}
PARLEY_SOCKETS = {name: Subject(f"Parley, {name}", name, "sockets", model="demo") for name in RUNTIMES}

SUBJECTS = (
    *PARLEY_STREAM.values(),
    Subject("FastAPI", "stream"),
    *PARLEY_RELAY.values(),
    PARLEY_OPENAI[DEFAULT_RUNTIME],
    FASTAPI_RELAY,
    UPSTREAM,
    *PARLEY_SOCKETS.values(),
    Subject("Socket.IO on node", "node", "sockets"),
)
