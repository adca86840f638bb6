"""What `make bench-litellm` keeps and tells. That LiteLLM is measured is for who has installed it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bench import litellm, servers
from bench.document import sections
from bench.figures import Case, Compared, Figures, Results
from bench.goals import judge, litellm_goals
from bench.litellm import compared_subjects
from bench.scale import SCALES
from bench.servers import LITELLM, UPSTREAM, Row, Subject, missing

DAY = "2026-01-02"
TINY = SCALES["tiny"]


def figures(**known: float) -> Figures:
    return Figures(**{row.name: 0.0 for row in fields(Figures)} | known)


def compared(**speeds: float) -> Compared:
    def seen(subject: Subject) -> Figures:
        if subject == UPSTREAM:
            return figures(first_ms=1)
        if subject == LITELLM:
            return figures(undisturbed_per_s=1000, first_ms=11)
        return figures(undisturbed_per_s=30_000, first_ms=3, **speeds)

    subjects = compared_subjects("eventlet")
    cases = {Case(subject, streams, 0): seen(subject) for subject in subjects for streams in (1, 50)}
    return Compared("1.2.3", "eventlet", 3, (1, 50), DAY, cases)


def verdicts(found: Compared | None) -> list[str]:
    outcomes = judge(Results(TINY, compared=found), litellm_goals(found))
    return [f"{outcome.value} {outcome.verdict}" for outcome in outcomes]


def test_what_was_kept_is_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "build" / "litellm.json"
    assert litellm.saved(path) is None
    litellm.save(compared(), path)
    assert litellm.saved(path) == compared()


def test_the_document_shows_the_last_run_that_was_kept_with_its_day() -> None:
    heading = "## Beside LiteLLM's proxy"
    (shown,) = (part for part in sections(Results(TINY, compared=compared())) if part.startswith(heading))
    assert "LiteLLM 1.2.3" in shown
    assert DAY in shown
    for subject in compared_subjects("eventlet"):
        assert f"| {subject.name} " in shown
    assert not any(part.startswith(heading) for part in sections(Results(TINY)))


def test_its_goals_are_judged_on_what_was_kept() -> None:
    assert verdicts(compared()) == ["30.0 pass", "5.0 pass", "1.0 pass"]
    assert verdicts(compared(failed=1)) == ["0.0 short", "5.0 pass", "0.0 short"]
    assert verdicts(None) == ["None not measured"] * 3


def test_without_litellm_it_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(servers.SERVERS, "litellm", Row((str(tmp_path / "litellm"),)))
    assert missing("litellm") == "litellm is not installed"
