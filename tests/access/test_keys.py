from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backend.access.jwks import Jwks
from backend.access.keys import Keys, open_keys, shared_secret
from backend.access.tokens import Tokens
from backend.chat.errors import Misconfigured
from tests.access.signing import ASYMMETRIC, SECRET, private_pem, public_pem, token


def opened(folder: Path, algorithm: str = "HS256", **settings: Any) -> Keys:
    whole = {"secret": None, "public_key": None, "jwks_url": None, **settings}
    return open_keys(algorithm, secret_file=folder / "var" / "jwt.key", **whole)


def refused(folder: Path, algorithm: str = "HS256", **settings: Any) -> str:
    with pytest.raises(Misconfigured) as caught:
        opened(folder, algorithm, **settings)
    return str(caught.value)


def test_a_secret_that_is_set_is_used_and_none_is_kept(tmp_path: Path) -> None:
    assert opened(tmp_path, secret=SECRET).find(None) == SECRET.encode()
    assert opened(tmp_path, secret="ü" * 16).find("any") == b"\xc3\xbc" * 16
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("secret", ["", "a", "a" * 31, "ü" * 15])
def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, secret: str) -> None:
    assert "JWT_SECRET" in refused(tmp_path, secret=secret)


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    assert "public key" in refused(tmp_path, secret=public_pem("RS256"))


def test_a_secret_that_is_not_set_is_made_once_and_kept_for_us_alone(tmp_path: Path) -> None:
    made = opened(tmp_path).find(None)
    assert len(made) >= 32
    assert opened(tmp_path).find(None) == made
    (kept,) = (tmp_path / "var").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert opened(tmp_path / "elsewhere").find(None) != made


def made_in(folder: Path) -> bytes:
    return shared_secret(None, folder / "var" / "jwt.key")


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("fork")) as processes:
        for number in range(20):
            folder = tmp_path / str(number)
            assert len(set(processes.map(made_in, [folder] * 8))) == 1
            assert [path.name for path in (folder / "var").iterdir()] == ["jwt.key"]


def test_a_kept_secret_that_is_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "var" / "jwt.key"
    file.parent.mkdir()
    for text in ("", "\n", "a" * 31 + "\n"):
        file.write_text(text)
        assert str(file) in refused(tmp_path)


def test_a_kept_secret_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var" / "jwt.key").mkdir(parents=True)
    assert "set JWT_SECRET" in refused(tmp_path)


def test_a_secret_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("in the way")
    assert "set JWT_SECRET" in refused(tmp_path)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_may_be_a_text_with_escapes_or_a_file(tmp_path: Path, algorithm: str) -> None:
    pem = public_pem(algorithm)
    file = tmp_path / "issuer.pem"
    file.write_text(pem)
    for given in (pem, pem.replace("\n", "\\n"), str(file)):
        keys = opened(tmp_path, algorithm, public_key=given)
        assert Tokens(algorithm, keys).read(token(algorithm)).subject == "alice"


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("RS256", "ES256"), ("RS256", "EdDSA"), ("RS256", "RSA-1024"), ("ES256", "RS256"), ("ES256", "P-384"),
        ("ES256", "EdDSA"), ("EdDSA", "ES256"), ("EdDSA", "RS256"),
    ],
)  # fmt: skip
def test_a_public_key_must_fit_the_algorithm(tmp_path: Path, algorithm: str, kind: str) -> None:
    assert "JWT_PUBLIC_KEY" in refused(tmp_path, algorithm, public_key=public_pem(kind))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_private_key_has_no_business_here(tmp_path: Path, algorithm: str) -> None:
    assert "private" in refused(tmp_path, algorithm, public_key=private_pem(algorithm))


def test_a_key_of_ed448_is_one_of_eddsa(tmp_path: Path) -> None:
    keys = opened(tmp_path, "EdDSA", public_key=public_pem("Ed448"))
    assert keys.find(None) is not None


@pytest.mark.parametrize(
    "given", ["no such file", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END", "\0", "x" * 5000]
)
@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_what_is_no_key_is_refused(tmp_path: Path, algorithm: str, given: str) -> None:
    assert "JWT_PUBLIC_KEY" in refused(tmp_path, algorithm, public_key=given)


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "issuer.pem"
    file.write_bytes(os.urandom(300))
    assert "JWT_PUBLIC_KEY" in refused(tmp_path, "RS256", public_key=str(file))


@pytest.mark.parametrize(
    ("algorithm", "settings", "names"),
    [
        ("HS256", {"public_key": "x"}, "JWT_ALGORITHM"),
        ("HS256", {"jwks_url": "https://id.example/keys"}, "JWT_ALGORITHM"),
        ("RS256", {}, "JWKS_URL"),
        ("ES256", {}, "JWT_PUBLIC_KEY"),
        ("RS256", {"public_key": "x", "jwks_url": "https://id.example/keys"}, "both"),
        ("RS256", {"secret": SECRET}, "JWT_SECRET"),
        ("RS256", {"jwks_url": "http://id.example/keys"}, "https"),
        ("RS256", {"jwks_url": "ftp://127.0.0.1/keys"}, "https"),
        ("RS256", {"jwks_url": "id.example/keys"}, "https"),
        ("RS256", {"jwks_url": "https:///keys"}, "https"),
        ("RS256", {"jwks_url": "http://127.0.0.1.example/keys"}, "https"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, algorithm: str, settings: dict[str, str], names: str
) -> None:
    assert names in refused(tmp_path, algorithm, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["https://id.example/keys", "http://127.0.0.1:1/k", "http://localhost/k", "http://[::1]/k"]
)
def test_a_key_set_is_fetched_over_https_or_from_this_machine(tmp_path: Path, url: str) -> None:
    assert isinstance(opened(tmp_path, "RS256", jwks_url=url), Jwks)


def test_no_sentence_tells_a_key(tmp_path: Path) -> None:
    for settings in ({"secret": "canary"}, {"secret": f"canary {public_pem('RS256')}"}):
        assert "canary" not in refused(tmp_path, **settings)
    assert "canary" not in refused(tmp_path, "RS256", public_key="-----BEGIN canary")
