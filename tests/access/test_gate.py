from __future__ import annotations

import pytest

from backend.access.gate import Gate, bearer
from backend.access.keys import OneKey
from backend.access.rates import Refusals
from backend.access.tokens import Tokens
from backend.chat.errors import RateLimited, Unauthorized
from backend.chat.requests import Caller
from tests.access.signing import SECRET, token
from tests.access.test_rates import Clock, strategy

TOKENS = Tokens("HS256", OneKey(SECRET))
OFF, OPTIONAL, REQUIRED = Gate(None, False), Gate(TOKENS, False), Gate(TOKENS, True)
HOME = "192.0.2.1"
STRANGER = Caller("", HOME)
BAD = ["", "x", "sk-live-1", "Anonymous", " anonymous", "anonymous "]


@pytest.mark.parametrize("text", [None, "anonymous", *BAD])
def test_with_auth_off_nobody_is_asked(text: str | None) -> None:
    assert OFF.identify(text, HOME) == STRANGER
    assert OFF.identify(token(), HOME) == STRANGER


@pytest.mark.parametrize("text", [None, "anonymous"])
def test_without_a_token_one_is_anonymous_unless_tokens_are_required(text: str | None) -> None:
    assert OPTIONAL.identify(text, HOME) == STRANGER
    with pytest.raises(Unauthorized):
        REQUIRED.identify(text, HOME)


def test_who_sent_no_token_is_told_how() -> None:
    with pytest.raises(Unauthorized, match="Authorization: Bearer"):
        REQUIRED.identify(None, HOME)


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("gate", [OPTIONAL, REQUIRED], ids=["optional", "required"])
def test_a_bad_token_is_never_anonymous(gate: Gate, text: str) -> None:
    with pytest.raises(Unauthorized, match="not valid"):
        gate.identify(text, HOME)


@pytest.mark.parametrize("gate", [OPTIONAL, REQUIRED], ids=["optional", "required"])
def test_a_token_names_its_owner(gate: Gate) -> None:
    assert gate.identify(token(), HOME) == Caller("user:alice", HOME)
    assert gate.identify(token(sub="team:x"), HOME) == Caller("user:team:x", HOME)
    assert gate.identify(token(sub="anonymous"), HOME).anonymous is False


def test_addresses_have_one_spelling() -> None:
    assert OFF.identify(None, "::ffff:192.0.2.1").address == HOME
    assert OPTIONAL.identify(token(), "[2001:db8::5]:1").address == "2001:db8::/64"


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, None),
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("Bearer  abc", " abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("", ""),
        ("Basic YWxpY2U6", ""),
        ("abc", ""),
        ("Bearerabc", ""),
        ("Bearer\tabc", ""),
    ],
)
def test_the_token_of_a_header(header: str | None, text: str | None) -> None:
    assert bearer(header) == text


def test_an_address_whose_requests_are_refused_too_often_is_kept_out_for_a_while() -> None:
    clock = Clock()
    gate = Gate(None, False, Refusals(strategy(clock), "3/minute", clock.now))
    for _ in range(3):
        gate.enter("2001:db8::1")
        gate.count_refusal("2001:db8::1")
    with pytest.raises(RateLimited) as caught:
        gate.enter("2001:db8::2")
    assert caught.value.extras == {"retry_after": 60}
    gate.enter("2001:db8:0:1::1")
    clock.pass_s(59)
    with pytest.raises(RateLimited):
        gate.enter("2001:db8::1")
    clock.pass_s(1)
    gate.enter("2001:db8::1")


def test_without_a_limit_nobody_is_kept_out() -> None:
    for _ in range(2000):
        OFF.enter(HOME)
        OFF.count_refusal(HOME)
