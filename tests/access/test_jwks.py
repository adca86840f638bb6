from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.access.jwks import FRESH_S, LAST_S, MAX_BYTES, RETRY_S, Jwks, fetcher, read_keys
from backend.access.tokens import Tokens
from backend.chat.errors import Unauthorized, Unavailable
from tests.access import signing
from tests.access.signing import ASYMMETRIC, private_key, token


def row(kid: str | None, kind: str = "RS256", name: str | None = None, **changes: Any) -> dict[str, Any]:
    """A key as it stands in a key set; what is changed to None is left out."""
    algorithm = jwt.get_algorithm_by_name({"P-384": "ES384", "RSA-1024": "RS256"}.get(kind, kind))
    public = private_key(kind, name if name is not None else kid or "").public_key()
    whole = {**algorithm.to_jwk(public, as_dict=True), "kid": kid, "use": "sig", **changes}
    whole.pop("key_ops", None) if "key_ops" not in changes else None
    return {name: value for name, value in whole.items() if value is not None}


def document(*rows: Any) -> bytes:
    return json.dumps({"keys": list(rows)}).encode()


class Issuer:
    """Publishes keys; `down` makes it unreachable."""

    def __init__(self, *kids: str) -> None:
        self.passed_s = 1000.0
        self.down = False
        self.fetches = 0
        self.publish(*kids)
        self.keys = Jwks(self.fetch, "RS256", lambda: self.passed_s)
        self.tokens = Tokens("RS256", self.keys)

    def publish(self, *kids: str) -> None:
        self.document = document(*(row(kid) for kid in kids))

    def fetch(self) -> bytes:
        self.fetches += 1
        if self.down:
            raise OSError("unreachable")
        return self.document

    def after(self, seconds: float, tended: bool = True) -> Issuer:
        for _ in range(int(seconds)):
            self.passed_s += 1
            if tended:
                self.keys.tend()
        return self

    def takes(self, kid: str) -> bool:
        try:
            return self.tokens.read(token("RS256", kid, header={"kid": kid})).subject == "alice"
        except Unauthorized:
            return False


def test_a_key_is_found_by_its_id_and_fetched_only_once() -> None:
    issuer = Issuer("a", "b")
    assert issuer.takes("a")
    assert issuer.takes("b")
    assert issuer.fetches == 1


def test_a_key_cannot_be_used_under_another_id() -> None:
    issuer = Issuer("a", "b")
    with pytest.raises(Unauthorized):
        issuer.tokens.read(token("RS256", "a", header={"kid": "b"}))


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1/keys", "\0", "", "a" * 2000]
)
def test_an_id_is_only_looked_up(kid: str) -> None:
    issuer = Issuer("a")
    with pytest.raises(Unauthorized):
        issuer.tokens.read(token("RS256", "a", header={"kid": kid}))
    assert issuer.fetches == 1


@pytest.mark.parametrize("kid", [[], {}, ["a"], 7, True, 1.5])
def test_an_id_that_is_no_text_is_not_even_looked_up(kid: Any) -> None:
    issuer = Issuer("a")
    made = signing.by_hand(json.dumps({"alg": "RS256", "kid": kid}).encode(), b"{}")
    with pytest.raises(Unauthorized):
        issuer.tokens.read(made)
    assert issuer.fetches == 0


def test_a_token_of_another_algorithm_costs_no_fetch() -> None:
    issuer = Issuer("a")
    with pytest.raises(Unauthorized):
        issuer.tokens.read(signing.token(header={"kid": "c"}))
    assert issuer.fetches == 0


def test_a_token_without_an_id_is_checked_with_the_only_key() -> None:
    issuer = Issuer("a")
    assert issuer.tokens.read(token("RS256", "a")).subject == "alice"
    with pytest.raises(Unauthorized):
        Issuer("a", "b").tokens.read(token("RS256", "a"))


