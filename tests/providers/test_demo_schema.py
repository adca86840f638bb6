from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from backend.providers.demo_schema import Unsatisfiable, instance_of

WORDS = ("streaming", "apis", "latency", "budget")
CALL_S = 5.0
"""Far more than a call takes anywhere: without a bound these take minutes, or for ever."""

STREET = {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}
ZOD_EMAIL = (
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)
ZOD_UUID = r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12})$"
TREE = {"$defs": {"T": {"properties": {"of": {"items": {"$ref": "#/$defs/T"}}}, "required": ["of"]}}}


def validator(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def made(schema: Any) -> Any:
    """A schema's instance, after a look at whether it is one."""
    value = instance_of(schema, WORDS)
    validator(schema).validate(value)
    assert json.dumps(instance_of(schema, WORDS)) == json.dumps(value), "the same twice"
    return value


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"title": "Anything", "description": "At all"},
        *({"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "array", "object")),
        {"type": ["null", "integer"]},
        {"type": "number", "allOf": [{"type": ["integer", "string"]}]},
        {"enum": ["low", "high"]},
        {"enum": [1, None, {"a": [1, 2]}], "type": "object"},
        {"enum": ["red", "green", "blue"], "pattern": "^g", "minLength": 5},
        {"const": None},
        {"const": 1.0, "enum": [True, 1]},
        {"properties": {"a": {"type": "integer"}}},
        {"required": ["a", "b"], "properties": {"a": {"const": 1}}},
        {"required": ["a"], "additionalProperties": {"type": "boolean"}},
        {**STREET, "additionalProperties": False},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 5},
        {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1},
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": {"enum": [1, 2]}},
        {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 4},
        {"properties": {"a": True, "b": {}, "c": True}, "required": ["c"], "maxProperties": 2},
        {"properties": {"a": {}, "b": False}},
        {"items": {"type": "integer"}},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "minItems": 30, "uniqueItems": True},
        {"type": "array", "items": {"pattern": r"^\d{4}$"}, "minItems": 8, "uniqueItems": True},
        {"type": "array", "items": STREET, "minItems": 4, "uniqueItems": True},
        {
            "type": "array",
            "items": {"minimum": 1, "maximum": 9, "type": "integer"},
            "minItems": 9,
            "uniqueItems": True,
        },
        {"type": "array", "maxItems": 0},
        {"type": "array", "items": False},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "minItems": 3},
        {"type": "string", "minLength": 200},
        {"type": "string", "maxLength": 3},
        {"type": "string", "maxLength": 0},
        {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        {"type": "string", "pattern": r"^\+?[1-9]\d{1,14}$"},
        {"type": "string", "pattern": r"^#(?:[0-9a-f]{3}){1,2}$"},
        {"type": "string", "pattern": r"^(?:yes|no|perhaps) \S+\.(txt|md)$"},
        {"type": "string", "pattern": "^[^a-z]+$", "minLength": 12, "maxLength": 12},
        {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "minLength": 30},
        {"type": "string", "pattern": r"^(?=.*[A-Z])(?=.*\d)(?=.*[!@#-]).{8,}$"},
        {"type": "string", "pattern": "(?<year>[0-9]{4})-W(?<week>[0-5][0-9])"},
        {"type": "string", "pattern": "ends$", "allOf": [{"pattern": "^(s|e)"}]},
        {"type": "string", "pattern": "abc", "minLength": 10},
        {"type": "string", "pattern": "[一-龥é]+"},
        {"type": "string", "pattern": r"^\W\D\s\x41\u0042\/$"},
        {"type": "string", "pattern": "^$"},
        {"type": "string", "pattern": ZOD_EMAIL},
        {"type": "string", "format": "email", "pattern": ZOD_EMAIL},
        {"type": "string", "format": "uuid", "pattern": ZOD_UUID},
        *(
            {"type": "string", "format": name}
            for name in "date date-time time duration email hostname ipv4 ipv6 uri uuid unheard-of".split()
        ),
        {"type": "integer", "minimum": 3, "maximum": 3},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
        {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
        {"type": "integer", "minimum": 7, "multipleOf": 5},
        {"type": "integer", "maximum": -7, "multipleOf": 2.5},
        {"type": "integer", "minimum": 2**60 + 1},
        {"type": "number", "minimum": 0.25, "maximum": 0.25},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-9},
        {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.4, "multipleOf": 0.1},
        {"type": "number", "multipleOf": 0.01, "minimum": 19.99, "maximum": 19.99},
        {"type": "number", "minimum": 1e300},
        {"allOf": [{"type": "number", "multipleOf": 4}, {"multipleOf": 6, "minimum": 13}]},
        {"anyOf": [{"type": "string", "minLength": 2, "maxLength": 1}, {"type": "integer"}]},
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": False, "b": {}}},
        {"anyOf": [{"minimum": 5}, {"minimum": 3}], "maximum": 4, "type": "number"},
        {"oneOf": [{"type": "number"}, {"type": "integer"}]},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {}, "b": {}}},
        {"allOf": [STREET, {"properties": {"street": {"minLength": 20}, "number": {"type": "integer"}}}]},
        {"type": "string", "not": {"enum": ["x"]}},
        {"$defs": {"a/b~c d": {"const": 7}}, "$ref": "#/$defs/a~1b~0c%20d"},
        {"definitions": {"Street": STREET}, "items": {"$ref": "#/definitions/Street"}, "type": "array"},
        {"properties": {"a": {"enum": ["x"]}, "b": {"$ref": "#/properties/a"}}},
        {"$defs": {"S": STREET}, "$ref": "#/$defs/S", "properties": {"street": {"maxLength": 4}}},
        {"properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}, "required": ["value"]},
        {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
        {"properties": {"of": {"type": "array", "items": {"$ref": "#"}}}, "required": ["of"]},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
        {**TREE, "$ref": "#/$defs/T"},
        {"type": ["array", "null"], "items": {"$ref": "#"}, "minItems": 2},
    ],
    ids=str,
)
def test_an_instance_is_valid(schema: Any) -> None:
    made(schema)


