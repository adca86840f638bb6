from __future__ import annotations

import json
import logging
import time
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.access.keys import OneKey
from backend.access.tokens import LEEWAY_S, MAX_TOKEN_CHARS, Tokens, mint
from backend.chat.errors import Unauthorized
from tests.access import signing
from tests.access.signing import ASYMMETRIC, SECRET, base64url, by_hand, claims, said, token

HEADER = said(alg="HS256", typ="JWT")


def tokens(algorithm: str = "HS256", **expected: str) -> Tokens:
    key = SECRET if algorithm == "HS256" else signing.private_key(algorithm).public_key()
    return Tokens(algorithm, OneKey(key), **expected)


def refusal(text: str, checker: Tokens | None = None) -> str:
    """What is said of a token that does not count."""
    with pytest.raises(Unauthorized) as caught:
        (checker or tokens()).read(text)
    return caught.value.message


@pytest.mark.parametrize("algorithm", ["HS256", *ASYMMETRIC])
def test_a_good_token_names_its_subject(algorithm: str) -> None:
    assert tokens(algorithm).read(token(algorithm)).subject == "alice"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_token_signed_with_another_key_does_not_count(algorithm: str) -> None:
    assert "not valid" in refusal(token(algorithm, name="another"), tokens(algorithm))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS384", "hs256", "RS256", "HS256 "])
def test_a_token_cannot_choose_its_algorithm(name: str) -> None:
    payload = said(**claims())
    assert "not valid" in refusal(by_hand(said(alg=name), payload))
    assert "not valid" in refusal(f"{base64url(said(alg=name))}.{base64url(payload)}.")


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_is_no_secret_to_sign_with(algorithm: str) -> None:
    payload = said(**claims())
    for secret in (signing.public_pem(algorithm), signing.public_pem(algorithm).strip()):
        assert "not valid" in refusal(by_hand(HEADER, payload, secret.encode()), tokens(algorithm))
        forged = by_hand(said(alg=algorithm), payload, secret.encode())
        assert "not valid" in refusal(forged, tokens(algorithm))


def test_a_token_holds_until_it_expires_and_a_little_longer_for_clocks_that_differ() -> None:
    now = int(time.time())
    assert tokens().read(token(exp=now - LEEWAY_S + 15)).subject == "alice"
    assert "expired" in refusal(token(exp=now - LEEWAY_S - 1))


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_from_the_future_does_not_count_yet(name: str) -> None:
    now = int(time.time())
    assert tokens().read(token(**{name: now + LEEWAY_S - 15})).subject == "alice"
    assert "not valid" in refusal(token(**{name: now + LEEWAY_S + 15}))


def test_who_signs_with_another_secret_is_not_told_that_the_token_expired() -> None:
    old = by_hand(HEADER, said(**claims(exp=1)), b"another secret of thirty-two bytes")
    assert "not valid" in refusal(old)


@pytest.mark.parametrize("name", ["exp", "sub"])
def test_a_token_needs_a_subject_and_an_end(name: str) -> None:
    assert "not valid" in refusal(token(**{name: None}))


@pytest.mark.parametrize("subject", ["a", "a" * 255, "a b", "ü@example.org", "user:bob", "{}'; --"])
def test_a_subject_is_any_printable_text(subject: str) -> None:
    assert tokens().read(by_hand(HEADER, said(**claims(sub=subject)))).subject == subject


@pytest.mark.parametrize(
    "subject", ["", "a" * 256, "a\nb", "a\0b", "\u2028", "\ud800", "\x7f", 7, True, ["a"], {"a": 1}, 1.5]
)
def test_a_subject_that_could_not_be_kept_does_not_count(subject: Any) -> None:
    assert "not valid" in refusal(by_hand(HEADER, said(**claims(sub=subject))))


@pytest.mark.parametrize(
    "issuer", ["https://other", "https://id.example/", "", None, 7, ["https://id.example"]]
)
def test_the_issuer_is_checked_when_one_is_set(issuer: Any) -> None:
    checker = tokens(issuer="https://id.example")
    assert checker.read(token(iss="https://id.example")).subject == "alice"
    made = by_hand(HEADER, said(**claims(iss=issuer)))
    assert "not valid" in refusal(made, checker)
    assert tokens().read(made).subject == "alice"