def test_a_withdrawn_key_is_refused_soon() -> None:
    issuer = Issuer("a", "b")
    assert issuer.takes("a")
    issuer.publish("b")
    assert not issuer.after(FRESH_S + 1).takes("a")
    assert issuer.takes("b")


def test_a_withdrawn_key_is_refused_though_nobody_came_for_long() -> None:
    issuer = Issuer("a", "b")
    assert issuer.takes("a")
    issuer.publish("b")
    issuer.after(600)
    fetches = issuer.fetches
    assert not issuer.takes("a")
    assert issuer.fetches - fetches <= 1


def test_a_new_key_is_known_at_once_but_not_asked_for_all_the_time() -> None:
    issuer = Issuer("a")
    assert issuer.takes("a")
    issuer.publish("a", "b")
    assert not issuer.takes("b")
    assert issuer.after(RETRY_S, tended=False).takes("b")
    fetches = issuer.fetches
    for _ in range(100):
        assert not issuer.takes("c")
    assert issuer.fetches == fetches
    issuer.after(RETRY_S, tended=False)
    for _ in range(100):
        assert not issuer.takes("c")
    assert issuer.fetches == fetches + 1


def test_while_the_issuer_is_down_its_keys_hold_for_an_hour_and_nobody_waits_for_it() -> None:
    issuer = Issuer("a")
    assert issuer.takes("a")
    issuer.down = True
    issuer.after(LAST_S / 2)
    fetches = issuer.fetches
    assert all(issuer.takes("a") for _ in range(100))
    assert issuer.fetches == fetches
    issuer.after(LAST_S / 2 + 1)
    with pytest.raises(Unavailable):
        issuer.takes("a")
    issuer.down = False
    assert issuer.after(RETRY_S + 1).takes("a")


def test_a_dead_issuer_is_asked_again_but_not_all_the_time() -> None:
    issuer = Issuer("a")
    issuer.down = True
    issuer.after(100)
    assert issuer.fetches <= 100 / RETRY_S + 1


def test_without_any_keys_there_is_no_telling() -> None:
    issuer = Issuer("a")
    issuer.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            issuer.takes("a")
    assert issuer.fetches == 1
    issuer.down = False
    assert issuer.after(RETRY_S).takes("a")


def test_a_document_that_is_none_leaves_the_keys_as_they_are() -> None:
    issuer = Issuer("a")
    assert issuer.takes("a")
    for wrong in (b"", b"<html>", b"[]", b'{"keys": {}}', b'{"keys": null}', b"[" * 60000, b"\xff"):
        issuer.document = wrong
        assert issuer.after(FRESH_S + RETRY_S).takes("a")


def test_one_fetch_is_under_way_at_a_time_and_known_keys_do_not_wait_for_it() -> None:
    issuer = Issuer("a")
    assert issuer.takes("a")
    issuer.after(RETRY_S, tended=False)
    going_on, may_end = threading.Event(), threading.Event()
    plain = issuer.fetch

    def slow() -> bytes:
        going_on.set()
        assert may_end.wait(20)
        return plain()

    issuer.keys = Jwks(slow, "RS256", lambda: issuer.passed_s)
    issuer.tokens = Tokens("RS256", issuer.keys)
    may_end.set()
    assert issuer.takes("a")
    issuer.after(RETRY_S, tended=False)
    issuer.publish("a", "b")
    issuer.fetches = 0
    going_on.clear()
    may_end.clear()
    with ThreadPoolExecutor(10) as threads:
        newcomers = [threads.submit(issuer.takes, "b") for _ in range(8)]
        assert going_on.wait(20)
        assert threads.submit(issuer.takes, "a").result(20)
        may_end.set()
        assert [newcomer.result(20) for newcomer in newcomers] == [True] * 8
    assert issuer.fetches == 1


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_the_keys_of_every_algorithm_can_be_read(algorithm: str) -> None:
    keys = Jwks(lambda: document(row("k", algorithm)), algorithm)
    assert Tokens(algorithm, keys).read(token(algorithm, "k", header={"kid": "k"})).subject == "alice"