def test_strings_are_about_the_words_of_the_prompt() -> None:
    assert instance_of({"type": "string"}, ["streaming", "apis"]) == "Streaming apis"
    assert instance_of({"type": "array", "items": {"type": "string"}}, ["one", "two"]) == [
        "One two",
        "Two one",
    ]
    assert instance_of({"type": "string"}, []) == "Example"
    assert instance_of({"format": "uri"}, ["¿Größe?", "streams"]) == "https://example.com/gr"


def test_everything_declared_is_there_in_the_order_of_the_schema() -> None:
    schema = {"properties": {"b": {}, "a": {}, "d": {}}, "required": ["a", "c"]}
    assert [*made(schema)] == ["b", "a", "d", "c"]


def test_what_says_the_least_comes_last() -> None:
    assert isinstance(made({"anyOf": [{"type": "null"}, {"type": "string"}]}), str)
    assert isinstance(made({"type": ["null", "string"], "default": None}), str)
    assert made({"enum": [None, "a"]}) == "a"


def test_an_example_is_taken_before_a_default_and_both_only_if_they_are_valid() -> None:
    assert made({"type": "string", "default": "b", "examples": ["a"]}) == "a"
    assert made({"type": "string", "default": "b", "examples": [1]}) == "b"
    assert made({"type": "integer", "default": "b", "minimum": 5, "examples": [3]}) == 5


def test_the_items_of_a_list_differ_where_they_can() -> None:
    options = [{"properties": {"kind": {"const": kind}}, "required": ["kind"]} for kind in ("cat", "dog")]
    assert made({"type": "array", "items": {"oneOf": options}}) == [{"kind": "cat"}, {"kind": "dog"}]


