"""Text stays text: no token, id, name, path or header becomes a field, a header, a file or a log line."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.clients import ask, call, events, get, resume, text_of
from tests.conftest import StartServer
from tests.fakes.upstream import FakeUpstream, answer, chunk, end, event, finish, head, raw, status
from tests.server.test_framing import HOST, Answer, Wire, wired
from tests.server.test_parsing import refused, send
from tests.servers import ROOT, Server

pytestmark = pytest.mark.server

NASTY = [
    "\n", "\r", "\r\n", "\n\n", "\r\r", "\n\r\n", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c",
    "\x1d", "\x1e",
    "\ufeff", "\x7f", "\x1b[2J", " ", "  ", "\t", "\u3000", "data: x\n\n", "\nid: 9\n", "\nevent: evil\n\n",
    "\r\rdata: {\"done\": true}\r\r", "retry: 1\n", ": ping\n", "[DONE]", "\n\ndata: [DONE]\n\n", "\\n",
    "\\", '"', "'",
    "\\u000a", "</script>", "<!--", "{{7*7}}", "%0d%0a", "\u202e", "e\u0301", "\N{GRINNING FACE}",
    "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "\U0010ffff", "\ufffe", "\x80", "\u00ad",
]  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.lists(
    st.sampled_from(NASTY), max_size=8
).map("".join)


def echoing(text: str) -> str:
    """A message to which the built-in model says `x`, the text and `x`."""
    return f"[[demo echo]] x{text}x"


def asked(server: Server, message: str, **fields: Any) -> bytes:
    """The raw answer."""
    response = send(server, "POST /api/chat/stream", json.dumps({"message": message, **fields}).encode())
    assert response.status == 200, response.data
    return response.data


def assert_sound(stream: bytes, said: str) -> None:
    """One event a token, numbered 1, 2, 3 …, a closing one, and nothing but the text said."""
    read = events(stream)
    data = [json.loads(fields["data"]) for fields in read]
    assert all(set(fields) == {"id", "data"} for fields in read)
    assert [fields["id"].rpartition(":")[2] for fields in read] == [str(n) for n in range(1, len(read) + 1)]
    assert "".join(fields["token"] for fields in data[:-1]) == said
    assert data[-1]["full_response"] == said
    assert data[-1]["tokens"] == len(read) - 1
    assert all(said.startswith(fields["partial"]) for fields in data[:-1] if "partial" in fields)
    assert b"\r" not in stream


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.booleans())
@example("".join(NASTY), True)
@example("".join(NASTY), False)
def test_any_text_comes_through_unchanged_and_adds_no_field(server: Server, text: str, partial: bool) -> None:
    assert_sound(asked(server, echoing(text), partial=partial), f"x{text}x")


@pytest.mark.parametrize("text", NASTY, ids=repr)
def test_text_is_the_same_over_every_way_to_read_it(server: Server, text: str) -> None:
    said = f"x{text}x"
    following = ask(server, echoing(text), session_id="ways")
    assert text_of(following.all()) == said
    path = f"/api/chat/streams/{following.stream_id}"
    assert get(server, path, Accept="application/json")["text"] == said
    assert text_of(resume(server, following.stream_id).all()) == said
    assert get(server, "/api/chat/sessions/ways")["messages"][-1]["content"] == said
    assert get(server, "/api/chat/sessions/ways")["messages"][-2]["content"] == echoing(text)
    export = send(server, "GET /api/chat/sessions/ways/export")
    assert said in export.data.decode()
    assert call(server, "DELETE", "/api/chat/sessions/ways")[0] == 200


def test_resuming_after_any_number_gives_the_exact_rest_of_nasty_text(server: Server) -> None:
    following = ask(server, echoing("".join(NASTY)))
    whole = following.all()
    for after in range(len(whole)):
        assert resume(server, following.stream_id, after).all() == whole[after:]


def test_a_reset_carries_nasty_text_unchanged(server: Server) -> None:
    following = ask(server, echoing("".join(NASTY)))
    following.all()
    first = next(iter(resume(server, following.stream_id, 10**6)))
    assert first.data["partial"] == f"x{''.join(NASTY)}x"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """It answers as each test says."""
    with FakeUpstream() as upstream:
        yield upstream


def with_upstream(start_server: StartServer, upstream: FakeUpstream) -> Server:
    return start_server(
        OPENAI_BASE_URL=upstream.base_url, OPENAI_API_KEY="sk-test-0123456789", OPENAI_MODELS="fake"
    )


@pytest.mark.parametrize("piecewise", [None, 1], ids=["whole", "byte by byte"])
def test_every_token_of_an_upstream_is_one_event_whatever_is_in_it(
    start_server: StartServer, piecewise: int | None
) -> None:
    tokens = [*NASTY, "\0", "\x00\n", "x" * 5000]
    with FakeUpstream(answer(tokens), piecewise=piecewise) as upstream:
        server = with_upstream(start_server, upstream)
        stream = asked(server, "Hi", partial=False)
        assert_sound(stream, "".join(tokens))
        data = [json.loads(fields["data"]) for fields in events(stream)]
        assert [fields["token"] for fields in data[:-1]] == tokens


def test_an_upstreams_own_fields_and_events_go_no_further(
    share_server: StartServer, upstream: FakeUpstream
) -> None:
    noise = b"id: evil:99\nevent: evil\nretry: 1\n: data: evil\nevil: evil\n"
    upstream.scripts = [
        [head(), noise + chunk("a"), noise + chunk("b"), noise + finish("stop\r\nevil: evil"), end()]
    ]
    stream = asked(with_upstream(share_server, upstream), "Hi")
    assert_sound(stream, "ab")
    assert re.findall(rb"^(?!id: |data: |: |$).*$", stream, re.MULTILINE) == []
    assert b"evil:99" not in stream


@pytest.mark.parametrize(
    "halves",
    [["a\ud83d", "\ude00b"], ["\ud83d"], ["a", "\ude00"], ["\ude00\ud83d"]],
    ids=["a pair in two", "the first half", "the second half", "the wrong way round"],
)
def test_half_characters_of_an_upstream_end_in_a_sound_stream(
    share_server: StartServer, upstream: FakeUpstream, halves: list[str]
) -> None:
    upstream.scripts = [answer(halves)]
    server = with_upstream(share_server, upstream)
    stream = asked(server, "Hi", session_id="halves")
    last = json.loads(events(stream)[-1]["data"])
    assert last.get("done") or last["type"] == "upstream_error"
    assert get(server, "/api/chat/sessions/halves")["live_stream"] is None
    assert "Traceback" not in server.log


def test_an_upstreams_error_cannot_forge_an_event(start_server: StartServer) -> None:
    forged = 'x\n\ndata: {"done": true}\n\nid: 9\r\r'
    scripts = [
        status(500, {"error": {"message": forged}}),
        status(400, forged.encode(), content_type="text/plain"),
        [head(), chunk("a"), event({"error": {"message": forged, "code": forged}}), end()],
    ]
    with FakeUpstream(*scripts) as upstream:
        server = with_upstream(start_server, upstream)
        for _ in scripts:
            read = events(asked(server, "Hi"))
            assert json.loads(read[-1]["data"])["type"] == "upstream_error"
            assert not any("done" in json.loads(fields["data"]) for fields in read)


def test_an_upstreams_headers_go_no_further(share_server: StartServer, upstream: FakeUpstream) -> None:
    headers = {"Set-Cookie": "evil=1", "X-Stream-Id": "evil", "Access-Control-Allow-Origin": "*"}
    upstream.scripts = [[head(headers=headers), chunk("a"), finish(), raw(b""), end()]]
    following = ask(with_upstream(share_server, upstream), "Hi")
    assert following.stream_id != "evil"
    assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(following.response.headers)


def test_ids_the_server_makes_are_long_and_safe_everywhere(server: Server) -> None:
    following = ask(server, "[[demo echo]] Hi")
    session_id = following.response.headers["X-Session-Id"]
    _, made = call(server, "POST", "/api/chat/sessions", {})
    done = following.all()[-1].data
    for made_id in (following.stream_id, session_id, done["message_id"], made["session_id"]):
        assert re.fullmatch(r"[A-Za-z0-9_-]{22,64}", made_id)


@pytest.mark.parametrize(
    "session_id", ["../", "*", ":", "{}", "a\r\nSet-Cookie: b", "a\nb", "a\0b", "a/b", "a b"]
)
def test_a_session_id_that_could_be_more_than_an_id_is_400(server: Server, session_id: str) -> None:
    body = json.dumps({"message": "Hi", "session_id": session_id}).encode()
    refused(send(server, "POST /api/chat/stream", body), 400, "invalid_request")


def test_a_place_in_another_stream_is_400_and_an_unknown_stream_404(server: Server) -> None:
    one, other = (ask(server, "[[demo echo]] Hi").all()[0].id for _ in range(2))
    one_id = one.partition(":")[0]
    response = send(server, f"GET /api/chat/streams/{one_id}", **{"Last-Event-ID": other})
    assert "Last-Event-ID" in refused(response, 400, "invalid_request")
    unknown = send(server, f"GET /api/chat/streams/{'A' * 22}", **{"Last-Event-ID": f"{'A' * 22}:1"})
    refused(unknown, 404, "not_found")


TITLES = [
    *NASTY[:8],
    "<script>alert(1)</script>",
    '"; filename="evil.html',
    "\u202egpj.exe",
    "../../etc/passwd",
]


@pytest.mark.parametrize("title", TITLES, ids=repr)
def test_a_title_is_kept_as_it_is_and_reaches_no_header(server: Server, title: str) -> None:
    _, session = call(server, "POST", "/api/chat/sessions", {"title": f"x{title}", "system": title})
    path = f"/api/chat/sessions/{session['session_id']}"
    assert get(server, path)["title"] == f"x{title}"
    assert get(server, path)["system"] == title
    for kind, ending in (("markdown", "md"), ("json", "json")):
        export = send(server, f"GET {path}/export?format={kind}")
        name = f'attachment; filename="{session["session_id"]}.{ending}"'
        assert export.headers["Content-Disposition"] == name
        assert export.headers["X-Content-Type-Options"] == "nosniff"
        assert "html" not in export.headers["Content-Type"]


def peak_memory_mib(server: Server) -> int:
    status_lines = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status_lines)[0]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_message_cannot_make_the_built_in_model_take_memory(server: Server) -> None:
    before_mib = peak_memory_mib(server)
    closing = ask(server, "[[demo tokens=30000000 tps=0 echo]] x").all()[-1].data
    assert (closing["tokens"], closing["finish_reason"]) == (4096, "length")
    assert peak_memory_mib(server) - before_mib < 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_readers_that_do_not_read_take_no_memory_and_no_time_from_others(start_server: StartServer) -> None:
    server = start_server(DEMO_TOKENS_PER_SECOND="0", STORE_URL="memory://")
    stream_id = ask(server, "[[demo tokens=4000]] x").all()[0].id.partition(":")[0]
    before_mib = peak_memory_mib(server)
    with contextlib.ExitStack() as deaf:
        for _ in range(50):
            sock = deaf.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(f"GET /api/chat/streams/{stream_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert ask(server, "[[demo tokens=300]] y").all()[-1].data["done"]
        assert len(resume(server, stream_id).all()) == 4001
        assert peak_memory_mib(server) - before_mib < 60


def exchange(server: Server, request: bytes) -> Answer:
    with wired(server) as wire:
        wire.send(request)
        return wire.answer()


@pytest.mark.parametrize(
    "field",
    [
        b"X-Request-Id: a\r\n X-Evil: 1\r\n",
        b"X-Request-Id: a\rX-Evil: 1\r\n",
        b"X-Request-Id: a\nX-Evil: 1\r\n",
        b"X-Request-Id: a%0d%0aX-Evil:%201\r\n",
        b"X-Request-Id: a\\r\\nX-Evil: 1\r\n",
        "X-Request-Id: a\u560d\u560aX-Evil: 1\r\n".encode(),
        b"X-Request-Id: a\x85X-Evil: 1\r\n",
        b"Origin: http://a\x0bX-Evil: 1\r\n",
        b"Idempotency-Key: a\r\n\tX-Evil: 1\r\n",
    ],
)
def test_no_header_of_ours_is_made_from_a_clients(server: Server, field: bytes) -> None:
    for path in (b"/health", b"/nowhere", b"/api/chat/sessions"):
        answer = exchange(server, b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, HOST, field))
        assert answer.status < 500
        assert "X-Evil" not in answer.headers
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["X-Request-Id"])


@pytest.mark.parametrize("path", ["/%0d%0aX-Evil:%201", "/api/chat/sessions%0d%0aX-Evil:%201",
"/static/a%0d%0aX-Evil:%201",
                                  "/?a=%0d%0aX-Evil:%201", "//evil.example/%2e%2e", "/\\evil.example",
                                  "/%5cevil.example/",
                                  "//evil.example", "/api//status?x=%0d%0aX-Evil:%201",
                                  "/.//evil.example/", "/%2f%2fevil.example"])  # fmt: skip
def test_no_path_makes_a_header_or_sends_a_browser_elsewhere(server: Server, path: str) -> None:
    answer = exchange(server, b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST))
    assert answer.status < 500
    assert "X-Evil" not in answer.headers
    assert "Location" not in answer.headers


TRAVERSALS = [
    "/static/../backend/app.py", "/static/%2e%2e/backend/app.py", "/static/..%2fbackend/app.py",
    "/static/..%2Fbackend%2Fapp.py", "/static/%2e%2e%2fbackend%2fapp.py", "/static/..%5cbackend%5capp.py",
    "/static/..\\backend\\app.py", "/static/%252e%252e/backend/app.py", "/static/....//backend/app.py",
    "/static/js/../../backend/app.py", "/static/js/%2e%2e/%2e%2e/backend/app.py",
    "/static/./../backend/app.py",
    "/static//etc/passwd", "/static/%2fetc/passwd", "/static/%2f%2fetc/passwd",
    "/static/../../../../../../etc/passwd",
    "/static/index.html/../../backend/app.py", "/static/index.html%00.js", "/static/%00", "/static/..",
    "/static/../",
    "/static/.", "/static/js", "/static/js/", "/static/..%c0%af..%c0%afetc/passwd",
    "/static/file:///etc/passwd",
    "/static/~root", "/static/-", "/../backend/app.py", "/backend/app.py", "/static/../.env",
    "/static/../pyproject.toml",
    "/static/" + "../" * 500 + "etc/passwd", "/static/" + "a/" * 2000, "/static/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS, ids=lambda path: path[:40])
def test_no_path_leads_out_of_the_static_files(server: Server, path: str) -> None:
    assert (ROOT / "backend/app.py").exists()
    answer = exchange(server, b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST))
    assert answer.status == 404
    assert answer.json()["type"] == "not_found"


def test_the_static_files_themselves_are_there(server: Server) -> None:
    assert exchange(server, b"GET /static/index.html HTTP/1.1\r\n" + HOST + b"\r\n").status == 200


def test_an_error_does_not_repeat_what_was_sent_as_markup(server: Server) -> None:
    for door in ("GET /<script>alert(1)</script>", "GET /api/chat/streams/<script>", "GET /v1/<script>"):
        response = send(server, door.replace("<", "%3C").replace(">", "%3E"))
        assert b"<script" not in response.data
        assert response.headers["Content-Type"].startswith("application/json")
    named = send(server, "POST /api/chat/stream", b'{"message": "a", "<script>": 1}')
    assert named.headers["Content-Type"].startswith("application/json")


def test_nothing_a_client_sends_begins_a_line_of_the_log(server: Server) -> None:
    forged = b"2026-01-01T00:00:00.000+00:00 INFO forged: POST /api/admin 200"
    quoted = forged.replace(b" ", b"%20")
    requests = [
        b"GET /%%0a%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /%%0d%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /%%e2%%80%%a8%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /%%c2%%85%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /%%1b[2J%%1b]0;%b%%07 HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /health?%%0a%b HTTP/1.1\r\n%b\r\n" % (quoted, HOST),
        b"GET /health HTTP/1.1\r\n%bX-Request-Id: %b\r\n\r\n" % (HOST, forged),
        b"GET /api/status HTTP/1.1\r\nHost: %b\r\n\r\n" % forged,
        b"GET /api/status HTTP/1.1\r\n%bOrigin: %b\x85%b\r\n\r\n" % (HOST, forged, forged),
        b"GET /health\n%b HTTP/1.1\r\n\r\n" % forged,
        b"FORGED-%b /health HTTP/1.1\r\n%b\r\n" % (b"A" * 300, HOST),
        b"GET /health HTTP/1.1\r\n%b: a\n%b\r\n\r\n" % (forged, forged),
    ]
    for request in requests:
        wire = Wire(server.port)
        wire.send(request)
        wire.end()
        assert wire.answer().status < 500
        wire.close()
    call(server, "POST", "/api/chat/stream", {"message": "a", "model": f"\n{forged.decode()}"})
    log = server.log
    assert "\x1b" not in log
    for line in log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 [A-Z]+ [a-z.]+(\[\d+\])?: ", line), (
            line
        )
        assert not line.startswith("2026-01-01T00:00:00")
        assert len(line) < 600
