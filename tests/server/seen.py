"""What every client of OpenAI's dialect sees alike: the answers of the fake upstream, ids, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests.fakes.answers import CALLS, REFUSAL, WORDS

BUDGET = 100
"""What each caller may ask in an hour."""


@dataclass(frozen=True, slots=True)
class Like:
    """Equal to every text of this form; not to none."""

    form: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.form, other) is not None


class Whole:
    """Equal to every whole number."""

    def __eq__(self, other: object) -> bool:
        return type(other) is int


TEXT = "".join(WORDS)
REFUSED = "".join(REFUSAL)
STREAM_ID = r"[\w-]{20,64}"
ID = Like(f"chatcmpl-{STREAM_ID}")
MADE = Like("[0-9a-f]{16}")
"""A request id of the server's own."""
PARSED = [[f"call_{name}", name, said] for name, said in CALLS.items()]
WEATHER, CLOCK = (json.dumps(said, ensure_ascii=False) for said in CALLS.values())

NO_MODEL = "There is no such model here; GET /v1/models lists those there are"
BAD_KEY = "Your key is not valid here; get a new one"
SPENT = f"You have asked as often as you may ({BUDGET}/hour); wait a little and ask again"
WHO = "The model's provider"
OUR_KEY = f"{WHO} refused our key; whoever runs this server must set a valid one"
ELSEWHERE = f"{WHO} knows no such model; choose another, or have the provider's base URL checked"
REFUSED_TOOL = f"{WHO} refused the request (HTTP 400): Invalid schema for function 'weather'"
CONFLICT = f"{WHO} refused the request (HTTP 409): Another request is running"
TOO_BUSY = f"{WHO} has had too many requests from us; ask again in a minute"
FAILS = f"{WHO} is failing (HTTP 500); ask again in a moment"
NONSENSE = f"{WHO} sent something that is no answer; ask again, or have its base URL checked"
OVERLOADED = f"{WHO} reports an error: The engine is overloaded"
BROKE_OFF = "The model's answer broke off before its end; ask again"