def test_a_schema_that_holds_itself_is_shown_to_do_so_and_ends() -> None:
    linked = {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}
    assert made(linked) == {"next": {"next": {"next": None}}}
    tree = {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#"}}}}
    assert made(tree) == {"of": [{"of": []}, {"of": []}]}


def test_forms_of_older_drafts_and_of_openapi_are_read() -> None:
    tuple_of_draft_7 = {"type": "array", "items": [{"const": 1}, {"const": 2}], "additionalItems": False}
    assert instance_of(tuple_of_draft_7, WORDS) == [1, 2]
    nullable = {"type": "object", "nullable": True, "properties": {"of": {"$ref": "#"}}, "required": ["of"]}
    assert instance_of(nullable, WORDS) == {"of": {"of": None}}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Node(BaseModel):
    value: float
    next: Node | None = None


class Tree(BaseModel):
    name: str
    children: list[Tree]


class Expression(BaseModel):
    left: Expression | Tree | int
    right: Expression | Tree | int


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colour: Colour
    choice: Literal["a", 1, None]
    maybe: str | None = None
    pets: Annotated[list[Annotated[Cat | Dog, Field(discriminator="kind")]], Field(min_length=3)]
    counts: dict[str, int]
    by_colour: dict[Colour, list[int]]
    tags: set[Annotated[str, Field(min_length=3, max_length=9)]] = Field(min_length=4)
    colours: set[Colour]
    pair: tuple[int, str]
    code: str = Field(pattern=r"^[A-Z]{3}-\d{2,}$")
    share: float = Field(gt=0, lt=1)
    price: Decimal = Field(gt=0, max_digits=6, decimal_places=2)
    size: int = Field(multiple_of=8, ge=100)
    at: datetime
    on: date
    took: timedelta
    id: UUID
    link: AnyUrl
    anything: Any
    node: Node
    tree: Tree
    expression: Expression


@pytest.mark.parametrize("model", [Cat, Node, Tree, Expression, Everything])
def test_pydantic_reads_what_is_made_for_its_models(model: type[BaseModel]) -> None:
    model.model_validate(made(model.model_json_schema()))
    made(model.model_json_schema(mode="serialization"))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"not": {}},
        {"enum": []},
        {"anyOf": []},
        {"type": []},
        {"type": "text"},
        {"type": "string", "enum": [1, 2]},
        {"const": 1, "enum": [True, 2]},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "^a$", "minLength": 2},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": False, "minItems": 1},
        {"required": ["a"], "properties": {"a": False}, "type": "object"},
        {"required": ["a"], "additionalProperties": False, "type": "object"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"oneOf": [{"type": "string"}, {"type": "string"}]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#anchor"},
        *(
            {"type": "string", "pattern": pattern}
            for pattern in ("(", ")", "[a", "a**", "{2}", r"(a)\1", r"\p{L}")
        ),
        *({"type": "string", "pattern": pattern} for pattern in (r"(?<=a)b", "(?i)a", r"\bword", r"\ud83d")),
        {"type": "object", "patternProperties": {"^a": {}}},
        {"if": {}, "then": {"const": 1}},
        {"unevaluatedProperties": False},
        {"$dynamicRef": "#node"},
    ],
    ids=str,
)
def test_what_cannot_be_satisfied_is_said_in_a_sentence(schema: Any) -> None:
    with pytest.raises(Unsatisfiable, match=r"^[A-Z].+\.$"):
        instance_of(schema, WORDS)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        5,
        "string",
        [{"type": "string"}],
        {"type": 5},
        {"type": [{}]},
        {"properties": 5, "type": "object"},
        {"type": "object", "properties": {"a": 5}, "required": ["a"]},
        {"required": "x"},
        {"required": [[]]},
        {"items": 5, "type": "array", "minItems": 1},
        {"enum": "ab"},
        {"anyOf": {"type": "string"}},
        {"allOf": [None]},
        {"$ref": 5},
        {"$ref": "#/x/y", "x": 5},
        {"$ref": "#/x/y", "x": [1]},
        {"pattern": 5, "type": "string"},
        {"format": {}, "type": "string"},
        {"minimum": "1", "type": "integer"},
        {"minimum": True, "type": "integer"},
        {"minimum": float("nan"), "type": "integer"},
        {"minimum": 10**400, "type": "integer"},
        {"multipleOf": 0, "type": "integer"},
        {"minItems": float("inf"), "type": "array"},
        {"examples": 5},
        {"const": float("nan")},
    ],
    ids=str,
)
def test_a_malformed_schema_is_refused_and_nothing_worse(schema: Any) -> None:
    with pytest.raises(Unsatisfiable):
        instance_of(schema, WORDS)


def nested(times: int, inside: Any, around: Callable[[Any], Any]) -> Any:
    for _ in range(times):
        inside = around(inside)
    return inside


