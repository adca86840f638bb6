"""A made-up instance of a JSON Schema, for the structured outputs and tool calls of the built-in model.

Values are made from a schema's keywords and checked against the whole schema before they are taken, so what
comes back is valid. A schema may come from anybody: every look at a keyword, a value or a character is
counted, and a search ends when the count does. For the same reason no pattern is given to `re`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import reduce
from hashlib import sha256
from itertools import chain
from math import ceil, floor, gcd, inf, lcm, log10
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from backend.providers.demo_pattern import Regex, Unsatisfiable

__all__ = ["Unsatisfiable", "instance_of"]

DEPTH = 64
LARGEST = 1e308
SPARE = 3
"""How often another one is tried for each item or number that may be refused."""
PLAN = ((18_000, DEPTH, 1, True), (9_000, 4, 0, True), (9_000, DEPTH, 0, False))
"""The searches, from the most telling value to the smallest: their steps, their depth, how often a schema may
hold itself, and whether what is optional is given. A step takes about two microseconds."""

_HINTS = {"age": 36, "year": 2025, "date": "2025-06-02", "email": "ada@example.com", "sentiment": "positive"}
_FORMATS: dict[str, Callable[[str, int], str]] = {
    "date": lambda _, turn: f"2025-06-{1 + turn % 30:02}",
    "date-time": lambda _, turn: f"2025-06-{1 + turn % 30:02}T09:30:00Z",
    "time": lambda _, turn: f"09:{turn % 60:02}:00Z",
    "duration": lambda _, turn: f"PT{1 + turn}H",
    "email": lambda word, turn: f"{word}{turn or ''}@example.com",
    "hostname": lambda word, turn: f"{word}{turn or ''}.example.com",
    "ipv4": lambda _, turn: f"192.0.2.{1 + turn % 254}",
    "ipv6": lambda _, turn: f"2001:db8::{1 + turn % 9999}",
    "uri": lambda word, turn: f"https://example.com/{word}{turn or ''}",
    "uuid": lambda word, turn: str(UUID(bytes=sha256(f"{word}{turn}".encode()).digest()[:16], version=4)),
}
_FORMATS["uuid4"] = _FORMATS["uuid"]
_TYPES: dict[type, str] = {
    str: "string",
    dict: "object",
    list: "array",
    float: "number",
    int: "integer",
    bool: "boolean",
    type(None): "null",
}
_IMPLIED = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "propertyNames"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}
_NOTHING: dict[str, Any] = {"not": {}}
_NULL = {"type": "null"}

_Schema = dict[str, Any]
_Parts = list[_Schema]
_Path = tuple[frozenset[int], ...]


class _Spent(Exception):
    """The count is at its end: there is no use in trying another way."""


def instance_of(schema: Any, words: Sequence[str]) -> Any:
    """A JSON value that is valid for a JSON Schema (draft 2020-12), the same for the same arguments. It may
    share lists and objects with the schema.

    `words` are what its strings are about. Raises `Unsatisfiable`, and nothing else, for whatever JSON
    `schema` is.
    """
    failure = Unsatisfiable("The schema is too large, too deep or has too many choices.")
    for limits in PLAN:
        try:
            return _Search(schema, words, limits).make([schema], "", 0, ())
        except Unsatisfiable as exc:
            failure = exc
        except _Spent:
            continue
    raise failure


class _Choice(list[Any]):
    """Schemas of which a value has to fit one."""


class _Search:
    """One search. `parts` are schemas a value has to fit all at once, `turn` counts the items of a list so
    that they differ, and `path` is what is being made, from the outermost in."""

    def __init__(self, schema: Any, words: Sequence[str], limits: tuple[int, int, int, bool]) -> None:
        self._root = schema
        self._words = [word[:40] for word in words if word.strip()] or ["example"]
        self._letters = (re.findall("[a-z]+", " ".join(self._words).lower()) or ["demo"])[0]
        self._left, self._depth, self._repeats, self._generous = limits
        self._known: dict[int, tuple[Any, _Schema]] = {}
        """What was read, by id. It keeps the originals, so that no other can come to have the same id."""
        self._regexes: dict[str, Regex] = {}

    def spend(self, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise _Spent

    def read(self, schema: Any) -> _Schema:
        """A schema whose keywords are understood, have the right types, and are in their newest form."""
        if isinstance(schema, bool):
            return {} if schema else _NOTHING
        if id(schema) in self._known:
            return self._known[id(schema)][1]
        if not isinstance(schema, dict):
            raise Unsatisfiable(f"A schema is an object or a boolean, and no {_type(schema)}.")
        self.spend(len(schema))
        read = schema
        if isinstance(schema.get("items"), list):
            read = {**read, "prefixItems": schema["items"], "items": schema.get("additionalItems", True)}
        for keyword, value in read.items():
            if keyword in _SHAPES and not _SHAPES[keyword](value):
                raise Unsatisfiable(f"The keyword `{keyword}` is not understood, or not with this value.")
        if schema.get("nullable") is True and "type" in schema:
            read = {**read, "type": [*_stated(schema["type"]), "null"]}
        self._known[id(schema)] = schema, read
        return read

    def resolve(self, ref: str) -> Any:
        self.spend(1 + len(ref) // 8)
        start, *steps = unquote(ref).split("/")
        target = self._root
        try:
            for step in steps if start == "#" else [""]:
                step = step.replace("~1", "/").replace("~0", "~")
                target = target[int(step)] if isinstance(target, list) else target[step]
        except (LookupError, TypeError, ValueError):
            raise Unsatisfiable(f"The reference {ref[:80]!r} leads nowhere.") from None
        return target

    def make(self, schemas: Sequence[Any], name: str, turn: int, path: _Path) -> Any:
        """A value that fits all the schemas, for the property `name` or, if that is empty, for anything."""
        self.spend(10)
        failure = Unsatisfiable("No value was found that the schema allows.")
        for parts in self._ways(list(reversed(schemas)), {}, turn, 0):
            for values in self._sources(parts, name, turn, path):
                try:
                    for value in values:
                        if all(self.valid(part, value) for part in parts):
                            return value
                except Unsatisfiable as exc:
                    failure = exc
        raise failure

    def _ways(self, todo: list[Any], parts: dict[int, _Schema], turn: int, depth: int) -> Iterator[_Parts]:
        """Every way through the choices that some schemas leave: all the parts a value has to fit then."""
        if depth > DEPTH:
            raise Unsatisfiable("The schema's choices are nested too deeply.")
        while todo:
            self.spend()
            head = todo.pop()
            if isinstance(head, _Choice):
                self.spend(len(head) + len(todo) + len(parts))
                for option in _in_turn(head, turn):
                    yield from self._ways([*todo, option], dict(parts), turn, depth + 1)
                return
            schema = self.read(head)
            if schema is _NOTHING:
                return
            if id(schema) not in parts:
                parts[id(schema)] = schema
                todo += map(_Choice, _all([schema], "anyOf") + _all([schema], "oneOf"))
                todo += reversed(schema.get("allOf", ()))
                todo += map(self.resolve, _all([schema], "$ref"))
        yield list(parts.values())

    def _sources(self, parts: _Parts, name: str, turn: int, path: _Path) -> Iterator[Iterable[Any]]:
        """Values that may fit, the most telling first."""
        fixed = _all(parts, "enum") + [[value] for value in _all(parts, "const")]
        if fixed:
            self.spend(len(fixed[0]))
            yield _in_turn(fixed[0], turn)
            return
        suggested = [*chain(*_all(parts, "examples")), *_all(parts, "default"), *_all([_HINTS], name.lower())]
        self.spend(len(suggested))
        yield (value for value in suggested[turn:] if value not in (None, "", [], {}))
        for kind in _types(parts, only_likely=self._generous):
            if kind == "object":
                yield self._objects(parts, turn, path)
            elif kind == "array":
                yield self._arrays(parts, turn, path)
            elif kind == "string":
                yield self._strings(parts, turn, len(name))
            elif kind in ("integer", "number"):
                self.spend(10 + 10 * len(_all(parts, "multipleOf")))
                yield _numbers(parts, turn, kind == "integer")
            else:
                yield _in_turn([True, False], turn) if kind == "boolean" else [None]

    def _into(self, parts: _Parts, path: _Path) -> _Path:
        """The path of what is inside of a value for these schemas."""
        here = frozenset(id(part) for part in parts if "$ref" not in part)
        if path.count(here) > self._repeats or len(path) >= self._depth:
            raise Unsatisfiable("The schema holds itself without an end, or is nested too deeply.")
        return *path, here

    def _objects(self, parts: _Parts, turn: int, path: _Path) -> Iterator[Any]:
        path = self._into(parts, path)
        declared = dict.fromkeys(chain(*_all(parts, "properties")))
        required = dict.fromkeys(chain(*_all(parts, "required")))
        self.spend(len(declared) + len(required))
        most = min(_all(parts, "maxProperties"), default=inf)
        made: dict[str, Any] = {}
        for name in {**declared, **required}:
            self.spend(len(parts))
            if name in required or (self._generous and len(made) + len(required) < most):
                try:
                    made[name] = self.make(_of_property(parts, name), name, turn, path)
                except Unsatisfiable:
                    if name in required:
                        raise
        mapping = not declared and any(isinstance(rule, dict) for rule in _all(parts, "additionalProperties"))
        usual = min(2, most) if mapping and self._generous else 0
        yield made | self._extra(parts, max([usual, *_all(parts, "minProperties")]) - len(made), turn, path)
        yield {name: made[name] for name in required}

    def _extra(self, parts: _Parts, wanted: float, turn: int, path: _Path) -> dict[str, Any]:
        """Properties that nobody has declared."""
        names = [{"type": "string"}, *_all(parts, "propertyNames")]
        made: dict[str, Any] = {}
        for nth in range(turn, turn + SPARE * ceil(wanted)):
            if len(made) >= wanted:
                break
            self.spend(len(parts))
            try:
                name = self.make(names, "", nth, ())
                made[name] = self.make(_of_property(parts, name), "", nth, path)
            except Unsatisfiable:
                break
        return made

    def _arrays(self, parts: _Parts, turn: int, path: _Path) -> Iterator[Any]:
        path = self._into(parts, path)
        least, most = max([0, *_all(parts, "minItems")]), min(_all(parts, "maxItems"), default=inf)
        usual = max([2, *map(len, _all(parts, "prefixItems"))]) if self._generous else 0
        wanted = ceil(max(least, min(usual, most)))
        unique = any(_all(parts, "uniqueItems"))
        made: dict[str, Any] = {}
        for nth in range(turn, turn + SPARE * wanted):
            if len(made) == wanted:
                break
            self.spend(len(parts))
            try:
                item = self.make(_of_item(parts, len(made)), "", nth, path)
            except Unsatisfiable:
                if len(made) < least:
                    raise
                break
            made[self.key(item) if unique else str(nth)] = item
        yield [*made.values()]
        yield [*made.values()][: ceil(least)]

    def _strings(self, parts: _Parts, turn: int, start: int) -> Iterator[str]:
        least, most = ceil(max([0, *_all(parts, "minLength")])), min(_all(parts, "maxLength"), default=inf)
        self.spend(least)
        formats = [_FORMATS[name] for name in _all(parts, "format") if name in _FORMATS]
        patterns = _all(parts, "pattern")
        yield from (form(self._letters, turn) for form in formats)
        for pattern in patterns:
            regex = self._regex(pattern)
            missing = max(0, least - len(regex.write(self._letters, turn, 0, 0)))
            for attempt, more in enumerate((3, 0, missing, missing, 1, 2, 7, 15)):
                text = regex.write(self._letters, turn, attempt, more)
                yield text
                yield text.ljust(least, "x")
        if not formats and not patterns:
            text = _phrase(self._words, turn, start)
            while len(text) < least:
                text += f" {text}"
            yield text[: int(min(most, max(least, 80)))]

    def _regex(self, pattern: str) -> Regex:
        if pattern not in self._regexes:
            self._regexes[pattern] = Regex(pattern, self.spend)
        return self._regexes[pattern]

    def key(self, value: Any, depth: int = 0) -> str:
        """The same text for what JSON Schema calls equal. Numbers as keys could be made to collide."""
        self.spend()
        if depth > DEPTH:
            raise Unsatisfiable("A value in the schema is nested too deeply.")
        if isinstance(value, list):
            return f"[{','.join([self.key(item, depth + 1) for item in value])}]"
        if isinstance(value, dict):
            pairs = [f"{self.key(name)}:{self.key(item, depth + 1)}" for name, item in value.items()]
            return f"{{{','.join(sorted(pairs))}}}"
        text = f"{int(value):x}" if _type(value) == "integer" else repr(value)
        self.spend(len(text) // 16)
        return text

    def valid(self, schema: Any, value: Any, depth: int = 0) -> bool:
        schema = self.read(schema)
        self.spend(1 + len(schema))
        if depth > DEPTH:
            raise Unsatisfiable("The schema is nested too deeply.")
        kind, deep = _type(value), depth + 1
        return (
            all(self.valid(self.resolve(ref), value, deep) for ref in _all([schema], "$ref"))
            and _has_type(kind, schema.get("type", kind))
            and all(self.key(value) in map(self.key, options) for options in _all([schema], "enum"))
            and all(self.key(value) == self.key(option) for option in _all([schema], "const"))
            and all(self.valid(each, value, deep) for each in schema.get("allOf", ()))
            and all(any(self.valid(o, value, deep) for o in each) for each in _all([schema], "anyOf"))
            and all(sum(self.valid(o, value, deep) for o in each) == 1 for each in _all([schema], "oneOf"))
            and not any(self.valid(each, value, deep) for each in _all([schema], "not"))
            and self._valid_kind(kind, schema, value, deep)
        )

    def _valid_kind(self, kind: str, schema: _Schema, value: Any, deep: int) -> bool:
        """Whether the keywords hold that are about one type of value."""
        get = schema.get
        if kind == "string":
            self.spend(len(value) // 16)
            fits = get("minLength", 0) <= len(value) <= get("maxLength", inf)
            return fits and all(self._regex(pattern).is_in(value) for pattern in _all([schema], "pattern"))
        if kind in ("integer", "number"):
            self.spend(10 if "multipleOf" in schema else 0)
            return (
                abs(value) <= LARGEST
                and get("minimum", -inf) <= value <= get("maximum", inf)
                and get("exclusiveMinimum", -inf) < value < get("exclusiveMaximum", inf)
                and all(
                    (_exact(value) / _exact(step)).denominator == 1 for step in _all([schema], "multipleOf")
                )
            )
        if kind == "array":
            self.spend(len(value))
            return (
                get("minItems", 0) <= len(value) <= get("maxItems", inf)
                and not (get("uniqueItems") and len({*map(self.key, value)}) < len(value))
                and all(self.valid(s, v, deep) for n, v in enumerate(value) for s in _of_item([schema], n))
            )
        if kind == "object":
            self.spend(len(value) + len(get("required", ())))
            return (
                get("minProperties", 0) <= len(value) <= get("maxProperties", inf)
                and all(name in value for name in get("required", ()))
                and all(self.valid(s, v, deep) for n, v in value.items() for s in _of_property([schema], n))
                and all(self.valid(s, name, deep) for s in _all([schema], "propertyNames") for name in value)
            )
        return True


def _all(parts: Sequence[_Schema], keyword: str) -> list[Any]:
    return [part[keyword] for part in parts if keyword in part]


def _in_turn(options: Sequence[Any], turn: int) -> list[Any]:
    """The options from the `turn`th on, and null at the end, as it says the least."""
    telling = [option for option in options if option not in (None, _NULL)]
    start = turn % len(telling) if telling else 0
    return [*telling[start:], *telling[:start], *(option for option in options if option in (None, _NULL))]


def _type(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return "integer" if whole else _TYPES.get(type(value), "value")


def _stated(rule: str | list[str]) -> list[str]:
    return [rule] if isinstance(rule, str) else rule


def _has_type(kind: str, rule: str | list[str]) -> bool:
    return kind in _stated(rule) or (kind == "integer" and "number" in _stated(rule))


def _types(parts: _Parts, only_likely: bool) -> list[str]:
    """The types a value may have: those that are stated or else those that the keywords are about."""
    keywords = set(chain(*parts))
    stated = _all(parts, "type")
    order = [kind for kind, words in _IMPLIED.items() if not keywords.isdisjoint(words)]
    if stated:
        order = [*_stated(stated[0]), *["integer"] * _has_type("integer", stated[0])]
    elif not order or not only_likely:
        order += _TYPES.values()
    fit = [kind for kind in dict.fromkeys(order) if all(_has_type(kind, rule) for rule in stated)]
    return sorted(fit, key=lambda kind: kind == "null")


def _of_property(parts: _Parts, name: str) -> list[Any]:
    """The schemas of an object's property."""
    found: list[Any] = []
    for part in parts:
        found += _all([part.get("properties", {})], name) or _all([part], "additionalProperties")
    return found


