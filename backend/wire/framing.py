"""HTTP/1.1 message framing, read strictly (RFC 9112): what two servers could read differently is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

MAX_REQUEST_LINE = 8192
MAX_HEAD_BYTES = 32768
MAX_HEADERS = 100

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.([01])\r\n")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*\r\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00\r\n]*)?\r\n")


class BadFraming(ValueError):
    """The message's bounds are not certain; the connection cannot be used further."""

    status = 400


class LineTooLong(BadFraming):
    status = 414


class FieldsTooLarge(BadFraming):
    status = 431


class LastPiece(bytes):
    """A piece of an answer that is known to be its last, so that the answer's end can leave with it."""


class Head(NamedTuple):
    """A request's line and header fields: the target in origin form, the names in lower case with all
    values of each, and the length of the body, None if it comes in chunks."""

    method: str
    target: str
    minor_version: int
    fields: dict[bytes, list[bytes]]
    body_bytes: int | None

    def lists(self, name: bytes, word: str) -> bool:
        """Whether the comma list that the fields of this name make together has the word."""
        return name in self.fields and lists(b",".join(self.fields[name]).decode("latin-1"), word)


def lists(value: str, word: str) -> bool:
    """Whether a comma list has the word, in any case."""
    return word in [each.strip(" \t") for each in value.lower().split(",")]


def split_head(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The request line and the header lines of a head that ends with its blank line. Raises BadFraming."""
    request_line, *lines = raw.splitlines(keepends=True)
    if len(request_line) > MAX_REQUEST_LINE:
        raise LineTooLong(f"The path is over {MAX_REQUEST_LINE} bytes; shorten it")
    if len(raw) - len(request_line) - 2 > MAX_HEAD_BYTES or len(lines) - 1 > MAX_HEADERS:
        raise FieldsTooLarge(f"Headers may be {MAX_HEADERS}, of {MAX_HEAD_BYTES} bytes in all; send less")
    if not lines or lines.pop() != b"\r\n":
        raise BadFraming("A header line is malformed")
    return request_line, lines


def read_head(request_line: bytes, lines: Sequence[bytes]) -> Head:
    """The head, if it has one reading; else BadFraming. `lines` are the raw header lines without the
    blank one at the end."""
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None:
        raise BadFraming("The request line is malformed")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadFraming("A header line is malformed")
        fields.setdefault(field[1].lower(), []).append(field[2])
    minor_version, hosts = int(parts[3]), fields.get(b"host", [])
    _check_host(minor_version, hosts)
    lengths, encodings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    body_bytes = _body_bytes(minor_version, lengths, encodings)
    target = _origin_form(parts[2], hosts)
    return Head(parts[1].decode(), target.decode(), minor_version, fields, body_bytes)


def _origin_form(target: bytes, hosts: Sequence[bytes]) -> bytes:
    """A target that names its server too, as proxies are sent (RFC 9112, 3.2.2), must name this one."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target
    if hosts and absolute[1].lower() != hosts[0].lower():
        raise BadFraming("The request target and the Host header name different servers")
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]


def _check_host(minor_version: int, hosts: Sequence[bytes]) -> None:
    if len(hosts) > 1 or (not hosts and minor_version):
        raise BadFraming("A request has exactly one Host header")
    if not hosts:
        return
    host = _HOST.fullmatch(hosts[0])
    if host is None or (host[1] is not None and not _is_ipv6(host[1])):
        raise BadFraming("The Host header is malformed")


def _is_ipv6(address: bytes) -> bool:
    try:
        IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True


def _body_bytes(minor_version: int, lengths: Sequence[bytes], encodings: Sequence[bytes]) -> int | None:
    if lengths and encodings:
        raise BadFraming("Content-Length and Transfer-Encoding exclude each other")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise BadFraming("Content-Length is one decimal number")
    if encodings and [encoding.lower() for encoding in encodings] != [b"chunked"]:
        raise BadFraming("The only Transfer-Encoding taken is chunked")
    if encodings and not minor_version:
        raise BadFraming("HTTP/1.0 has no Transfer-Encoding")
    if encodings:
        return None
    return int(lengths[0]) if lengths else 0


def read_chunks(read: Callable[[int], bytes], readline: Callable[[int], bytes]) -> Iterator[bytes]:
    """The pieces of a chunked body, at most 64 KiB each, to its end. Raises BadFraming."""
    while size := _chunk_size(readline(1024)):
        while size:
            piece = read(min(size, 65536))
            if not piece:
                raise BadFraming("The body ended inside a chunk")
            size -= len(piece)
            yield piece
        if read(2) != b"\r\n":
            raise BadFraming("A chunk is longer than its size")
    for _ in range(64):
        trailer = readline(1024)
        if trailer == b"\r\n":
            return
        if not _FIELD.fullmatch(trailer):
            break
    raise BadFraming("The body's trailer is malformed")


def _chunk_size(line: bytes) -> int:
    size = _CHUNK_SIZE.fullmatch(line)
    if size is None:
        raise BadFraming("A chunk size is malformed")
    return int(size[1], 16)