def chained(link: Callable[[Any], Any], times: int = 40) -> dict[str, Any]:
    """Definitions each of which holds the next, as `link` puts it."""
    refs = [{"$ref": f"#/$defs/{n + 1}"} for n in range(times)]
    return {
        "$defs": {**{str(n): link(ref) for n, ref in enumerate(refs)}, str(times): {}},
        "$ref": "#/$defs/0",
    }


LIST = json.loads("[" * 900 + "]" * 900)
COLLIDING = [n * (2**61 - 1) for n in range(20_000)]
NAMES = [f"p{n}" for n in range(8)]
WIDE = {f"p{n}": n for n in range(5000)}
HOSTILE: dict[str, Any] = {
    "an endless list": {"type": "array", "minItems": 10**9},
    "an endless list of nothing": {"type": "array", "items": {"const": None}, "minItems": 1e308},
    "an endless text": {"type": "string", "minLength": 10**9},
    "an endless object": {"type": "object", "minProperties": 10**9},
    "a list of so many that differ": {"minItems": 10**9, "uniqueItems": True, "items": {"enum": [1, 2]}},
    "many properties": {
        "properties": {f"p{n}": {} for n in range(20_000)},
        "minProperties": 20_000,
        "type": "object",
    },
    "many properties looked at again and again": {
        "$defs": {"S": {"required": [*WIDE]}},
        "const": WIDE,
        "allOf": [{"$ref": "#/$defs/S"}] * 5000,
    },
    "a long name looked at again and again": {
        "const": {"x" * 10**6: 1},
        "allOf": [{"enum": [{"x" * 10**6: 1}]} for _ in range(99)],
    },
    "many types": {"type": ["x"] * 10**5, "anyOf": [{"$ref": "#"}] * 999},
    "many schemas for many properties": {
        "allOf": [{"properties": {f"p{n}": {} for n in range(k, k + 99)}} for k in range(999)],
        "type": "object",
    },
    "many options": {"enum": [*range(20_000)], "minimum": 19_990},
    "many choices": {
        "allOf": [{"anyOf": [{"const": n} for n in range(k, k + 9)]} for k in range(0, 300, 10)]
    },
    "the same choice again and again": nested(
        60, {"type": "integer"}, lambda s: {"anyOf": [s, s], "oneOf": [s, s]}
    ),
    "deep lists": nested(200, {}, lambda s: {"type": "array", "items": s, "minItems": 1}),
    "deep objects": nested(60, {"const": LIST}, lambda s: {"properties": {"a": s}, "required": ["a"]}),
    "deep choices": nested(200, {}, lambda s: {"anyOf": [s]}),
    "deep conditions": nested(200, {}, lambda s: {"allOf": [s, s]}),
    "deep denials": nested(201, {}, lambda s: {"not": s}),
    "deep values": {"const": LIST, "enum": [LIST]},
    "references that double": chained(lambda ref: {"allOf": [ref, ref]}),
    "objects that double": chained(lambda ref: {"properties": {"a": ref, "b": ref}, "required": ["a", "b"]}),
    "lists that double": chained(lambda ref: {"type": "array", "items": ref, "minItems": 2}),
    "values that double": chained(
        lambda ref: {"prefixItems": [ref, {"const": "x" * 10**6}], "minItems": 2, "type": "array"}
    ),
    "all hold all": {
        "$defs": {
            n: {"properties": {k: {"$ref": f"#/$defs/{k}"} for k in NAMES}, "required": NAMES} for n in NAMES
        },
        "$ref": "#/$defs/p0",
    },
    "a long reference": {"allOf": [{"$ref": "#/" + "a/" * 10**5}] * 1000},
    "a tiny step": {
        "type": "number",
        "multipleOf": 1e-300,
        "minimum": 0.3,
        "exclusiveMaximum": 0.30000000001,
    },
    "steps with nothing in common": {
        "allOf": [{"multipleOf": 1.123456789e-300 * n} for n in range(1, 999)],
        "type": "number",
    },
    "numbers that collide": {"const": COLLIDING, "uniqueItems": True},
    "a number too large": {"const": 10**4000, "multipleOf": 3},
    "a pattern that backtracks": {"const": "a" * 5000 + "!", "pattern": "^(a+)+$"},
    "a pattern that backtracks on what is made": {
        "pattern": "^(a|a)*(a|a)*(a|a)*b$",
        "minLength": 3000,
        "type": "string",
    },
    "a pattern that goes on and on": {"const": "a" * 5000, "pattern": "^a*$"},
    "a pattern that looks ahead everywhere": {"const": "a" * 3000, "pattern": "(?=a*b)"},
    "a pattern that repeats repeats": {
        "type": "string",
        "pattern": "(((a{999999999}){999999999}){999999999})",
    },
    "a pattern that repeats nothing": {
        "type": "string",
        "pattern": "^((){999999999}){999999999}b$",
        "maxLength": 0,
    },
    "a pattern of groups": {"type": "string", "pattern": "(" * 5000 + ")" * 5000},
    "a pattern of brackets": {"type": "string", "pattern": "[" * 10**6},
    "a long pattern": {"type": "string", "pattern": "a?" * 3000 + "a" * 3000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_takes_a_moment_and_little_space(name: str) -> None:
    began_s = time.thread_time()
    try:
        size = len(json.dumps(instance_of(HOSTILE[name], WORDS)))
    except Unsatisfiable:
        size = 0
    assert time.thread_time() - began_s < CALL_S
    assert size < 10**6


TYPES = st.sampled_from("string integer number boolean null array object".split())
SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0, 2.5, "", "a", "apis", "b-2"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)
COUNTS = st.integers(0, 5)
BOUNDS = st.sampled_from([-7, -0.5, 0, 0.1, 1, 2, 3.5, 9, 100])
STEPS = st.sampled_from([0.1, 0.25, 0.5, 1, 2, 3, 1.5])
NAME = st.sampled_from("abcd")
PATTERNS = st.sampled_from(
    [
        "^[a-z]+$",
        r"\d{2,3}",
        "^(x|yz)*$",
        "^[^ab]{2}",
        r"^\w+@\w+\.org$",
        "^(?!a)",
        "^(?=.*2).{3,}",
        "s$",
        "^$",
        "-",
    ]
)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=4),
        "const": VALUES,
        "default": VALUES,
        "examples": st.lists(VALUES, max_size=2),
        "properties": st.dictionaries(NAME, inner, max_size=3),
        "required": st.lists(NAME, max_size=3, unique=True),
        "additionalProperties": inner,
        "propertyNames": st.fixed_dictionaries({"pattern": PATTERNS}),
        "items": inner,
        "prefixItems": some,
        "uniqueItems": st.booleans(),
        "pattern": PATTERNS,
        "format": st.sampled_from(["date", "date-time", "email", "uuid", "ipv4"]),
        "multipleOf": STEPS,
        "not": inner,
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), some),
        **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minProperties"), COUNTS),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), BOUNDS),
    }
    picks = st.lists(st.sampled_from([*keywords]), max_size=4, unique=True)
    return picks.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


