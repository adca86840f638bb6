"""Real proxies in front of servers, with the configurations that docs/deploying/ has."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import urllib3

from tests.ports import free_port
from tests.programs import Program, program
from tests.servers import PATIENCE_S, ROOT

DEPLOYING = ROOT / "docs" / "deploying"
UPSTREAM = "127.0.0.1:5000"
"""Where the configurations have the servers, a line for each."""

NGINX_CONF = """\
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include parley.conf;
}
"""
"""What stands around ours, as a plain user can run it in a folder, in one process."""


class Proxy(Program):
    """A proxy on a port of its own; for the clients of the tests it is as good as a server."""

    def __init__(self, folder: Path, port: int, command: Sequence[str]) -> None:
        super().__init__(folder, command)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.pool = urllib3.PoolManager(timeout=PATIENCE_S, retries=False, maxsize=50)
        self.opened: list[Callable[[], None]] = []

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        for drop in self.opened:
            drop()
        super().close()
        self.pool.clear()


def nginx(folder: Path, upstreams: Sequence[int]) -> Proxy:
    """Not started yet. SIGTERM ends it at once; `log` are its errors."""
    port = free_port()
    ours = with_upstreams((DEPLOYING / "nginx.conf").read_text("utf-8"), upstreams)
    (folder / "parley.conf").write_text(replaced(ours, "listen 80;", f"listen 127.0.0.1:{port};"))
    (folder / "nginx.conf").write_text(NGINX_CONF)
    prefix = ["-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
    return Proxy(folder, port, [program("nginx", "nginx"), *prefix])


def haproxy(folder: Path, upstreams: Sequence[int]) -> Proxy:
    """Not started yet."""
    port = free_port()
    ours = with_upstreams((DEPLOYING / "haproxy.cfg").read_text("utf-8"), upstreams)
    (folder / "haproxy.cfg").write_text(replaced(ours, "bind :80 ", f"bind 127.0.0.1:{port} "))
    return Proxy(folder, port, [program("haproxy", "haproxy"), "-db", "-f", "haproxy.cfg"])


PROXIES = {"nginx": nginx, "haproxy": haproxy}


@contextmanager
def proxy_to(kind: str, folder: Path, upstreams: Sequence[int]) -> Iterator[Proxy]:
    """A running one of PROXIES before the servers at these ports."""
    folder.mkdir(parents=True, exist_ok=True)
    proxy = PROXIES[kind](folder, upstreams)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.close()


def with_upstreams(configuration: str, ports: Sequence[int]) -> str:
    """Each line about a server once for each of ours, named by its number."""

    def for_each(found: re.Match[str]) -> str:
        line = found[0]
        return "".join(
            line.replace(UPSTREAM, f"127.0.0.1:{port}").replace("parley1", f"parley{number}")
            for number, port in enumerate(ports, 1)
        )

    assert UPSTREAM in configuration
    return re.sub(rf"^ *server [^#\n]*{re.escape(UPSTREAM)}.*\n", for_each, configuration, flags=re.M)


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)
