"""What the built-in model says: markdown about the prompt, the same for the same prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

SUBJECT_CHARS = 80
KEYWORDS = 4

_WORD = re.compile(r"[^\W\d_][\w'-]{3,23}")
_MARKUP = re.compile(r"[`*_#|<>\[\]\\]")
_COMMON = frozenset(
    "about again also because been before between both could does down each else even every explain from "
    "give good have help here hers how into just like little make many more most much must need only other "
    "over please same show some such tell than that their them then there these they this those through "
    "under very want well were what when where which while will with would write your".split()
)

_OPENINGS = (
    "Here is a way to look at **{subject}**, from the outline down to something you can run.",
    "Let us take **{subject}** apart: what it is about, what to weigh, and a first step.",
    "A short tour of **{subject}**, with the parts that usually matter most.",
    "There is more than one answer to **{subject}**; this one goes from the general to the concrete.",
)
_CLOSINGS = (
    "Ask about any line above and the next answer will build on this one.",
    "Which of these parts would you like to see in more detail?",
    "Change one thing at a time, and keep what works.",
)


def compose(question: str, earlier: Sequence[str]) -> str:
    """An answer of at least 1,376 characters with headings, lists, a table and code. `earlier` are the
    conversation's questions so far."""
    seed = crc32(question.encode())
    subject = excerpt(question)
    words = keywords(question)
    parts = (
        f"## {_heading(subject)}",
        _OPENINGS[seed % len(_OPENINGS)].format(subject=subject),
        _remembered(earlier),
        "### What stands out",
        _points(words),
        "### Side by side",
        _table(words, seed),
        "### Something to run",
        _code(subject, words),
        "### Next steps",
        _steps(words),
        "> This is the built-in `demo` model: it needs no key, and it answers from your prompt alone. "
        "Set `OPENAI_API_KEY` or `GEMINI_API_KEY` and the same page, the same API and the same client "
        "talk to a real one.",
        _CLOSINGS[seed % len(_CLOSINGS)],
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def excerpt(text: str) -> str:
    """A text's beginning on one line, without what markdown would act on."""
    line = " ".join(_MARKUP.sub("", text).split())
    if len(line) > SUBJECT_CHARS:
        line = line[: SUBJECT_CHARS - 1].rstrip() + "…"
    return line or "your question"


def _heading(subject: str) -> str:
    return subject[0].upper() + subject[1:].rstrip("?!. ")


def keywords(question: str) -> list[str]:
    """The longest telling words, in the order they came; enough of them even for a short question."""
    found = dict.fromkeys(word.lower() for word in _WORD.findall(question))
    telling = [word for word in found if word not in _COMMON]
    longest = sorted(telling, key=len, reverse=True)[:KEYWORDS]
    words = [word for word in telling if word in longest]
    return [*words, "purpose", "context", "example", "result"][:KEYWORDS]


def _remembered(earlier: Sequence[str]) -> str:
    if not earlier:
        return ""
    questions = "question" if len(earlier) == 1 else "questions"
    return f"*(You asked {len(earlier)} {questions} before this one; the last was “{excerpt(earlier[-1])}”.)*"


def _points(words: Sequence[str]) -> str:
    first, second, third, fourth = words
    return (
        f"- **{first.capitalize()}** comes first: decide what it has to achieve before choosing how.\n"
        f"- **{second.capitalize()}** sets the limits, so write down the two or three that cannot move.\n"
        f"- **{third.capitalize()}** is where most time goes; start small and measure.\n"
        f"  - one change, one measurement\n"
        f"  - keep the numbers next to the change that made them\n"
        f"- **{fourth.capitalize()}** tells you when to stop."
    )


def _table(words: Sequence[str], seed: int) -> str:
    rows = [
        f"| {word} | {3 + (seed >> shift) % 7} days | {('low', 'medium', 'high')[(seed >> shift) % 3]} |"
        for shift, word in enumerate(words)
    ]
    return "\n".join(["| Part | Effort | Risk |", "|:-----|------:|:-----|", *rows])


def _code(subject: str, words: Sequence[str]) -> str:
    return (
        "```python\n"
        f"parts = {list(words)!r}\n\n\n"
        "def plan(parts: list[str]) -> str:\n"
        f'    """An outline for {subject[:40]!r}."""\n'
        '    return "\\n".join(f"{n}. {part}" for n, part in enumerate(parts, 1))\n\n\n'
        "print(plan(parts))\n"
        "```"
    )


def _steps(words: Sequence[str]) -> str:
    return "\n".join(
        (
            f"1. Write one sentence about {words[0]} that somebody else would understand.",
            f"2. Try the smallest thing that shows {words[1]} at work, and look at what happens.",
            f"3. Compare the outcome with what you expected of {words[2]}, and note the difference.",
            "4. Repeat from the top with what you have learned.",
        )
    )