FIT = row("fit")
UNFIT = [
    row("x", "ES256"),
    row("x", "EdDSA"),
    row("x", "RSA-1024"),
    row("x", use="enc"),
    row("x", alg="RS512"),
    row("x", alg="HS256"),
    row("x", key_ops=["sign"]),
    row("x", key_ops="verify"),
    row("x", n=None),
    row("x", n="!"),
    row("x", n=7),
    row("x", e=""),
    row("x", kty="oct", k=signing.base64url(b"k" * 32)),
    row("x", kty=None),
    row("x", kty=["RSA"]),
    row("x") | {"kid": 7},
    row("x") | {"kid": ["x"]},
    {},
    [],
    None,
    "x",
    7,
]


@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_a_key_that_does_not_fit_is_passed_over(number: int) -> None:
    assert set(read_keys(document(UNFIT[number], FIT), "RS256")) == {"fit", None}


@pytest.mark.parametrize(("algorithm", "kind"), [("ES256", "P-384"), ("ES256", "EdDSA"), ("EdDSA", "ES256")])
def test_a_key_on_another_curve_is_passed_over(algorithm: str, kind: str) -> None:
    assert read_keys(document(row("x", kind)), algorithm) == {}


def test_of_a_private_key_only_the_public_part_is_read() -> None:
    form = jwt.get_algorithm_by_name("RS256")
    whole = {**form.to_jwk(private_key("RS256", "p"), as_dict=True), "kid": "p"}
    whole.pop("key_ops")
    key = read_keys(document(whole), "RS256")["p"]
    assert not hasattr(key, "sign")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "alg", "use", "key_ops", "d"])
VALUES = JSON | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "Ed448", "X25519", "AQAB", "AAAA"])


@given(st.lists(st.dictionaries(MEMBERS, VALUES), max_size=3), st.sampled_from(ASYMMETRIC))
def test_any_key_set_is_read_or_passed_over(rows: Any, algorithm: str) -> None:
    read_keys(document(*rows), algorithm)
    kinds = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}, "EdDSA": {"kty": "OKP"}}
    read_keys(document(*({**given, **kinds[algorithm]} for given in rows)), algorithm)


# Fetching, from a real server


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = {
            "/keys": (200, b'{"keys": []}'),
            "/away": (302, b""),
            "/missing": (404, b'{"keys": []}'),
            "/largest": (200, b"x" * MAX_BYTES),
            "/too-large": (200, b"x" * (MAX_BYTES + 1)),
        }
        if self.path == "/slow":
            self._trickle()
            return
        status, body = answer[self.path]
        self.send_response(status)
        self.send_header("Location", "/keys")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _trickle(self) -> None:
        """Never quite silent, and never done."""
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.closing.wait(0.2):  # type: ignore[attr-defined]
                self.wfile.write(b"x")
        except OSError:
            return

    def log_message(self, *said: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    server.closing = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.closing.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_document_is_fetched_again_and_again(pages: str) -> None:
    fetch = fetcher(f"{pages}/keys")
    assert [fetch(), fetch()] == [b'{"keys": []}'] * 2


def test_a_large_document_is_cut_off(pages: str) -> None:
    assert len(fetcher(f"{pages}/largest")()) == MAX_BYTES
    with pytest.raises(ValueError, match="bytes"):
        fetcher(f"{pages}/too-large")()


@pytest.mark.parametrize(("path", "status"), [("/away", "302"), ("/missing", "404")])
def test_redirects_are_not_followed_and_errors_are_no_documents(pages: str, path: str, status: str) -> None:
    with pytest.raises(ValueError, match=status):
        fetcher(f"{pages}{path}")()


def test_a_server_that_does_not_come_to_an_end_is_left(pages: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        fetcher(f"{pages}/slow")()


def test_a_server_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="Error"):
        fetcher("http://127.0.0.1:1/keys")()
