"""Which error is raised, and what is tried again."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
import pytest

from backend.chat.errors import ParleyError as ServersError
from parley_client import errors
from parley_client.completions import Said
from parley_client.errors import (
    BadAnswer,
    Conflict,
    ConnectionLost,
    Internal,
    Interrupted,
    InvalidRequest,
    ParleyError,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unreachable,
    UpstreamError,
    Verdict,
)
from parley_client.patience import Outage, Patience, may_repeat
from parley_client.verdicts import NEVER_ARRIVED, STATUSES, TYPES, UNREADABLE, UNSENDABLE, foreign, refusal


def descendants(kind: type) -> set[Any]:
    return {kind}.union(*(descendants(child) for child in kind.__subclasses__()))


def test_every_type_of_the_server_has_its_error() -> None:
    for kind in descendants(ServersError):
        if hasattr(kind, "type"):
            made = refusal(kind.status, {}, json.dumps({"error": "No", "type": kind.type}).encode())
            assert (made.type, made.status) == (kind.type, kind.status)
            conflict = (kind.type, kind.status) == ("invalid_request", 409)
            assert type(made) is (Conflict if conflict else TYPES[kind.type])


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", str(errors.__doc__))) | {"ParleyError"}
    assert drawn == {kind.__name__ for kind in descendants(ParleyError)}


def test_a_type_that_is_not_known_is_judged_by_its_status() -> None:
    for status, kind in {**STATUSES, 418: InvalidRequest, 507: errors.ServerError}.items():
        body = json.dumps({"error": "No", "code": status, "type": "brand_new"}).encode()
        made = refusal(status, {}, body)
        assert (type(made), made.type, made.status, str(made)) == (kind, "brand_new", status, "No")


def test_openais_errors_are_read_by_their_code() -> None:
    for status, code, kind in (
        (401, "invalid_api_key", Unauthorized),
        (429, "rate_limit_exceeded", RateLimited),
        (500, "internal", Internal),
    ):
        body = {"error": {"message": "No", "type": "x", "param": "n", "code": code}}
        made = refusal(status, {"Retry-After": "7", "X-Request-Id": "r"}, json.dumps(body).encode())
        assert (type(made), made.retry_after, made.request_id) == (kind, 7.0, "r")
        assert made.extras["param"] == "n"


def test_every_exception_of_httpx_becomes_one_of_ours() -> None:
    named = {*NEVER_ARRIVED, *UNREADABLE, *UNSENDABLE}
    for kind in descendants(httpx.HTTPError) | descendants(httpx.StreamError):
        if kind in (httpx.HTTPError, httpx.HTTPStatusError, httpx.RequestError):
            continue  # bases, and what only `raise_for_status` raises
        made = foreign(kind.__new__(kind))
        expected = ConnectionLost
        for row, ours in (
            (NEVER_ARRIVED, Unreachable),
            (UNREADABLE, BadAnswer),
            (UNSENDABLE, InvalidRequest),
        ):
            if issubclass(kind, row):
                expected = ours
        assert type(made) is expected, kind
    assert all(issubclass(kind, httpx.HTTPError | httpx.StreamError) for kind in named)


def failing(kind: type[ParleyError], **fields: Any) -> ParleyError:
    return kind("no", **fields)


@pytest.mark.parametrize(
    ("failure", "repeatable", "again"),
    [
        (failing(Unreachable), False, True),
        (failing(ConnectionLost), True, True),
        (failing(ConnectionLost), False, False),
        (failing(RateLimited), False, True),
        (failing(RateLimited, extras={"should_retry": False}), True, False),
        (failing(Unavailable), False, True),
        (failing(Interrupted), True, False),
        (failing(UpstreamError), True, False),
        (failing(BadAnswer, status=502), True, True),
        (failing(BadAnswer, status=502), False, False),
        (failing(BadAnswer, status=200), True, False),
        (failing(Verdict, status=400), True, False),
    ],
)
def test_only_what_may_help_and_does_no_harm_is_tried_again(
    failure: ParleyError, repeatable: bool, again: bool
) -> None:
    assert may_repeat(failure, repeatable) is again


def test_pauses_double_up_to_the_longest_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    outage = Outage(Patience(attempts=6, pause_s=1.0, longest_pause_s=4.0))
    pauses = [outage.pause_s(failing(Unreachable)) for _ in range(5)]
    for pause_s, longest_s in zip(pauses, (1, 2, 4, 4, 4), strict=True):
        assert longest_s / 2 <= pause_s <= longest_s
    with pytest.raises(Unreachable):
        outage.pause_s(failing(Unreachable))
    outage.over()
    assert outage.pause_s(failing(Unreachable)) <= 1.0
    assert outage.pause_s(failing(RateLimited, retry_after=30.0)) == 30.0
    with pytest.raises(RateLimited):
        outage.pause_s(failing(RateLimited, retry_after=61.0))
    now = time.monotonic() + 119.9
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(Unreachable):
        outage.pause_s(failing(Unreachable), begun=True)


def test_an_object_reads_as_a_mapping_of_what_was_sent() -> None:
    said = Said.model_validate({"role": "assistant", "content": None, "reasoning": "hm"})
    assert (said["role"], said.role, said["content"], said["reasoning"]) == (
        "assistant",
        "assistant",
        None,
        "hm",
    )
    assert "role" in said
    assert "content" not in said
    assert "tool_calls" not in said
    assert said.get("content", "") == said.get("tool_calls", "") == ""
    with pytest.raises(KeyError):
        said["tool_calls"]
    assert dict(said) == {"role": "assistant", "reasoning": "hm"}
