"""The files of the pages, as they come over the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import urllib3

from tests.conftest import StartServer
from tests.server.test_framing import HOST, wired
from tests.servers import ROOT, Server

pytestmark = pytest.mark.server

RUNTIMES = ("eventlet",)
"""Nothing of it waits for anything."""

APP = "js/app.js"


def get(server: Server, name: str = APP, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.pool.request(method, f"{server.url}/static/{name}", headers=named, decode_content=False)


def test_files_come_compressed_to_who_takes_that_and_the_pages_are_light(server: Server) -> None:
    static = ROOT / "static"
    whole = compressed = 0
    for path in [Path("index.html"), *(each.relative_to(static) for each in static.rglob("*.[jc]s*"))]:
        plain = get(server, str(path), Accept_Encoding="gzip;q=0")
        squeezed = get(server, str(path), Accept_Encoding="gzip, deflate, br")
        assert plain.data == gzip.decompress(squeezed.data) == (static / path).read_bytes()
        assert (plain.headers.get("Content-Encoding"), squeezed.headers["Content-Encoding"]) == (None, "gzip")
        assert plain.headers["ETag"] != squeezed.headers["ETag"]
        for response in (plain, squeezed):
            assert "Accept-Encoding" in response.headers["Vary"]
        whole += len(plain.data)
        compressed += len(squeezed.data)
    assert compressed < whole / 2


def test_the_pages_policy_and_the_status_name_the_hosts_of_images(start_server: StartServer) -> None:
    hosts = ["https://*.example.org:8443", "https://img.example.org"]
    server = start_server(IMAGE_HOSTS=", ".join(reversed(hosts)))
    policy = get(server).headers["Content-Security-Policy"]
    assert f"; img-src 'self' data: {' '.join(hosts)}; " in policy
    assert server.pool.request("GET", f"{server.url}/api/status").json()["image_hosts"] == hosts


def test_what_is_known_is_not_sent_again_compressed_or_not(server: Server) -> None:
    for encoding in ("identity", "gzip"):
        first = get(server, Accept_Encoding=encoding)
        again = get(server, Accept_Encoding=encoding, If_None_Match=first.headers["ETag"])
        assert (again.status, again.data) == (304, b"")
        assert get(server, method="HEAD", Accept_Encoding=encoding).headers["ETag"] == first.headers["ETag"]
        other = get(server, Accept_Encoding=encoding, If_None_Match='"another"')
        assert other.data == first.data


def test_a_part_of_a_file_is_a_part_of_it_as_it_is(server: Server) -> None:
    part = get(server, Accept_Encoding="gzip", Range="bytes=3-12")
    assert (part.status, part.headers.get("Content-Encoding")) == (206, None)
    assert part.data == (ROOT / "static" / APP).read_bytes()[3:13]


def test_a_file_has_one_tag_however_it_is_spelled(server: Server) -> None:
    """Else whoever spells it in many ways would fill the memory with as many compressed copies."""
    tag = get(server, Accept_Encoding="gzip").headers["ETag"]
    for spelling in (b"js/./app.js", b"css/../js/app.js", b"js//app.js", b"%6as/app.js", b"js/%2e/app.js"):
        with wired(server) as wire:
            wire.send(b"GET /static/%b HTTP/1.1\r\n%bAccept-Encoding: gzip\r\n\r\n" % (spelling, HOST))
            answer = wire.answer()
        assert answer.status in (301, 308, 404) or answer.headers["ETag"] == tag
