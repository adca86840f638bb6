"""What a server process does beside serving."""

from __future__ import annotations

import logging

import pytest

from backend.chat.errors import Unavailable
from backend.serving import tend
from tests.fakes.runtime import ThreadRuntime


class Over(BaseException):
    """The test has seen enough."""


class Turns(ThreadRuntime):
    """A runtime that waits for nothing, and ends with its third wait."""

    waits = 0

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        if self.waits == 3:
            raise Over


@pytest.mark.parametrize(
    ("failure", "is_a_fault"),
    [(Unavailable("The store cannot be reached just now"), False), (ValueError("ours"), True)],
)
def test_a_chore_goes_on_after_a_failure_and_only_a_fault_of_ours_is_told_with_its_traceback(
    caplog: pytest.LogCaptureFixture, failure: Exception, is_a_fault: bool
) -> None:
    done = []

    def chore() -> None:
        done.append(1)
        raise failure

    with pytest.raises(Over):
        tend(chore, Turns())
    assert len(done) == 2
    assert [(record.levelno, bool(record.exc_info)) for record in caplog.records] == [
        (logging.ERROR, True)
    ] * (2 if is_a_fault else 0)
