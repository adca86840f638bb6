"""A request has one reading: whatever another server could read differently is refused."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.wire.framing import BadFraming, read_chunks, read_head

LINE = b"POST /api/chat/stream HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1:5000\r\n"

GOOD_HEADS: dict[str, tuple[bytes, list[bytes]]] = {
    "a bare GET": (b"GET / HTTP/1.1\r\n", [HOST]),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n", []),
    "HTTP/1.0 with a length": (b"POST / HTTP/1.0\r\n", [b"Content-Length: 5\r\n"]),
    "a query": (b"GET /a?b=c&d=%0d%0a#e HTTP/1.1\r\n", [HOST]),
    "a length": (LINE, [HOST, b"Content-Length: 0\r\n"]),
    "chunks": (LINE, [HOST, b"Transfer-Encoding: chunked\r\n"]),
    "chunks in capitals": (LINE, [HOST, b"TRANSFER-ENCODING:CHUNKED\r\n"]),
    "blanks around a value": (LINE, [b"Host: \t127.0.0.1 \t\r\n"]),
    "an empty value": (LINE, [HOST, b"X-Empty:\r\n"]),
    "a value in UTF-8": (LINE, [HOST, "X-Name: Žluťoučký\r\n".encode()]),
    "a value with a colon": (LINE, [HOST, b"Referer: http://a.example/\r\n"]),
    "a name": (LINE, [b"Host: chat.example.org\r\n"]),
    "IPv6": (LINE, [b"Host: [::1]:5000\r\n"]),
    "an empty port": (LINE, [b"Host: 127.0.0.1:\r\n"]),
    "the same field twice": (LINE, [HOST, b"Accept: a\r\n", b"Accept: b\r\n"]),
}

BAD_LINES = {
    "nothing": b"\r\n",
    "a bare LF": b"GET / HTTP/1.1\n",
    "CR inside": b"GET /\r HTTP/1.1\r\n",
    "NUL inside": b"GET /\0 HTTP/1.1\r\n",
    "a tab for a space": b"GET\t/ HTTP/1.1\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n",
    "a space in front": b" GET / HTTP/1.1\r\n",
    "a space behind": b"GET / HTTP/1.1 \r\n",
    "no version": b"GET /\r\n",
    "no target": b"GET HTTP/1.1\r\n",
    "HTTP/2.0": b"PRI * HTTP/2.0\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n",
    "HTTP/1.10": b"GET / HTTP/1.10\r\n",
    "a version in lower case": b"GET / http/1.1\r\n",
    "another protocol": b"GET / ICY/1.1\r\n",
    "a method with a colon": b"GE:T / HTTP/1.1\r\n",
    "a target that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\r\n",
    "no line end": b"GET / HTTP/1.1",
}

BAD_FIELDS = {
    "a space before the colon": b"Content-Length : 5\r\n",
    "a tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "a folded line": b" folded\r\n",
    "a line folded by a tab": b"\tfolded\r\n",
    "no colon": b"Content-Length\r\n",
    "no name": b": 5\r\n",
    "a name in quotes": b'"Host": a\r\n',
    "a name that is not ASCII": "Ünicode: a\r\n".encode(),
    "a NUL in the name": b"X\0: a\r\n",
    "a NUL in the value": b"X: a\0b\r\n",
    "a CR in the value": b"X: a\rb\r\n",
    "a CR before the line end": b"X: a\r\r\n",
    "a bare LF": b"X: a\n",
    "no line end": b"X: a",
}

BAD_LENGTHS = {
    "a plus sign": [b"Content-Length: +5\r\n"],
    "a minus sign": [b"Content-Length: -5\r\n"],
    "an underscore": [b"Content-Length: 1_0\r\n"],
    "a hexadecimal length": [b"Content-Length: 0x5\r\n"],
    "a fraction": [b"Content-Length: 5.0\r\n"],
    "an empty length": [b"Content-Length:\r\n"],
    "a list": [b"Content-Length: 5, 5\r\n"],
    "a length in Arabic digits": ["Content-Length: ٥\r\n".encode()],
    "a length past all": [b"Content-Length: " + b"9" * 30 + b"\r\n"],
    "two lengths that agree": [b"Content-Length: 5\r\n", b"content-length: 5\r\n"],
    "two lengths that differ": [b"Content-Length: 5\r\n", b"Content-Length: 6\r\n"],
    "both lengths": [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"],
    "both lengths the other way": [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"],
    "xchunked": [b"Transfer-Encoding: xchunked\r\n"],
    "gzip, chunked": [b"Transfer-Encoding: gzip, chunked\r\n"],
    "chunked, chunked": [b"Transfer-Encoding: chunked, chunked\r\n"],
    "chunked, identity": [b"Transfer-Encoding: chunked, identity\r\n"],
    "identity": [b"Transfer-Encoding: identity\r\n"],
    "an empty encoding": [b"Transfer-Encoding:\r\n"],
    "chunked in quotes": [b'Transfer-Encoding: "chunked"\r\n'],
    "chunked with a parameter": [b"Transfer-Encoding: chunked;q=1\r\n"],
    "chunked behind a vertical tab": [b"Transfer-Encoding: \x0bchunked\r\n"],
    "two encodings": [b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n"],
    "gzip, then chunked": [b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"],
}

BAD_HOSTS = {
    "none": [],
    "two": [HOST, HOST],
    "two that differ": [HOST, b"host: evil.example\r\n"],
    "an empty one": [b"Host:\r\n"],
    "a slash": [b"Host: 127.0.0.1/a\r\n"],
    "a question mark": [b"Host: 127.0.0.1?a\r\n"],
    "a hash": [b"Host: 127.0.0.1#a\r\n"],
    "an at sign": [b"Host: a@127.0.0.1\r\n"],
    "a backslash": [b"Host: 127.0.0.1\\a\r\n"],
    "a percent sign": [b"Host: 127.0.0.1%00\r\n"],
    "a space": [b"Host: 127.0.0.1 evil.example\r\n"],
    "a comma": [b"Host: 127.0.0.1,evil.example\r\n"],
    "a word for a port": [b"Host: 127.0.0.1:http\r\n"],
    "two ports": [b"Host: 127.0.0.1:1:2\r\n"],
    "an open bracket": [b"Host: [::1\r\n"],
    "text behind the bracket": [b"Host: [::1]evil\r\n"],
    "IPv4 in brackets": [b"Host: [1.2.3.4]\r\n"],
    "only colons in brackets": [b"Host: [:::::]\r\n"],
    "a name that is not ASCII": ["Host: bücher.example\r\n".encode()],
}


@pytest.mark.parametrize(("line", "fields"), GOOD_HEADS.values(), ids=GOOD_HEADS)
def test_a_sound_head_passes(line: bytes, fields: list[bytes]) -> None:
    read_head(line, fields)


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadFraming):
        read_head(line, [HOST])


@pytest.mark.parametrize("field", BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_a_malformed_header_line_is_refused(field: bytes) -> None:
    with pytest.raises(BadFraming):
        read_head(LINE, [HOST, field])


@pytest.mark.parametrize("fields", BAD_LENGTHS.values(), ids=BAD_LENGTHS)
def test_a_length_with_two_readings_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(BadFraming):
        read_head(LINE, [HOST, *fields])


@pytest.mark.parametrize("fields", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_host_that_is_not_exactly_one_name_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(BadFraming):
        read_head(LINE, fields)


def test_http_1_0_may_not_send_chunks() -> None:
    with pytest.raises(BadFraming):
        read_head(b"POST / HTTP/1.0\r\n", [b"Transfer-Encoding: chunked\r\n"])


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        (b"/", b"/"),
        (b"/a?b=http://c/", b"/a?b=http://c/"),
        (b"http://127.0.0.1:5000/a?b", b"/a?b"),
        (b"http://127.0.0.1:5000", b"/"),
        (b"HTTP://127.0.0.1:5000/", b"/"),
        (b"http://127.0.0.1:5000?b", b"/?b"),
        (b"http://127.0.0.1:5000//evil.example/", b"//evil.example/"),
    ],
)
def test_a_target_that_names_this_server_too_is_read_as_its_path(target: bytes, origin_form: bytes) -> None:
    assert read_head(b"GET %b HTTP/1.1\r\n" % target, [HOST]).target == origin_form.decode()


@pytest.mark.parametrize(
    "target",
    [b"http://evil.example/", b"http://127.0.0.1/", b"http://127.0.0.1:5000@evil.example/", b"http:///a"],
)
def test_a_target_that_names_another_server_than_the_host_is_refused(target: bytes) -> None:
    with pytest.raises(BadFraming):
        read_head(b"GET %b HTTP/1.1\r\n" % target, [HOST])


FIELD_LINES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda name, gap, value, end: name + gap + value + end,
        st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"X", b"x_y", b"From ", b""]),
        st.sampled_from([b":", b": ", b" :", b"", b":\t"]),
        st.sampled_from([b"5", b"chunked", b"127.0.0.1", b"", b" ", b"=?utf-8?q?=0d?=", b"\x0b\x0c\x1c\x85"])
        | st.binary(max_size=10),
        st.sampled_from([b"\r\n", b"\n", b"\r", b""]),
    ),
)


@given(st.sampled_from([LINE, b"GET / HTTP/1.0\r\n"]) | st.binary(max_size=40), st.lists(FIELD_LINES))
@example(LINE, [HOST, b"X: a\x0b\x0c\x1c\x1d\x1e\x85Content-Length: 5\r\n"])
@example(LINE, [HOST, b"From : a\r\n"])
def test_what_passes_is_read_by_the_standard_library_as_the_same_fields(
    line: bytes, fields: list[bytes]
) -> None:
    try:
        head = read_head(line, fields)
    except BadFraming:
        return
    read = http.client.parse_headers(io.BytesIO(b"".join(fields) + b"\r\n"))
    names = [field.partition(b":")[0].decode() for field in fields]
    values = [field.partition(b":")[2].strip(b" \t\r\n").decode("latin-1") for field in fields]
    assert [name for name, _ in read.items()] == names
    assert [value.strip(" \t") for _, value in read.items()] == values
    for name, found in head.fields.items():
        assert [value.decode("latin-1") for value in found] == [
            value for other, value in zip(names, values, strict=True) if other.lower() == name.decode()
        ]


def chunks(raw: bytes) -> tuple[bytes, bytes]:
    """The body, and what is left behind it."""
    stream = io.BytesIO(raw)
    body = b"".join(read_chunks(stream.read, stream.readline))
    return body, stream.read()


BAD_CHUNKS = {
    "nothing": b"",
    "a plus sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus sign": b"-5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a blank in front": b" 5\r\nhello\r\n0\r\n\r\n",
    "a blank behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "an empty size": b"\r\nhello\r\n0\r\n\r\n",
    "no hexadecimal number": b"g\r\nhello\r\n0\r\n\r\n",
    "a size past 64 bits": b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "a bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "garbage behind the data": b"5\r\nhelloX\r\n0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "an LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "an endless extension": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "an end inside a chunk": b"5\r\nhel",
    "an end behind a chunk": b"5\r\nhello\r\n",
    "an end before the last line": b"5\r\nhello\r\n0\r\n",
    "a bare LF as the last line": b"5\r\nhello\r\n0\r\n\n",
    "a trailer without a colon": b"0\r\nnonsense\r\n\r\n",
    "a trailer with a blank before the colon": b"0\r\nX : a\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "an endless trailer line": b"0\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    "trailers without end": b"0\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
}


@pytest.mark.parametrize("raw", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_malformed_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(BadFraming):
        chunks(raw)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"00005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", b"0123456789x"),
        (b"a;name=value\r\n0123456789\r\n0;last\r\n\r\n", b"0123456789"),
        (b'5 ; quoted="a;b"\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other:\r\n\r\n", b"hello"),
    ],
)
def test_sound_chunks_are_joined(raw: bytes, body: bytes) -> None:
    assert chunks(raw) == (body, b"")


@given(st.lists(st.binary(min_size=1, max_size=50)), st.binary())
def test_a_body_is_read_exactly_to_its_end_however_it_is_cut(pieces: list[bytes], behind: bytes) -> None:
    raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    assert chunks(raw + b"0\r\n\r\n" + behind) == (b"".join(pieces), behind)


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1), st.data())
def test_a_body_that_ends_early_is_never_taken_for_whole(pieces: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    with pytest.raises(BadFraming):
        chunks(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b"5", b"0", b"\r", b"\n", b";", b"a"])).map(b"".join)
)
def test_any_bytes_are_chunks_or_refused(raw: bytes) -> None:
    try:
        body, behind = chunks(raw)
    except BadFraming:
        return
    assert len(body) + len(behind) < len(raw)


def test_a_large_chunk_comes_in_pieces_of_64_kib_at_most() -> None:
    stream = io.BytesIO(b"%x\r\n%b\r\n0\r\n\r\n" % (200_000, b"a" * 200_000))
    sizes = [len(piece) for piece in read_chunks(stream.read, stream.readline)]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 65_536
