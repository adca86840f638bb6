"""`team`, `key` and `credits`, as they are typed."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import books, commands
from backend.chat.errors import Misconfigured
from tests.fakes.runtime import ThreadRuntime
from tests.ledger.world import World

ROOT = Path(__file__).resolve().parent.parent.parent
Type = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def url(tmp_path: Path, made: Path) -> str:
    (tmp_path / "ledger.db").write_bytes(made.read_bytes())
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def type_(url: str, capsys: pytest.CaptureFixture[str]) -> Type:
    """Exit code, output and errors of what is typed."""

    def run(line: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        commands.add(parser.add_subparsers())
        code = books.run(parser.parse_args(line.split()), url, ThreadRuntime())
        return code, *capsys.readouterr()

    return run


def test_a_team_is_made_shown_changed_and_listed(type_: Type) -> None:
    line = "team create acme --credits 10 --budget-mode consumption_usd --credits-per-dollar 50"
    code, out, err = type_(line + " --rate-limit 5/second --model-groups fast,smart")
    assert code == 0
    assert re.search(r"^virtual key  sk-[A-Za-z0-9_-]{43}$", out, re.M)
    assert "not shown again" in err
    shown = type_("team show acme")[1]
    assert shown == out[: out.index("virtual key")]
    assert shown.splitlines() == [
        "team         acme",
        "mode         consumption_usd: 50 credits a dollar",
        "rate limit   5/second",
        "groups       fast, smart",
        "credits      10 granted = 10 free + 0 held + 0 spent",
    ]
    line = "team set acme --budget-mode consumption_tokens --tokens-per-credit 9"
    changed = type_(line + " --rate-limit default --model-groups all")[1]
    assert changed.splitlines()[1:4] == [
        "mode         consumption_tokens: 9 tokens a credit",
        "rate limit   as for everybody",
        "groups       all",
    ]
    assert type_("team list")[1].split() == [
        *("team", "mode", "granted", "free", "held", "spent"),
        *("acme", "consumption_tokens", "10", "10", "0", "0"),
    ]


def test_keys_are_made_listed_rotated_and_revoked(type_: Type, url: str) -> None:
    type_("team create acme")
    code, out, _ = type_("key create acme --expires-at 2099-01-01T00:00:00Z")
    key_id, text = re.search(r"key_id +(\S+)\nvirtual key +(\S+)", out).groups()
    assert (code, text in type_("key list acme")[1], text[:10] in type_("key list acme")[1]) == (
        0,
        False,
        True,
    )
    code, out, _ = type_(f"key rotate {key_id}")
    new_id, new = re.search(r"key_id +(\S+)\nvirtual key +(\S+)", out).groups()
    assert (code, new != text) == (0, True)
    assert type_(f"key rotate {key_id}")[0] == 1
    code, out, _ = type_(f"key revoke {new_id}")
    assert (code, out.startswith(new[:10])) == (0, True)
    assert type_("key list acme")[1].count("T") >= 5  # two of three are revoked, and have a time for it


def test_credits_are_added_taken_back_and_shown(type_: Type) -> None:
    type_("team create acme")
    for _ in range(2):
        out = type_("credits add acme 10 --reason paid --once invoice-7")[1]
        assert out == "credits      10 granted = 10 free + 0 held + 0 spent\n"
    assert type_("credits add acme -4 --reason refund")[0] == 0
    code, _, err = type_("credits add acme -7 --reason refund")
    assert (code, err) == (1, "parley: Only 6 credits are free; no more can be taken back\n")
    shown = type_("credits show acme --last 1")[1].splitlines()
    assert shown[0] == "credits      6 granted = 6 free + 0 held + 0 spent"
    assert shown[-1].split()[1:] == ["grant", "-4", "refund", "command", "line"]


def test_an_audit_fails_on_a_discrepancy_and_only_then(type_: Type, url: str) -> None:
    type_("team create acme --credits 10")
    assert type_("credits audit") == (0, "balanced\n", "")
    world = World(url)
    world.run("UPDATE teams SET free = 11, granted = 11")
    world.close()
    code, out, _ = type_("credits audit")
    assert (code, out.splitlines()[-1]) == (1, "2 discrepancies")
    assert "acme: granted is 11, by the entries 10" in out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("team show none", "There is no such team"),
        ("team create acme", "There is a team acme already"),
        ("team create a/b", "team_id must be"),
        ("team set acme --budget-mode free", "budget_mode must be one of"),
        ("team set acme --credits-per-dollar 0", "credits_per_dollar must be"),
        ("key create none", "There is no such team"),
        ("key create acme --expires-at soon", "expires_at must be a time"),
        ("key revoke none", "There is no such key"),
        ("credits add acme 0 --reason none", "amount must be"),
        ("credits add none 5 --reason why", "There is no such team"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(type_: Type, line: str, told: str) -> None:
    type_("team create acme")
    code, out, err = type_(line)
    assert (code, out) == (1, "")
    assert err.startswith("parley: ")
    assert told in err


@pytest.mark.parametrize(
    "line", ["team", "key create", "credits add acme 1.5 --reason x", "credits add acme 5"]
)
def test_what_is_typed_wrong_is_a_usage_error(type_: Type, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        type_(line)
    assert left.value.code == 2


def test_every_command_has_what_does_it() -> None:
    parser = argparse.ArgumentParser()
    commands.add(parser.add_subparsers())
    lines = [
        *("team create t", "team list", "team show t", "team set t"),
        *("key create t", "key list t", "key revoke k", "key rotate k"),
        *("credits add t 1 --reason r", "credits show t", "credits audit"),
    ]
    assert {parser.parse_args(line.split()).books for line in lines} == set(books.DO)


def test_the_program_takes_them_and_finds_the_ledger_by_its_variable(tmp_path: Path) -> None:
    def run(line: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "backend", *line.split()], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}, timeout=60,
        )  # fmt: skip

    made = run("team create acme --credits 3")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "var" / "ledger.db").exists()
    elsewhere = run("team show acme", DATABASE_URL="sqlite:///other.db")
    assert (elsewhere.returncode, elsewhere.stderr) == (1, "parley: There is no such team\n")
    wrong = run("credits audit", DATABASE_URL="mysql://here")
    assert wrong.returncode == 2
    assert "DATABASE_URL must be sqlite:///<file> or postgresql://" in wrong.stderr


def test_a_ledger_that_cannot_be_opened_is_misconfigured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = argparse.Namespace(books="audit")
    with pytest.raises(Misconfigured):
        books.run(given, f"sqlite:///{tmp_path}/file/ledger.db", ThreadRuntime())
