"""Patterns of a JSON Schema: texts that match one, and whether a text does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from math import inf
from string import printable
from typing import Any

GROUPS = 16

_Node = tuple[Any, ...]
_Ranges = list[tuple[str, str]]

_CHARACTER = r"\\(?:u[\dA-Fa-f]{4}|x[\dA-Fa-f]{2}|.)|."
_MEMBER = re.compile(rf"({_CHARACTER})(?:-({_CHARACTER}))?", re.ASCII | re.DOTALL)
_TOKEN = re.compile(
    r"\(\?(?:[:=!]|P?<[A-Za-z_]\w*>)|\[\^?(?:\\.|[^]\\])+\]|[*+?]\??|\{\d{1,9}(?:,\d{0,9})?\}\??|"
    + _CHARACTER,
    re.ASCII | re.DOTALL,
)
_TIMES = {"*": "0,", "+": "1,", "?": "0,1"}
_LAST = "\U0010ffff"
_CLASSES: dict[str, _Ranges] = {
    "d": [("0", "9")],
    "D": [("\0", "/"), (":", _LAST)],
    "w": [("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")],
    "W": [("\0", "/"), (":", "@"), ("[", "^"), ("`", "`"), ("{", _LAST)],
    "s": [("\t", "\r"), (" ", " "), ("\xa0", "\xa0"), ("\u2028", "\u2029"), ("\ufeff", "\ufeff")],
    "S": [
        ("\0", "\b"),
        ("\x0e", "\x1f"),
        ("!", "\x9f"),
        ("\xa1", "\u2027"),
        ("\u202a", "\ufefe"),
        ("\uff00", _LAST),
    ],
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}


class Unsatisfiable(ValueError):
    """No instance of a schema was found; the message is a sentence that says why."""


class Regex:
    """A regular expression of ECMA-262, without what looks back, to write from and to search with.

    A search goes all ways at once and holds the set of the places they have come to. `re` goes one after the
    other, and a pattern can have more than it ever gets through.
    """

    def __init__(self, pattern: str, spend: Callable[[int], None]) -> None:
        spend(len(pattern))
        self._spend = spend
        self._tokens = (found[0] for found in _TOKEN.finditer(pattern))
        self._token = next(self._tokens, "")
        self._tree = self._either(0)
        if self._token:
            raise Unsatisfiable("A pattern closes a group that it has not opened.")

    def is_in(self, text: str) -> bool:
        return bool(self._ends(self._tree, text, {*range(len(text) + 1)}))

    def write(self, letters: str, turn: int, attempt: int, more: int) -> str:
        """A text that matches but for what the pattern looks ahead for. `more` is how often what may repeat
        does so beyond what it must."""
        pools = (letters, letters.upper(), "1234567890", "-_ .,:/@!") if attempt % 2 == 0 else ("aA1!bB2-",)
        written: list[str] = []
        self._write(self._tree, written, pools, turn + attempt, more)
        return "".join(written)

    def _take(self) -> str:
        token, self._token = self._token, next(self._tokens, "")
        return token

    def _either(self, depth: int) -> _Node:
        if depth > GROUPS:
            raise Unsatisfiable("A pattern has too many groups in each other.")
        options = [self._sequence(depth)]
        while self._token == "|":
            self._take()
            options.append(self._sequence(depth))
        return "either", options

    def _sequence(self, depth: int) -> _Node:
        nodes = []
        while self._token not in ("", "|", ")"):
            node = self._atom(depth)
            if _is_times(self._token):
                times = self._take()
                low, comma, high = _TIMES.get(times[0], times.strip("{}?")).partition(",")
                node = "repeat", node, int(low), int(high) if high else inf if comma else int(low)
            nodes.append(node)
        return "sequence", nodes

    def _atom(self, depth: int) -> _Node:
        token = self._take()
        if token[0] == "(":
            inner = self._either(depth + 1)
            if self._take() != ")":
                raise Unsatisfiable("A pattern opens a group that it does not close.")
            return ("look", inner, token == "(?=") if token in ("(?=", "(?!") else inner
        if token in ("^", "$"):
            return (token,)
        if _is_times(token) or token in ("[", "{"):
            raise Unsatisfiable(f"The {token!r} of a pattern is not understood.")
        if token == ".":
            return "character", [("\n", "\n"), ("\r", "\r"), ("\u2028", "\u2029")], False
        if token[0] == "[" and token[1:]:
            accepted = token[1] != "^"
            pairs = _MEMBER.findall(token[1:-1] if accepted else token[2:-1])
            return "character", [r for low, high in pairs for r in _ranges(low, high or low)], accepted
        return "character", _ranges(token, token), True

    def _write(self, node: _Node, written: list[str], pools: Sequence[str], turn: int, more: int) -> None:
        self._spend(1)
        match node:
            case "character", ranges, accepted:
                written.append(self._pick(ranges, accepted, pools, turn + len(written)))
            case "sequence", parts:
                for part in parts:
                    self._write(part, written, pools, turn, more)
            case "either", options:
                self._write(options[turn % len(options)], written, pools, turn, more)
            case "repeat", inner, low, high:
                for _ in range(min(high, low + more)):
                    self._write(inner, written, pools, turn, more)

    def _pick(self, ranges: _Ranges, accepted: bool, pools: Sequence[str], turn: int) -> str:
        """A character, from the first pool that has one."""
        for pool in (*pools, printable, [low for low, _ in ranges]):
            self._spend(len(pool) * (1 + len(ranges) // 4) // 2)
            fit = [c for c in pool if _is_among(c, ranges) == accepted and not "\ud800" <= c <= "\udfff"]
            if fit:
                return fit[turn % len(fit)]
        raise Unsatisfiable("A pattern asks for a character that cannot be written.")

    def _ends(self, node: _Node, text: str, starts: set[int]) -> set[int]:
        """Where a match can end that starts at one of these places."""
        self._spend(1 + len(starts))
        match node:
            case "character", ranges, accepted:
                self._spend(len(starts) * len(ranges) // 4)
                return {n + 1 for n in starts if n < len(text) and _is_among(text[n], ranges) == accepted}
            case "sequence", parts:
                return reduce(lambda places, part: self._ends(part, text, places), parts, starts)
            case "either", options:
                return set().union(*(self._ends(option, text, starts) for option in options))
            case "repeat", inner, low, high:
                return self._ends_of_repeats(inner, low, high, text, starts)
            case "look", inner, wanted:
                return {n for n in starts if bool(self._ends(inner, text, {n})) == wanted}
        return starts & ({0} if node == ("^",) else {len(text)})

    def _ends_of_repeats(self, inner: _Node, low: int, high: float, text: str, starts: set[int]) -> set[int]:
        reached: set[int] = set() if low else {*starts}
        count = 0
        while starts and count < high:
            count += 1
            ends = self._ends(inner, text, starts)
            if count >= low:
                starts = ends - reached
                reached |= starts
            elif ends == starts:
                return ends
            else:
                starts = ends
        return reached


def _is_times(token: str) -> bool:
    return token[:1] in _TIMES or (token[:1] == "{" and len(token) > 1)


def _is_among(character: str, ranges: _Ranges) -> bool:
    return any(low <= character <= high for low, high in ranges)


def _ranges(low: str, high: str) -> _Ranges:
    """What is from one character, as a pattern has it, to another."""
    if low == high and low[0] == "\\" and low[1:] in _CLASSES:
        return _CLASSES[low[1:]]
    return [(_character(low), _character(high))]


def _character(token: str) -> str:
    if token[0] != "\\":
        return token
    if len(token) > 2:
        return chr(int(token[2:], 16))
    if token[1:] in _CONTROLS:
        return _CONTROLS[token[1]]
    if token == "\\" or token[1].isalnum():
        raise Unsatisfiable(f"The {token!r} of a pattern is not understood.")
    return token[1]
