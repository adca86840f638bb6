"""Tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Every column as wide as its widest cell."""
    body = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *body]) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *body]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def number(value: float | None, digits: int = 0) -> str:
    if value is None:
        return "–"
    return "∞" if value == float("inf") else f"{value:,.{digits}f}"


def brief(value: float) -> str:
    """Three figures of it."""
    return number(value, 0 if value >= 100 else 1 if value >= 10 else 2)
