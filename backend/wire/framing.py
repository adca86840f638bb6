"""HTTP/1.1 message framing, read strictly (RFC 9112): what two servers could read differently is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address

MAX_REQUEST_LINE = 8192
MAX_HEAD_BYTES = 32768
MAX_HEADERS = 100

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) (HTTP/1\.[01]\r\n)")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*\r\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00\r\n]*)?\r\n")


class BadFraming(ValueError):
    """The message's bounds are not certain; the connection cannot be used further."""


def check_head(request_line: bytes, lines: Sequence[bytes]) -> bytes:
    """The request line with its target in origin form, if the head has one reading; else BadFraming.
    `lines` are the raw header lines without the blank one at the end."""
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None:
        raise BadFraming("The request line is malformed")
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadFraming("A header line is malformed")
        fields.setdefault(field[1].lower(), []).append(field[2])
    hosts = fields.get(b"host", [])
    _check_host(request_line, hosts)
    _check_length(request_line, fields.get(b"content-length", []), fields.get(b"transfer-encoding", []))
    return b"%b %b %b" % (parts[1], _origin_form(parts[2], hosts), parts[3])


def _origin_form(target: bytes, hosts: Sequence[bytes]) -> bytes:
    """A target that names its server too, as proxies are sent (RFC 9112, 3.2.2), must name this one."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target
    if hosts and absolute[1].lower() != hosts[0].lower():
        raise BadFraming("The request target and the Host header name different servers")
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]


def _check_host(request_line: bytes, hosts: Sequence[bytes]) -> None:
    if len(hosts) > 1 or (not hosts and request_line.endswith(b"1.1\r\n")):
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


def _check_length(request_line: bytes, lengths: Sequence[bytes], encodings: Sequence[bytes]) -> None:
    if lengths and encodings:
        raise BadFraming("Content-Length and Transfer-Encoding exclude each other")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise BadFraming("Content-Length is one decimal number")
    if encodings and [encoding.lower() for encoding in encodings] != [b"chunked"]:
        raise BadFraming("The only Transfer-Encoding taken is chunked")
    if encodings and request_line.endswith(b"1.0\r\n"):
        raise BadFraming("HTTP/1.0 has no Transfer-Encoding")


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
