from __future__ import annotations

import inspect

import pytest
import redis.exceptions as foreign

from backend.chat.errors import Misconfigured
from backend.stores.redis.client import Address, connector, read
from backend.stores.redis.link import AWAY, FAULTS


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "redis+sentinel://me:p%40ss@a:1,b:2/parley/3",
            Address([("a", 1), ("b", 2)], False, "me", "p@ss", ["parley", "3"], {}),
        ),
        (
            "rediss+cluster://:p@a,[::1]:7?ssl_ca_certs=/ca.pem",
            Address([("a", 6379), ("::1", 7)], True, None, "p", [], {"ssl_ca_certs": "/ca.pem"}),
        ),
        (
            "redis+sentinel://a/parley?socket_timeout=2&sentinel_password=s",
            Address(
                [("a", 6379)],
                False,
                None,
                None,
                ["parley"],
                {"socket_timeout": 2.0, "sentinel_password": "s"},
            ),
        ),
    ],
)
def test_an_address_is_taken_apart(url: str, address: Address) -> None:
    assert read(url, 6379) == address


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:1/2",
        "rediss://user:word@host?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://host/parley",
        "redis+cluster://host:1,host:2",
    ],
)
def test_a_client_is_made_without_asking_a_server(url: str) -> None:
    assert callable(connector(url))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel://host:26379", "names the service"),
        ("redis+sentinel://host/parley/x", "no number"),
        ("redis://host/abc", "no number"),
        ("rediss://host/-1", "no number"),
        ("redis://host/1/2", "no number"),
        ("redis://host?socket_timeout=0", "above 0"),
        ("unix:///run/redis.sock?decode_responses=1", "no option decode_responses"),
        ("redis+cluster://host?bogus=1", "no option bogus"),
        ("redis+cluster://,", "no host"),
        ("redis://host:port", "Port"),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        connector(url)


def test_every_exception_of_the_client_is_told_apart() -> None:
    """Of the server that is not there any more, or about a command; a new kind must be looked at here."""
    kinds = {kind for _, kind in inspect.getmembers(foreign, inspect.isclass) if issubclass(kind, Exception)}
    answers = {kind for kind in kinds if issubclass(kind, foreign.ResponseError)}
    away = {kind for kind in answers if issubclass(kind, AWAY)}
    assert {kind.__name__ for kind in away} == {
        "ClusterDownError", "MasterDownError", "ReadOnlyError", "TryAgainError",
    }  # fmt: skip
    assert {kind.__name__ for kind in answers - away} == {
        "AskError", "AuthenticationWrongNumberOfArgsError", "ClusterCrossSlotError", "ExecAbortError",
        "ModuleError", "MovedError", "NoPermissionError", "NoScriptError", "NoSuchFieldsetError",
        "OutOfMemoryError", "ResponseError",
    }  # fmt: skip
    ours = {"ChildDeadlockedError", "IncorrectPolicyType"}
    assert {kind.__name__ for kind in kinds - answers if not issubclass(kind, FAULTS)} == ours
