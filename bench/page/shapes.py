"""Questions that the demo model answers with as many tokens as asked for, all of one shape."""

from __future__ import annotations

PROSE = """## A part of the answer

What matters first is **what it is for**; the rest follows from *that*, as `outline()` shows, or
[a page](https://example.org).
Then one looks at what it costs, and at what it would cost to leave it.

- one thing, and why
- another thing
  - with a detail of its own
  - and one more
- a third thing

1. Begin with the smallest part that works.
2. Measure it, and write the number down.

> What was written down can be compared.

The last sentence of the part says where it goes from here.

"""
CODE = '''```python
"""An outline, and what is done with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    name: str
    days: float = 3.5

    def told(self, lines: list[str]) -> str:
        # One line for each day that it takes.
        return "\\n".join(f"{n}. {self.name} {line!r}" for n, line in enumerate(lines, 1))


for part in (Part("first"), Part("second", days=12)):
    print(part.told(["begin", "go on", "end"]))
'''
TABLE = """| part | days | risk | what it is |
|:-----|-----:|:----:|------------|
| first | 3 | low | what comes before all else |
| second | 12 | **high** | what takes `longer` than it should |
| third | 1 | low | what is left |
"""
LIST = """- begin with the smallest part that works
- **measure** it, and write the number down
- compare `it` with what was expected
- repeat from the top with what was learned
"""
PARAGRAPH = """It begins with a sentence that says what it is about, and **why it matters**, before it
goes on to *how*, in words that are neither long nor short, with `code` here and there, and a
[link](https://example.org) too. """

SHAPES = {
    "prose": PROSE,
    "one code block": CODE,
    "one table": TABLE,
    "one list": LIST,
    "one paragraph": " ".join(PARAGRAPH.split()),
}
"""Each is repeated as often as it takes: a fence that opens again is a line of its code."""


def question(shape: str, tokens: int, rate: int) -> str:
    """`rate` is tokens a second, 0 for as fast as can be."""
    return f"[[demo echo tokens={tokens} tps={rate}]] {SHAPES[shape]}"
