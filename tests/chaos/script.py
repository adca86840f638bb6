"""What the upstream says to each question."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from tests.fakes.upstream import DONE, chunk, finish, usage

ODD = (
    "ü€",
    "😀",
    "👩‍👩‍👧",
    "\u2028",
    "\u0085",
    "\r",
    "\r\n",
    "\n\n",
    "\ufeff",
    "data: [DONE]",
    '"\\',
    "\x1e",
)
TOKENS_PER_S = 60

_NUMBER = re.compile(r"question (\d+)-(\d+)\b")


@dataclass(frozen=True)
class Question:
    """The `number`-th of a seed. The upstream sends `pieces_at_once` of its tokens in one write."""

    seed: int
    number: int
    tokens: list[str] = field(repr=False)
    pieces_at_once: int

    @property
    def message(self) -> str:
        return f"question {self.seed}-{self.number}"

    @property
    def gap_s(self) -> float:
        return self.pieces_at_once / TOKENS_PER_S

    @cached_property
    def text(self) -> str:
        return "".join(self.tokens)

    def writes(self, begun: int) -> list[bytes]:
        """The body past so many tokens, in HTTP's chunked encoding; all but the last hold tokens."""
        events = [chunk(token) for token in self.tokens[begun:]]
        steps = range(0, len(events), self.pieces_at_once)
        pieces = [b"".join(events[at : at + self.pieces_at_once]) for at in steps]
        pieces.append(finish() + usage(3, len(events)) + DONE)
        framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        framed[-1] += b"0\r\n\r\n"
        return framed

    def text_between(self, first: int, last: int) -> str:
        """What the tokens after the first so many say, up to the last so many."""
        return self.text[self._ends[first] : self._ends[last]]

    def begun(self, partial: str) -> int | None:
        """How many tokens it is that stand in the beginning of the answer; None if that is not it."""
        if len(partial) in self._ends and self.text.startswith(partial):
            return self._ends.index(len(partial))
        return None

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.tokens), initial=0))


def questions(seed: int, count: int, tokens: tuple[int, int]) -> list[Question]:
    chance = random.Random(f"questions of {seed}")
    return [_question(seed, number, chance.randint(*tokens), chance) for number in range(count)]


def named_in(message: str) -> tuple[int, int] | None:
    """The seed and number of a question."""
    found = _NUMBER.search(message)
    return (int(found[1]), int(found[2])) if found else None


def _question(seed: int, number: int, count: int, chance: random.Random) -> Question:
    tokens = [f"{n}:{chance.choice(ODD) if chance.random() < 0.5 else ''} " for n in range(count)]
    return Question(seed, number, tokens, chance.choice((1, 2, 3, 3, 6)))