def _of_item(parts: _Parts, nth: int) -> list[Any]:
    """The schemas of an array's item."""
    found: list[Any] = []
    for part in parts:
        found += part.get("prefixItems", [])[nth : nth + 1] or _all([part], "items")
    return found


def _phrase(words: Sequence[str], turn: int, start: int) -> str:
    text = " ".join(words[(turn + start + nth) % len(words)] for nth in range(min(2, len(words))))
    return text[0].upper() + text[1:] if turn < len(words) else f"{turn} {text}"


def _exact(number: float) -> Fraction:
    return Fraction(number if isinstance(number, int) else repr(number))


def _common(one: Fraction, other: Fraction) -> Fraction:
    """The least common multiple."""
    if max(one.numerator, one.denominator) > LARGEST:
        raise Unsatisfiable("The values of `multipleOf` have no common multiple in reach.")
    return Fraction(lcm(one.numerator, other.numerator), gcd(one.denominator, other.denominator))


def _tenth(span: Fraction) -> Fraction:
    """A power of ten that fits into a span ten to a hundred times."""
    size = floor(log10(span.numerator) - log10(span.denominator)) if span > 0 else 1
    return Fraction(10) ** (size - 1)


def _numbers(parts: _Parts, turn: int, whole: bool) -> Iterator[float]:
    """Multiples of a step, from the middle of a short range or else from one."""
    steps = [*map(_exact, _all(parts, "multipleOf"))]
    lows = [*map(_exact, _all(parts, "minimum") + _all(parts, "exclusiveMinimum"))]
    highs = [*map(_exact, _all(parts, "maximum") + _all(parts, "exclusiveMaximum"))]
    units = [reduce(_common, steps, Fraction(1))]
    low = max(lows, default=min([Fraction(1), *(high - 1000 * units[0] for high in highs)]))
    high = min(highs, default=max(low, Fraction(0)) + 1000 * units[0])
    aim = (low + high) / 2 if lows and highs and high - low <= 1000 else min(max(Fraction(1), low), high)
    if not whole:
        units.insert(
            0 if high - low < 10 else 1,
            reduce(_common, steps) if steps else _tenth(min(high - low, Fraction(1))),
        )
    for unit in units:
        first, last = ceil(low / unit), floor(high / unit)
        for nth in range(turn, turn + SPARE) if first <= last else ():
            number = unit * (first + (ceil(aim / unit) - first + nth) % (last - first + 1))
            if abs(number) <= LARGEST:
                yield int(number) if number.denominator == 1 and abs(number) < 2**63 else float(number)
    yield from _all(parts, "minimum") + _all(parts, "maximum")


def _is_number(value: Any) -> bool:
    return _type(value) in ("integer", "number") and abs(value) <= LARGEST


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_SHAPES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        "enum examples allOf anyOf oneOf prefixItems".split(), lambda value: isinstance(value, list)
    ),
    **dict.fromkeys("$ref format pattern".split(), lambda value: isinstance(value, str)),
    **dict.fromkeys("minimum maximum exclusiveMinimum exclusiveMaximum".split(), _is_number),
    **dict.fromkeys("minLength maxLength minItems maxItems minProperties maxProperties".split(), _is_number),
    **dict.fromkeys(
        "if contains dependencies dependentRequired dependentSchemas patternProperties unevaluatedItems "
        "unevaluatedProperties $dynamicRef $recursiveRef".split(),
        lambda _: False,
    ),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "properties": lambda value: isinstance(value, dict),
    "required": _is_names,
    "type": lambda value: isinstance(value, str) or (_is_names(value) and len(value) <= len(_TYPES)),
}
"""What the keywords have to be like; those that are never right are not understood."""
