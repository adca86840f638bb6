"""The services that tests start do what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster

from tests import programs
from tests.redises import Redis, cluster, sentinels

pytestmark = pytest.mark.server


def test_a_redis_answers_on_its_port_and_on_its_socket(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        for url in (server.url, server.unix_url):
            with redis.Redis.from_url(url) as client:
                assert client.incr("n")
        assert server.command("GET", "n") == "2"
        assert server.info("server")["tcp_port"] == server.port
    assert not server.is_running


def test_a_redis_in_a_deep_folder_has_its_socket_in_a_short_one(tmp_path: Path) -> None:
    with Redis(tmp_path / ("deep" * 30)) as server, redis.Redis.from_url(server.unix_url) as client:
        assert client.ping()
    assert not server.socket_path.parent.exists()


def test_a_redis_with_a_password_wants_it(tmp_path: Path) -> None:
    with Redis(tmp_path, password="secret") as server:
        assert server.command("PING")
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with redis.Redis(port=server.port, retry=None) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_a_redis_with_tls_shows_a_certificate_that_its_url_trusts(tmp_path: Path) -> None:
    with Redis(tmp_path, tls=True, password="secret") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with redis.Redis.from_url(server.url.partition("?")[0], retry=None) as stranger:
            with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                stranger.ping()


@pytest.mark.parametrize("appendonly", [True, False])
def test_only_an_appendonly_redis_keeps_its_keys_over_a_kill_and_a_restart(
    tmp_path: Path, appendonly: bool
) -> None:
    with Redis(tmp_path, appendonly=appendonly) as server:
        server.command("SET", "k", "v")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.command("GET", "k")
        server.restart()
        assert server.command("GET", "k") == ("v" if appendonly else None)
        assert server.stop() == 0


def test_a_frozen_redis_answers_when_it_is_thawed(tmp_path: Path) -> None:
    with Redis(tmp_path) as server, redis.Redis(port=server.port, socket_timeout=0.2, retry=None) as client:
        assert client.ping()
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()
        assert client.ping()


def test_a_shared_redis_is_empty_for_whoever_gets_its_url(redis_server: Redis, redis_url: str) -> None:
    assert redis_server.url == redis_url
    assert redis_server.command("DBSIZE") == 0


def test_a_cluster_takes_a_key_at_each_of_its_masters(tmp_path: Path) -> None:
    with cluster(tmp_path) as three:
        with RedisCluster("127.0.0.1", three.nodes[0].port, decode_responses=True) as client:
            for n in range(30):
                client.set(f"k{n}", n)
        for node in three.nodes:
            mine = [f"k{n}" for n in range(30) if three.node_of(f"k{n}") is node]
            assert sorted(node.command("KEYS", "*")) == sorted(mine)
            assert mine
    assert not any(node.is_running for node in three.nodes)


def test_sentinels_put_the_replica_in_a_killed_masters_place(tmp_path: Path) -> None:
    with sentinels(tmp_path) as watched:
        first = watched.master
        first.command("SET", "k", "v")
        assert first.command("WAIT", 1, 5000) == 1
        watched.kill_master()
        watched.failed_over()
        assert watched.master_port != first.port
        assert watched.master.command("GET", "k") == "v"
        assert watched.master.command("SET", "k", "w")
    assert not any(server.is_running for server in [*watched.servers, *watched.watchers])


def test_a_missing_program_fails_a_test_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(pytest.fail.Exception, match="install it with apt-get install redis-server"):
        programs.program("redis-server", "redis-server")
