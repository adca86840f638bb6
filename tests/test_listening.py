"""The listening socket, and what the connections it accepts have from it."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

import pytest

from backend.chat.errors import Misconfigured
from backend.runtime.server import listen


@pytest.mark.skipif(sys.platform != "linux", reason="the options have these names on Linux")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accepted_connection_notices_within_50_s_that_its_peer_is_gone(host: str) -> None:
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listen(host, 0))
        except Misconfigured:
            pytest.skip(f"this machine has no {host}")
        stack.enter_context(socket.create_connection((host, listener.getsockname()[1])))
        accepted = stack.enter_context(listener.accept()[0])

        def option(level: int, name: int) -> int:
            return accepted.getsockopt(level, name)

        assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s = option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        probes = option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle_s + probes * option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) <= 50
        assert 0 < option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 50_000
