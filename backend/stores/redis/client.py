"""What a `redis…://` address means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from backend.chat.errors import Misconfigured

TIMEOUT_S = 0.8
"""For connecting, and for each read and write: who waits for a dead Redis is told within a second."""

OPTIONS = (
    "client_name", "db", "health_check_interval", "password", "sentinel_password", "sentinel_username",
    "socket_connect_timeout", "socket_timeout", "username",
)  # fmt: skip
"""That a URL's query may give."""

Client: TypeAlias = Any
"""A `Redis` or a `RedisCluster`, which have one interface and no base class."""
Command: TypeAlias = Sequence[str | bytes | int | float]


class Connect(Protocol):
    def __call__(self, connected: Callable[[], None] = lambda: None) -> Client:
        """A client. It calls `connected` for each connection it has made, also for one that quietly takes the
        place of another; a ConnectionError that this raises ends it before anything is sent over it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart. `secure`: over TLS."""

    hosts: list[tuple[str, int]]
    secure: bool
    username: str | None
    password: str | None
    path: list[str]
    options: dict[str, Any]


def connector(url: str) -> Connect:
    """Makes clients of what a URL names; each connects when it is first used. Raises Misconfigured.

    `redis://[user:password@]host:port/db`, `rediss://` with TLS, `unix:///path?db=0`, all as redis-py reads
    them; `redis+sentinel://[user:password@]host:port,host:port/service/db` and
    `redis+cluster://[user:password@]host:port,host:port`, both also as `rediss+…`. Query parameters are
    redis-py's options of a connection; `sentinel_username` and `sentinel_password` are for the Sentinels.
    """
    kind = urlsplit(url).scheme.partition("+")[2]
    try:
        typed(urlsplit(url).query)
        if kind == "sentinel":
            return of_sentinel(read(url, 26379))
        if kind == "cluster":
            return of_cluster(read(url, 6379))
        options = connection_options()
        if url.startswith("unix:"):
            del options["socket_keepalive"]  # of TCP alone
        else:
            database_of(read(url, 6379).path)
        Redis.from_url(url, **options).connection_pool.make_connection()
        return lambda connected=lambda: None: Redis.from_url(url, **options, **told(connected))
    except (ValueError, TypeError) as exc:
        raise Misconfigured(f"STORE_URL is no address that can be used: {exc}") from exc


def connection_options() -> dict[str, Any]:
    """Nothing is tried twice behind our back: who sent it decides."""
    return {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def told(connected: Callable[[], None]) -> dict[str, Any]:
    """The option that has it called; it stands for what is done first on a connection."""

    def begin(connection: Any) -> None:
        connection.on_connect()
        connected()

    return {"redis_connect_func": begin}


def read(url: str, port: int) -> Address:
    """Raises ValueError."""
    parts = urlsplit(url)
    _, _, hosts = parts.netloc.rpartition("@")
    path = [unquote(part) for part in parts.path.split("/") if part]
    return Address(
        [host_of(host, port) for host in hosts.split(",")],
        parts.scheme.startswith("rediss"),
        *credentials(parts),
        path,
        typed(parts.query),
    )


def database_of(path: list[str]) -> int:
    """What stands last in a URL. Raises ValueError."""
    text = path[-1] if path else "0"
    if len(path) > 1 or not text.isascii() or not text.isdigit():
        raise ValueError(f"{'/'.join(path)!r} is no number of a database")
    return int(text)


def typed(query: str) -> dict[str, Any]:
    """A query's options, as redis-py reads them. Raises ValueError for one that a store has no use for."""
    options: dict[str, Any] = parse_url(f"redis:///?{query}")  # type: ignore[no-untyped-call]
    for name, value in options.items():
        if name not in OPTIONS and not name.startswith("ssl_"):
            raise ValueError(f"there is no option {name}; there are {', '.join(OPTIONS)} and those of ssl_")
        if name.endswith("timeout") and not value > 0:
            raise ValueError(f"{name} must be above 0")
    return options


def host_of(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, parts.port or port


def credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    """As the part before the last @ has them: hosts may be many, so `urlsplit` does not find them."""
    given, at, _ = parts.netloc.rpartition("@")
    username, _, password = given.partition(":")
    return (unquote(username) or None, unquote(password) or None) if at else (None, None)


def of_sentinel(address: Address) -> Connect:
    if not address.path:
        raise ValueError("a Sentinel's names the service: redis+sentinel://host:26379/mymaster/0")
    service, *rest = address.path
    asking = {name: address.options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    tls = {name: value for name, value in address.options.items() if name.startswith("ssl")}
    watchers = {**connection_options(), **tls, **asking, "ssl": address.secure}
    options = {**options_of(address), "db": database_of(rest)}

    def connect(connected: Callable[[], None] = lambda: None) -> Client:
        sentinel = Sentinel(address.hosts, sentinel_kwargs=watchers)  # type: ignore[no-untyped-call]
        return sentinel.master_for(service, **options, **told(connected))  # type: ignore[no-untyped-call]

    return connect


def of_cluster(address: Address) -> Connect:
    options = options_of(address)

    def connect(connected: Callable[[], None] = lambda: None) -> Client:
        asked = [ClusterNode(*host) for host in address.hosts]  # type: ignore[no-untyped-call]
        try:
            return RedisCluster(
                startup_nodes=asked, **options, redis_connect_func=lambda _connection: connected()
            )
        finally:
            # They were asked where all are; the cluster's own connections may be others, and these left open.
            for node in asked:
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect()

    return connect


def options_of(address: Address) -> dict[str, Any]:
    return {
        **connection_options(),
        **address.options,
        "ssl": address.secure,
        "username": address.username,
        "password": address.password,
    }


def exchange(client: Client, commands: Sequence[Command]) -> list[Any]:
    """Their replies, in their order; an error about a command is its reply. Raises what else fails.

    A pipeline of redis-py does the same, and takes a third longer to do it: each exchange is a part of
    every token's way. Of a Cluster it knows what goes to which node.
    """
    if isinstance(client, RedisCluster):
        pipeline = client.pipeline(transaction=False)  # type: ignore[no-untyped-call]
        for command in commands:
            pipeline.execute_command(*command)
        found: list[Any] = pipeline.execute(raise_on_error=False)
        return found
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_reply(client, connection, command) for command in commands]
    except BaseException:
        connection.disconnect()  # what it has still to say would be taken for the next one's replies
        raise
    finally:
        pool.release(connection)


def _reply(client: Client, connection: Any, command: Command) -> Any:
    try:
        return client.parse_response(connection, command[0])
    except ResponseError as exc:
        return exc


def ping(client: Client) -> None:
    """Raises what it fails with; of a Cluster every master must answer."""
    if isinstance(client, RedisCluster):
        client.ping(target_nodes=RedisCluster.PRIMARIES)
    else:
        client.ping()