REFERENCES = st.sampled_from([{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"$ref": "#"}])
SCHEMAS = st.recursive(
    st.booleans() | REFERENCES | st.builds(lambda kind: {"type": kind}, TYPES), schemas, max_leaves=8
)
DOCUMENTS = st.builds(
    lambda schema, a, b: {**schema, "$defs": {"a": a, "b": b}},
    SCHEMAS.filter(lambda s: s not in (True, False)),
    SCHEMAS,
    SCHEMAS,
)


@settings(max_examples=150)
@given(DOCUMENTS)
def test_whatever_the_schema_an_instance_is_valid_and_always_the_same(schema: Any) -> None:
    try:
        value = instance_of(schema, WORDS)
    except Unsatisfiable:
        return
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(value)
    assert json.dumps(instance_of(schema, WORDS)) == json.dumps(value)


JSON = st.recursive(
    SCALARS | st.sampled_from(["#", "string", "object", "(", 1e308, 10**30]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "type properties required additionalProperties enum const $ref anyOf oneOf allOf not items "
                "prefixItems additionalItems minItems uniqueItems minLength pattern format minimum "
                "multipleOf nullable default examples propertyNames minProperties".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(JSON, st.lists(st.text(max_size=50), max_size=3))
def test_whatever_comes_as_a_schema_nothing_else_is_raised(schema: Any, words: list[str]) -> None:
    with suppress(Unsatisfiable):
        json.dumps(instance_of(schema, words))
