from __future__ import annotations

import pytest

from backend.access.gate import Gate
from backend.access.keyring import Holder, Keyring
from backend.chat.errors import Unauthorized
from backend.chat.requests import Caller
from tests.access.signing import token
from tests.access.test_gate import HOME, TOKENS
from tests.access.test_rates import Clock


class Cabinet:
    """Where keys are kept, and how often it was asked."""

    def __init__(self) -> None:
        self.good, self.asked, self.clock = {"sk-1"}, 0, Clock()
        self.keyring = Keyring(self.find, self.clock.monotonic, 2.0)

    def find(self, key: str) -> Holder:
        self.asked += 1
        if key not in self.good:
            raise Unauthorized("no")
        return Holder("acme", "5/minute", frozenset({"chat-fast"}))


def test_a_key_is_looked_up_once_in_a_while_and_bad_ones_always() -> None:
    cabinet = Cabinet()
    assert {cabinet.keyring.holder("sk-1").team_id for _ in range(3)} == {"acme"}
    assert cabinet.asked == 1
    for _ in range(2):
        with pytest.raises(Unauthorized):
            cabinet.keyring.holder("sk-2")
    assert cabinet.asked == 3
    cabinet.good.clear()
    cabinet.clock.pass_s(1.9)
    cabinet.keyring.holder("sk-1")
    cabinet.clock.pass_s(0.1)
    with pytest.raises(Unauthorized):
        cabinet.keyring.holder("sk-1")


def test_what_is_forgotten_is_looked_up_again() -> None:
    cabinet = Cabinet()
    cabinet.keyring.holder("sk-1")
    cabinet.good.clear()
    cabinet.keyring.forget()
    with pytest.raises(Unauthorized):
        cabinet.keyring.holder("sk-1")


def test_a_key_makes_its_caller_the_team() -> None:
    gate = Gate(TOKENS, True, keyring=Cabinet().keyring)
    caller = gate.identify("sk-1", HOME)
    assert caller == Caller("team:acme", HOME, "acme", "5/minute", frozenset({"chat-fast"}))
    assert (caller.may_ask("chat-fast"), caller.may_ask("demo")) == (True, False)
    for bad in ("SK-1", " sk-1", "sk-1 ", "sk-", "sk-2"):
        with pytest.raises(Unauthorized):
            gate.identify(bad, HOME)


def test_where_one_must_say_who_one_is_auth_off_does_not_help() -> None:
    off = Gate(None, False, keyring=Cabinet().keyring, late=lambda: TOKENS)
    assert off.identify("sk-1", HOME).anonymous
    assert off.identify("sk-1", HOME, always=True).team_id == "acme"
    assert off.identify(token(scope="a admin"), HOME, always=True).admin
    assert not off.identify(token(), HOME, always=True).admin
    for nobody in (None, "anonymous"):
        with pytest.raises(Unauthorized):
            off.identify(nobody, HOME, always=True)
