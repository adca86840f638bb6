"""A JSON body has one reading or none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.chat.errors import InvalidJson, InvalidRequest
from backend.wire.body import read_body

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "inf" not in repr(value).lower())
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)

NOT_JSON = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "a word": b"hello",
    "an open brace": b"{",
    "two values": b'{"a": 1}{"a": 1}',
    "a trailing comma": b'{"a": 1,}',
    "a comment": b'{"a": 1} // one',
    "single quotes": b"{'a': 1}",
    "a bare name": b"{a: 1}",
    "a raw tab in a string": b'{"a": "\t"}',
    "a raw line feed in a string": b'{"a": "\n"}',
    "a raw NUL in a string": b'{"a": "\0"}',
    "a NUL after the end": b'{"a": 1}\0',
    "an unknown escape": b'{"a": "\\x41"}',
    "half an escape": b'{"a": "\\u00"}',
    "a no-break space": "\N{NO-BREAK SPACE}{}".encode(),
    "a leading zero": b'{"a": 01}',
    "a plus sign": b'{"a": +1}',
    "a hexadecimal number": b'{"a": 0x10}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "a number past a double": b'{"a": 1e999}',
    "a negative number past a double": b'{"a": -1e999}',
    "an integer past 64 bits": b'{"a": 18446744073709551616}',
    "a negative integer past 64 bits": b'{"a": -9223372036854775809}',
    "an integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a name given twice": b'{"a": 1, "a": 1}',
    "a name given twice inside": b'{"a": [{"b": 1, "b": 2}]}',
    "a name given twice in two spellings": b'{"a": 1, "\\u0061": 2}',
    "UTF-16 with a mark": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without one": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "a UTF-8 sequence cut short": b'{"a": "\xe2\x82"}',
    "an overlong NUL": b'{"a": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a code point past the last": b'{"a": "\xf4\x90\x80\x80"}',
    "half a surrogate pair": b'{"a": "\\ud83d"}',
    "the other half": b'{"a": "\\ude00"}',
    "a pair the wrong way round": b'{"a": "\\ude00\\ud83d"}',
    "half a surrogate pair in a name": b'{"\\ud83d": 1}',
    "1,000 levels": b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "200,000 levels of arrays": b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "200,000 levels never closed": b'{"a": ' + b"[" * 200_000,
    "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}

NO_OBJECT = [b"null", b"true", b"1", b"1.5", b'"text"', b"[]", b'[{"a": 1}]']


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_or_has_two_readings_is_refused_as_such(raw: bytes) -> None:
    with pytest.raises(InvalidJson):
        read_body(raw)


@pytest.mark.parametrize("raw", NO_OBJECT)
def test_json_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="object"):
        read_body(raw)


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"a": "\u0000"}',
        rb'{"a": "x\u0000y"}',
        rb'{"a": "\\\u0000"}',
        rb'{"\u0000": 1}',
        rb'{"a": [{"b": ["\u0000"]}]}',
    ],
)
def test_a_nul_anywhere_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        read_body(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'{"a": "\\u0000"}', r"\u0000"),
        (rb'{"a": "\\\\u0000"}', r"\\u0000"),
        (rb'{"a": "\ud83d\ude00"}', "\N{GRINNING FACE}"),
        (rb'{"a": "\u2028\r\n\u0085"}', "\u2028\r\n\u0085"),
        (b'{"a": "\x7f"}', "\x7f"),
        ('{"a": "\N{GRINNING FACE}"}'.encode(), "\N{GRINNING FACE}"),
    ],
)
def test_text_that_only_looks_dangerous_is_read_as_it_is(raw: bytes, text: str) -> None:
    assert read_body(raw).fields == {"a": text}


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b'{"a": 18446744073709551615}', 2**64 - 1),
        (b'{"a": -9223372036854775808}', -(2**63)),
        (b'{"a": 1e308}', 1e308),
        (b'{"a": 1E-999}', 0.0),
        (b'{"a": 1.0}', 1.0),
    ],
)
def test_the_largest_numbers_that_all_agree_on_are_read(raw: bytes, number: float) -> None:
    assert read_body(raw).fields == {"a": number}


def test_two_hundred_levels_are_read() -> None:
    depth = 199
    value = read_body(b'{"a": ' + b"[" * depth + b"]" * depth + b"}").fields["a"]
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@given(OBJECTS)
def test_every_object_json_can_say_is_read_as_it_is(fields: dict[str, Any]) -> None:
    assert read_body(json.dumps(fields).encode()).fields == fields


@given(OBJECTS, st.randoms())
def test_the_fingerprint_is_the_same_however_the_body_is_written(fields: dict[str, Any], random: Any) -> None:
    names = list(fields)
    random.shuffle(names)
    shuffled = {name: fields[name] for name in names}
    compact = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    spaced = json.dumps(shuffled, indent=2, ensure_ascii=True).encode()
    assert read_body(compact).fingerprint == read_body(spaced).fingerprint


@given(OBJECTS, OBJECTS)
def test_bodies_that_say_something_else_have_another_fingerprint(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    fingerprints = {read_body(json.dumps(fields).encode()).fingerprint for fields in (one, other)}
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a": 1}', b'{"a": "1"}'),
        (b'{"a": 1}', b'{"a": true}'),
        (b'{"a": 0}', b'{"a": false}'),
        (b'{"a": null}', b"{}"),
        (b'{"a": ["b", "c"]}', b'{"a": ["c", "b"]}'),
        (b'{"a": " b"}', b'{"a": "b"}'),
        ('{"a": "\u00e9"}'.encode(), '{"a": "e\u0301"}'.encode()),
    ],
)
def test_near_twins_have_different_fingerprints(one: bytes, other: bytes) -> None:
    assert read_body(one).fingerprint != read_body(other).fingerprint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_refused(raw: bytes) -> None:
    with suppress(InvalidJson, InvalidRequest):
        assert read_body(raw).fields == json.loads(raw)


JSONLIKE = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            '"',
            ":",
            ",",
            "\\",
            "u0000",
            "ud800",
            "1",
            "e9",
            "-",
            ".",
            "NaN",
            "a",
            " ",
            "null",
        ]
    ),
    max_size=25,
).map(lambda parts: "".join(parts).encode())


@given(JSONLIKE)
def test_anything_made_of_jsons_own_signs_is_a_body_or_refused(raw: bytes) -> None:
    for body in (raw, b'{"a":' + raw + b"}", b'{"a":"' + raw + b'"}'):
        with suppress(InvalidJson, InvalidRequest):
            assert isinstance(read_body(body).fields, dict)


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_a_refusal_is_a_short_sentence(raw: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_body(raw)
    assert len(caught.value.message) <= 150
    assert "Traceback" not in caught.value.message


def test_a_refusal_does_not_quote_the_body() -> None:
    with pytest.raises(InvalidJson) as caught:
        read_body(b'{"a": "sk-very-secret", "a": nonsense-sk-very-secret}')
    assert "secret" not in caught.value.message