@pytest.mark.parametrize(
    "audience", ["other", "", None, [], ["other"], 7, {"chat": 1}, [["chat"]], ["chat", 7]]
)
def test_the_audience_is_checked_when_one_is_set(audience: Any) -> None:
    checker = tokens(audience="chat")
    assert checker.read(token(aud="chat")).subject == "alice"
    assert checker.read(token(aud=["other", "chat"])).subject == "alice"
    made = by_hand(HEADER, said(**claims(aud=audience)))
    assert "not valid" in refusal(made, checker)
    assert tokens().read(made).subject == "alice"


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5c": ["AAAA"]},
        {"kid": "../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": ""},
        {"typ": "none"},
    ],
    ids=str,
)
def test_a_header_cannot_point_to_another_key(header: dict[str, Any]) -> None:
    payload = said(**claims())
    assert tokens().read(by_hand(said(alg="HS256", **header), payload)).subject == "alice"
    assert "not valid" in refusal(by_hand(said(alg="HS256", **header), payload, b"A" * 32))
    assert "not valid" in refusal(by_hand(said(alg="HS256", **header), payload, b""))


@pytest.mark.parametrize("key_id", [7, True, [], {}, ["a"], 1.5])
def test_a_key_id_that_is_no_text_does_not_count(key_id: Any) -> None:
    assert "not valid" in refusal(by_hand(said(alg="HS256", kid=key_id), said(**claims())))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "b64", 7])
def test_an_extension_that_must_be_understood_is_not(crit: Any) -> None:
    header = json.dumps({"alg": "HS256", "b64": True, "crit": crit}).encode()
    assert "not valid" in refusal(by_hand(header, said(**claims())))


def test_a_token_of_any_length_is_refused_without_being_read() -> None:
    long = token(pad="x" * 4096)
    assert len(long) > MAX_TOKEN_CHARS
    assert "not valid" in refusal(long)
    assert "not valid" in refusal("A" * 1_000_000)
    fitting = token(pad="x" * 2000)
    assert tokens().read(fitting).subject == "alice"


def respelt(good: str) -> list[str]:
    head, payload, signature = good.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) + 1]  # differs in bits that are not read
    return [
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{signature[:-1]}{last}",
        f"{head}=.{payload}.{signature}",
        f"{head}.{payload}.{signature}\n",
        f" {good}",
        f"{good} ",
        f"{head}.{payload}.{signature[:20]}\n{signature[20:]}",
        f"{head}.{payload}.{signature}!!",
        f"{good}.",
        f".{good}",
        f"{good}.{signature}",
        f"{head}.{payload}",
        f"{head}.{payload}.",
        f"{head}..{signature}",
        f"{head}.{payload}.{signature}é",
    ]


@pytest.mark.parametrize("number", range(len(respelt(token()))))
def test_a_token_has_one_spelling(number: int) -> None:
    # A signature of 32 bytes leaves two bits of its last character unread: they must be zero.
    assert "not valid" in refusal(respelt(token())[number])


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b.c", "sk-abc", "' OR ''='", "\0", "null", "é.é.é"]
)
def test_what_is_no_token_does_not_count(text: str) -> None:
    assert "not valid" in refusal(text)


DEEP = b'{"alg":"HS256","a":' + b"[" * 1400
ODD = [
    (DEEP, said(**claims())),
    (DEEP + b"]" * 1400 + b"}", said(**claims())),
    (HEADER, b'{"sub":"a","exp":' + b"[" * 1400),
    (HEADER, b'{"sub":"a","exp":1e999}'),
    (HEADER, b'{"sub":"a","exp":-1e999}'),
    (HEADER, b'{"sub":"a","exp":NaN}'),
    (HEADER, b'{"sub":"a","exp":"9999999999"}'),
    (HEADER, b'{"sub":"a","exp":true}'),
    (HEADER, b'{"sub":"a","exp":null}'),
    (HEADER, b'{"sub":"a","exp":[9999999999]}'),
    (HEADER, b'{"sub":"a","exp":9999999999,"nbf":"0"}'),
    (HEADER, b'{"sub":"a","exp":9999999999,"iat":false}'),
    (HEADER, b'{"sub":"a","exp":9999999999,"iat":{}}'),
    (HEADER, b'{"sub":"a","exp":9999999999,"nbf":Infinity}'),
    (HEADER, b'{"sub":"a","exp":9999999999,"jti":7}'),
    (HEADER, b"[]"),
    (HEADER, b"null"),
    (HEADER, b'"a"'),
    (HEADER, b"\xff\xfe"),
    (b"[]", said(**claims())),
    (b'"HS256"', said(**claims())),
    (b'{"alg":["HS256"]}', said(**claims())),
    (b'{"alg":{}}', said(**claims())),
    (b'{"alg":"HS256","b64":false}', said(**claims())),
    (b"\xff", said(**claims())),
    (HEADER.decode().encode("utf-16"), said(**claims())),
]


@pytest.mark.parametrize("number", range(len(ODD)))
def test_no_odd_value_does_more_than_not_count(number: int) -> None:
    assert refusal(by_hand(*ODD[number])) in ("Your token is not valid here; get a new one",
                                              "Your token has expired; get a new one")  # fmt: skip


def test_an_end_that_is_ages_away_is_one() -> None:
    assert tokens().read(by_hand(HEADER, b'{"sub":"a","exp":1%b}' % (b"0" * 1000))).subject == "a"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["alg", "kid", "typ", "crit", "b64", "jwk", "exp", "sub", "nbf", "iat", "aud", "iss", "jti"]
)
OBJECTS = st.dictionaries(NAMES, JSON)


def outcome(text: str, checker: Tokens) -> None:
    """A subject or a refusal: anything else would be a fault of the server."""
    try:
        said_of_it = checker.read(text).subject
    except Unauthorized as exc:
        said_of_it = exc.message
    assert 1 <= len(said_of_it) <= 255


@given(OBJECTS, OBJECTS, st.booleans())
@example({"kid": [1]}, {}, True)
def test_any_signed_token_counts_or_does_not(header: Any, payload: Any, checked: bool) -> None:
    made = by_hand(said(**header | {"alg": "HS256"}), said(**claims() | payload))
    outcome(made, tokens(issuer="i", audience="a") if checked else tokens())


@given(st.text(max_size=80) | st.binary(max_size=60).map(base64url))
def test_any_text_counts_or_does_not(text: str) -> None:
    outcome(text, tokens())
    outcome(f"{text}.{text}.{text}", tokens())


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_in_a_token_count_or_do_not(header: bytes, payload: bytes) -> None:
    outcome(by_hand(header, payload), tokens())
    outcome(by_hand(HEADER, payload), tokens())


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_token_changed_anywhere_does_not_count(place: int, letter: str) -> None:
    good = token()
    place %= len(good)
    changed = good[:place] + letter + good[place + 1 :]
    if changed != good:
        refusal(changed)


def test_the_log_says_why_but_neither_token_nor_claims(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bad = token(sub="canary\n", iss="canary")
        refusal(bad)
        refusal(token(exp=1, sub="canary"))
    assert "InvalidTokenError" in caplog.text
    assert "ExpiredSignatureError" in caplog.text
    assert "canary" not in caplog.text
    assert bad[10:30] not in caplog.text


def test_a_minted_token_is_a_good_one() -> None:
    now = int(time.time())
    made = mint(SECRET.encode(), "alice", now, 60, {"iss": "i", "aud": "a", "scope": "admin"})
    assert tokens(issuer="i", audience="a").read(made).subject == "alice"
    assert jwt.decode(made, options={"verify_signature": False}) == {
        "sub": "alice", "iat": now, "exp": now + 60, "iss": "i", "aud": "a", "scope": "admin"
    }  # fmt: skip
    plain = mint(SECRET.encode(), "alice", now, 60, {"iss": None, "aud": None, "scope": None})
    assert set(jwt.decode(plain, options={"verify_signature": False})) == {"sub", "iat", "exp"}


@pytest.mark.parametrize("subject", ["", "a" * 256, "a\n"])
def test_no_token_is_minted_that_would_not_count(subject: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        mint(SECRET.encode(), subject, 0, 60, {})
