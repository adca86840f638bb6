"""Whatever a body, a query or a key says, every JSON door answers with a sentence and never falls."""

from __future__ import annotations

import gzip
import json
import urllib.parse
from typing import Any

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients import ask
from tests.servers import Server
from tests.wire.test_body import NO_OBJECT, NOT_JSON

pytestmark = pytest.mark.server

RUNTIMES = ("eventlet",)
"""What a body says is read by the same code on each: test_framing tries on both what comes before that."""

CHAT = "POST /api/chat/stream"
CREATE = "POST /api/chat/sessions"
CHANGE = "PATCH /api/chat/sessions/kept"
PROMPT = "POST /v1/chat/completions"
API_DOORS = [CHAT, CREATE, CHANGE]
DOORS = [*API_DOORS, PROMPT]


@pytest.fixture(autouse=True, scope="module")
def _kept(server: Server) -> None:
    ask(server, "[[demo echo]] Hi", session_id="kept").all()


def send(server: Server, door: str, body: bytes = b"", **headers: str) -> urllib3.BaseHTTPResponse:
    """`door` is a method and a path; the path goes out exactly as it is."""
    method, path = door.split(" ", 1)
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.pool.connection_from_url(server.url).urlopen(
        method, path, body, given_headers, retries=False
    )


def refused(response: urllib3.BaseHTTPResponse, status: int, type_: str) -> str:
    """Check an error of `/api`, and give its sentence."""
    assert response.headers["Content-Type"].startswith("application/json"), response.data
    fields = response.json()
    assert (response.status, fields["code"], fields["type"]) == (status, status, type_), fields
    assert fields["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert 10 <= len(fields["error"]) <= 300
    assert "Traceback" not in fields["error"]
    return str(fields["error"])


def refused_prompt(response: urllib3.BaseHTTPResponse, status: int) -> str:
    """Check an error of the prompt dialect, and give its sentence."""
    assert response.status == status, response.data
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    line, rest = response.data.split(b"\n", 1)
    fields = json.loads(line.removeprefix(b"data: "))
    assert rest == b"\n"
    assert set(fields) == {"error", "code"}
    assert fields["code"] == status
    return str(fields["error"])


def test_a_session_may_be_made_without_a_body(server: Server) -> None:
    for nothing in (b"", b" \r\n"):
        assert send(server, CREATE, nothing).status == 201


@pytest.mark.parametrize(
    ("door", "raw"),
    [(door, raw) for door in API_DOORS for raw in NOT_JSON.values() if door != CREATE or raw.strip()],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_json_is_400(server: Server, door: str, raw: bytes) -> None:
    refused(send(server, door, raw), 400, "invalid_json")


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_400_in_the_prompt_dialects_words(server: Server, raw: bytes) -> None:
    assert refused_prompt(send(server, PROMPT, raw), 400) == "No JSON body provided"


@pytest.mark.parametrize("raw", NO_OBJECT)
@pytest.mark.parametrize("door", API_DOORS)
def test_json_that_is_no_object_is_400(server: Server, door: str, raw: bytes) -> None:
    assert "object" in refused(send(server, door, raw), 400, "invalid_request")


@pytest.mark.parametrize("raw", NO_OBJECT)
def test_json_that_is_no_object_is_no_body_in_the_prompt_dialect(server: Server, raw: bytes) -> None:
    assert refused_prompt(send(server, PROMPT, raw), 400) == "No JSON body provided"


@pytest.mark.parametrize(
    ("door", "raw"),
    [
        (CHAT, rb'{"message": "a\u0000b"}'),
        (CHAT, rb'{"message": "a", "session_id": "a\u0000b"}'),
        (CHAT, rb'{"message": "a", "system": "\u0000"}'),
        (CHAT, rb'{"message": "a", "model": "demo\u0000"}'),
        (CHAT, rb'{"message": "a", "\u0000": 1}'),
        (CREATE, rb'{"title": "\u0000"}'),
        (CHANGE, rb'{"system": "a\u0000"}'),
    ],
)
def test_a_nul_in_any_text_is_400(server: Server, door: str, raw: bytes) -> None:
    assert "NUL" in refused(send(server, door, raw), 400, "invalid_request")


def test_a_nul_in_a_prompt_is_400(server: Server) -> None:
    refused_prompt(send(server, PROMPT, rb'{"prompt": "a\u0000b", "stream": true}'), 400)


ODD: list[Any] = [None, True, 5, 1.5, "text", [], ["a"], {}, {"a": "b"}]


def wrong(*taken: Any) -> list[Any]:
    """Values of every kind but those a field takes."""
    return [value for value in ODD if not any(type(value) is type(kind) for kind in taken)]


WRONG_FIELDS: list[tuple[str, str, Any]] = [
    *[(CHAT, "message", value) for value in [*wrong(""), "", " ", "\r\n\t", "\u2003", "a" * 32_001]],
    *[
        (CHAT, "session_id", value)
        for value in [
            *wrong("", None), "", " ", "a b", "a" * 65, "../etc", "..", ".", "a/b", "*", ":", "{}", "a\n",
            "\na", "ä", "\u202e", "a\u0301", "%2e", "٣", "$(id)", "'; DROP TABLE sessions; --",
        ]
    ],
    *[(CHAT, "model", value) for value in [*wrong("", None), "", "m" * 201]],
    *[(CHAT, "system", value) for value in [*wrong("", None), "s" * 32_001]],
    *[(CHAT, "temperature", value) for value in [*wrong(5, 1.5, None), -0.1, 2.1, -1, 3, 1e308, "0.7"]],
    *[(CHAT, "max_tokens", value) for value in [*wrong(5, None), 0, -1, 1.5, 4097, 2**63, "5"]],
    *[(CHAT, "partial", value) for value in [*wrong(True), 0, 1, "true"]],
    *[(door, "title", value) for door in (CREATE, CHANGE) for value in [*wrong("", None), "", "t" * 201]],
    *[(door, "model", value) for door in (CREATE, CHANGE) for value in [*wrong("", None), "", "m" * 201]],
    *[(door, "system", value) for door in (CREATE, CHANGE) for value in [*wrong("", None), "s" * 32_001]],
]  # fmt: skip


@pytest.mark.parametrize(
    ("door", "name", "value"), WRONG_FIELDS, ids=[f"{d} {n} {v!r:.30}" for d, n, v in WRONG_FIELDS]
)
def test_a_field_of_the_wrong_kind_or_size_is_400_by_name(
    server: Server, door: str, name: str, value: Any
) -> None:
    fields = {"message": "Hi", name: value} if door == CHAT else {name: value}
    assert repr(name) in refused(send(server, door, json.dumps(fields).encode()), 400, "invalid_request")


UNKNOWN = [
    "Message", "message ", "messages", "stream", "owner", "session", "id", "created_at",
    "message_count", "role", "api_key", "api_base", "base_url", "__class__", "idempotency_key",
    "\u202emessage", "",
]  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("door", API_DOORS)
def test_an_unknown_field_is_400_by_name(server: Server, door: str, name: str) -> None:
    fields = {"message": "Hi", name: 1} if door == CHAT else {name: 1}
    sentence = refused(send(server, door, json.dumps(fields).encode()), 400, "invalid_request")
    assert sentence.startswith(f"Unknown field {name!r}")


def test_an_unknown_fields_name_is_not_echoed_at_length(server: Server) -> None:
    refused(
        send(server, CHAT, json.dumps({"message": "Hi", "x" * 500_000: 1}).encode()), 400, "invalid_request"
    )


def test_a_missing_message_is_400_by_name(server: Server) -> None:
    assert "'message'" in refused(send(server, CHAT, b"{}"), 400, "invalid_request")


@pytest.mark.parametrize("name", ["prompt", "model", "max_tokens", "temperature"])
@pytest.mark.parametrize("value", [True, [], {"a": 1}, -1])
def test_a_prompts_field_of_the_wrong_kind_is_400(server: Server, name: str, value: Any) -> None:
    fields = {"prompt": "Hi", "stream": True, name: value}
    refused_prompt(send(server, PROMPT, json.dumps(fields).encode()), 400)


def test_a_whole_number_may_be_written_with_a_point(server: Server) -> None:
    """JSON has one kind of number, and JSON Schema's integers are the whole ones."""
    for door, text in ((CHAT, "message"), (PROMPT, "prompt")):
        raw = b'{"%b": "Hi", "stream": true, "max_tokens": 2.0}' % text.encode()
        answer = send(server, door, raw.replace(b'"stream": true, ', b"") if door == CHAT else raw)
        assert answer.status == 200, answer.data


def test_the_longest_message_is_taken(server: Server) -> None:
    events = ask(server, "[[demo tokens=1]] " + "ä" * (32_000 - 18)).all()
    assert events[-1].data["finish_reason"] == "stop"


@pytest.mark.parametrize("door", [CHAT, CREATE, CHANGE])
def test_an_unknown_model_is_404(server: Server, door: str) -> None:
    fields = {"model": "no-such", **({"message": "Hi"} if door == CHAT else {})}
    refused(send(server, door, json.dumps(fields).encode()), 404, "model_not_found")


def test_nothing_is_left_of_a_refused_question(server: Server) -> None:
    for fields in ({"model": "no-such"}, {"temperature": 9}, {"nope": 1}):
        send(server, CHAT, json.dumps({"message": "Hi", "session_id": "never", **fields}).encode())
    refused(send(server, "GET /api/chat/sessions/never"), 404, "not_found")


TYPES = [
    "text/plain;charset=UTF-8", "text/plain", "application/x-www-form-urlencoded",
    "application/octet-stream", "application/json; charset=utf-16", "text/html", "nonsense", "/", ";",
    "", "a" * 5000, "application/json;;;=", "\xff/\xfe",
]  # fmt: skip


@pytest.mark.parametrize("content_type", TYPES, ids=lambda text: repr(text[:40]))
@pytest.mark.parametrize("door", DOORS)
def test_json_is_read_whatever_the_type_says(server: Server, door: str, content_type: str) -> None:
    body = {
        CHAT: b'{"message": "[[demo echo]] Hi"}',
        PROMPT: b'{"prompt": "[[demo echo]] Hi", "stream": true}',
    }.get(door, b'{"title": "Hi"}')
    response = send(server, door, body, Content_Type=content_type)
    assert response.status in (200, 201), response.data
    assert b"Hi" in response.data


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=a", "multipart/form-data", "MULTIPART/Mixed", " multipart/related ;a=b"],
)
@pytest.mark.parametrize("door", DOORS)
def test_multipart_bodies_are_415(server: Server, door: str, content_type: str) -> None:
    body = b'--a\r\nContent-Disposition: form-data; name="message"\r\n\r\nHi\r\n--a--\r\n'
    assert_media_refused(door, send(server, door, body, Content_Type=content_type))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "nonsense"])
@pytest.mark.parametrize("door", DOORS)
def test_compressed_bodies_are_415(server: Server, door: str, encoding: str) -> None:
    body = gzip.compress(b'{"message": "Hi"}')
    assert_media_refused(door, send(server, door, body, Content_Encoding=encoding))


@pytest.mark.parametrize("door", DOORS)
def test_a_compression_bomb_is_not_opened(server: Server, door: str) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    assert_media_refused(door, send(server, door, bomb, Content_Encoding="gzip"))


def test_a_body_said_to_be_as_it_is_is_read(server: Server) -> None:
    for encoding in ("identity", "Identity"):
        assert send(server, CREATE, b"{}", Content_Encoding=encoding).status == 201


def assert_media_refused(door: str, response: urllib3.BaseHTTPResponse) -> None:
    if door == PROMPT:
        assert response.status == 415
        assert response.json()["error"]["code"] == "unsupported_media_type"
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    else:
        refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("door", API_DOORS)
def test_a_body_over_the_cap_is_413(server: Server, door: str) -> None:
    assert "MAX_BODY_BYTES" in refused(send(server, door, b" " * 1_048_577), 413, "payload_too_large")


def test_a_prompt_over_the_cap_is_413_as_sdks_expect_it(server: Server) -> None:
    response = send(server, PROMPT, b" " * 1_048_577)
    assert response.status == 413
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


PATHS = [
    "/nowhere", "/api", "/api/", "/api/nowhere", "/api/chat", "/api/chat/", "/api/chat/stream/",
    "/api/chat/streams", "/api/chat/streams/", "/api/chat/sessions/", "/api//chat/stream",
    "/api/chat/sessions//", "/API/CHAT/STREAM", "/%", "/%zz", "/%00", "/api/chat/sessions/a/b/c",
    "/favicon.php", "/.env", "/.git/config", "/api/chat/stream%00", "/api/chat/stream;a=b", "/v1",
    "/v1beta", "/static", "/static/", "/wp-login.php",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_address_is_404_in_json(server: Server, method: str, path: str) -> None:
    response = send(server, f"{method} {path}", b"{}" if method == "POST" else b"")
    if response.status == 405:  # an address whose last part is missing may be one of another method
        refused(response, 405, "invalid_request")
    else:
        refused(response, 404, "not_found")


@pytest.mark.parametrize(
    ("door", "allowed"),
    [
        ("GET /api/chat/stream", {"POST"}),
        ("PUT /api/chat/stream", {"POST"}),
        ("PUT /api/chat/sessions", {"GET", "POST"}),
        ("DELETE /api/chat/sessions", {"GET", "POST"}),
        ("POST /api/chat/sessions/kept", {"GET", "PATCH", "DELETE"}),
        ("GET /api/chat/streams/none/stop", {"POST"}),
        ("POST /api/status", {"GET"}),
        ("TRACE /health", {"GET"}),
        ("NONSENSE /ready", {"GET"}),
        ("POST /", {"GET"}),
    ],
)
def test_a_wrong_method_is_405_and_told_the_right_ones(server: Server, door: str, allowed: set[str]) -> None:
    response = send(server, door)
    refused(response, 405, "invalid_request")
    assert allowed <= {method.strip() for method in response.headers["Allow"].split(",")}


def test_wrong_addresses_and_methods_under_v1_are_told_as_sdks_expect_it(server: Server) -> None:
    for door, status in (("GET /v1/nowhere", 404), ("DELETE /v1/chat/completions", 405)):
        response = send(server, door)
        assert response.status == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "path", ["/health", "/api/chat/stream", "/api/chat/sessions", "/v1/chat/completions"]
)
def test_options_name_the_methods(server: Server, path: str) -> None:
    response = send(server, f"OPTIONS {path}")
    assert response.status in (200, 204)
    assert "OPTIONS" in response.headers["Allow"]
    assert not response.data


ODD_IDS = [
    "*", ":", "{}", "..", ".", "...", "%2e%2e", "%2e%2e%2fsessions", "..%2f..%2fetc%2fpasswd", "%00",
    "a%00b", "%0d%0aX-Evil:%201", "%0a", "%ff%fe", "%ed%a0%80", "%e2%80%ae", "%F0%9F%98%80", "a" * 65,
    "a" * 5000, "'%20OR%201=1--", "%22", "%3Cscript%3E", "%25s", "$%7Bjndi:ldap:%7D", "null",
    "undefined", "-1", "0", "constructor", "__proto__",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda text: text[:30])
@pytest.mark.parametrize(
    "door",
    [
        "GET /api/chat/sessions/{}", "PATCH /api/chat/sessions/{}", "DELETE /api/chat/sessions/{}",
        "GET /api/chat/sessions/{}/export", "GET /api/chat/sessions/{}/export?format=json",
        "GET /api/chat/streams/{}", "POST /api/chat/streams/{}/stop",
    ],
)  # fmt: skip
def test_no_odd_id_in_a_path_is_anything_but_unknown(server: Server, door: str, odd: str) -> None:
    method, _, path = door.partition(" ")
    response = send(server, f"{method} {path.replace('{}', odd)}", b"{}" if method == "PATCH" else b"")
    refused(response, response.status, {400: "invalid_request", 404: "not_found"}[response.status])
    assert "X-Evil" not in response.headers


BAD_LIMITS = [
    "", "0", "-1", "201", "1.5", "1e2", "+5", "%205", "5%20", "0x10", "ten", "null", "%D9%A3",
    "%C2%B2", "9" * 30, "9" * 5000, "0000000019999", "1_0", "%00", "5%00", "true", "NaN",
]  # fmt: skip


@pytest.mark.parametrize("limit", BAD_LIMITS, ids=lambda text: text[:20] or "empty")
def test_a_limit_that_is_no_number_in_range_is_400_by_name(server: Server, limit: str) -> None:
    response = send(server, f"GET /api/chat/sessions?limit={limit}")
    assert "limit" in refused(response, 400, "invalid_request")


@pytest.mark.parametrize("limit", ["1", "50", "200"])
def test_limits_in_range_are_taken(server: Server, limit: str) -> None:
    listing = send(server, f"GET /api/chat/sessions?limit={limit}").json()
    assert listing == {"sessions": [], "next_cursor": None}


BAD_CURSORS = [
    "",
    "a",
    "====",
    "%00",
    "%ff",
    "no such",
    "bm9ibGFuaw==",
    "AAAA",
    "%F0%9F%98%80",
    "a" * 5000,
    "-1",
    "YSBiIGM=",
]


@pytest.mark.parametrize("cursor", BAD_CURSORS, ids=lambda text: text[:20] or "empty")
def test_a_made_up_cursor_is_400_by_name(server: Server, cursor: str) -> None:
    response = send(server, f"GET /api/chat/sessions?cursor={cursor}")
    assert "cursor" in refused(response, 400, "invalid_request")


def test_an_unknown_export_format_is_400(server: Server) -> None:
    for kind in ("", "pdf", "%00", "MARKDOWN%0d%0a", "a" * 5000):
        response = send(server, f"GET /api/chat/sessions/kept/export?format={kind}")
        assert "format" in refused(response, 400, "invalid_request")


@pytest.mark.parametrize(
    "value", ["-1", "x", "1.5", "1e3", "%00", "9" * 16, "9" * 5000, "%D9%A3", "+1", "other:1", "1%0a"]
)
@pytest.mark.parametrize("name", ["after", "Last-Event-ID"])
def test_a_place_that_is_no_number_of_this_stream_is_400_by_name(
    server: Server, name: str, value: str
) -> None:
    stream_id = ask(server, "[[demo echo]] Hi").all()[0].id.partition(":")[0]
    path = f"GET /api/chat/streams/{stream_id}"
    if name == "after":
        response = send(server, f"{path}?after={value}")
    else:
        text = urllib.parse.unquote(value, "latin-1").replace("\n", "\t!").replace("\0", "!")
        response = send(server, path, **{name: text})
    assert name in refused(response, 400, "invalid_request")


@pytest.mark.parametrize("value", ["9", "999999999", "9" * 15])
def test_a_place_past_the_end_is_a_reset(server: Server, value: str) -> None:
    stream_id = ask(server, "[[demo echo]] Hi").all()[0].id.partition(":")[0]
    for headers, query in (({}, f"?after={value}"), ({"Last-Event-ID": f"{stream_id}:{value}"}, "")):
        data = send(server, f"GET /api/chat/streams/{stream_id}{query}", **headers).data
        assert b'data: {"reset": true, "partial": "Hi", "count": 1}\n\n' in data


@pytest.mark.parametrize("value", ["", "yes", "2", "True%00", "a" * 5000])
def test_a_partial_that_is_neither_is_400_by_name(server: Server, value: str) -> None:
    stream_id = ask(server, "[[demo echo]] Hi").all()[0].id.partition(":")[0]
    response = send(server, f"GET /api/chat/streams/{stream_id}?partial={value}")
    assert "partial" in refused(response, 400, "invalid_request")


@pytest.mark.parametrize("key", ["", "k" * 256, "k" * 8000], ids=["empty", "256", "8000"])
def test_an_idempotency_key_out_of_bounds_is_400(server: Server, key: str) -> None:
    chat = send(server, CHAT, b'{"message": "Hi"}', Idempotency_Key=key)
    assert "Idempotency-Key" in refused(chat, 400, "invalid_request")
    prompt = send(server, PROMPT, b'{"prompt": "Hi", "stream": true}', Idempotency_Key=key)
    assert "Idempotency-Key" in refused_prompt(prompt, 400)


@pytest.mark.parametrize(
    "key",
    ["k", "long", "ключ", "\xe9", "a b", "'; --", "{}", "../x", "\x7f"],
    ids=lambda text: repr(text[:9]),
)
@pytest.mark.parametrize(
    ("door", "body"),
    [(CHAT, b'{"message": "%b"}'), (PROMPT, b'{"prompt": "%b", "stream": true}')],
    ids=["chat", "prompt"],
)
def test_any_other_key_joins_the_same_answer_and_refuses_another_body(
    server: Server, door: str, body: bytes, key: str
) -> None:
    sent = f"{key} {door}".ljust(255 if key == "long" else 0, "k").encode().decode("latin-1")
    first, again = (send(server, door, body % b"Hi", Idempotency_Key=sent) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert first.headers["X-Stream-Id"] == again.headers["X-Stream-Id"]
    assert first.data == again.data
    other = send(server, door, body % b"Ho", Idempotency_Key=sent)
    if door == PROMPT:
        refused_prompt(other, 422)
    else:
        refused(other, 422, "idempotency_mismatch")


def test_a_refused_body_does_not_use_up_its_key(server: Server) -> None:
    refused(send(server, CHAT, b'{"message": ""}', Idempotency_Key="again"), 400, "invalid_request")
    assert send(server, CHAT, b'{"message": "Hi"}', Idempotency_Key="again").status == 200


@pytest.mark.parametrize("given_id", ["a", "A.b_c-9", "x" * 64])
def test_a_callers_own_request_id_is_kept(server: Server, given_id: str) -> None:
    for door in ("GET /health", "GET /nowhere", "GET /", "POST /v1/chat/completions"):
        assert send(server, door, X_Request_Id=given_id).headers["X-Request-Id"] == given_id


@pytest.mark.parametrize("given_id", ["", "x" * 65, "a b", "a:b", "é", "<b>", "{}", '"', "../a", "a\x0bb"])
def test_a_request_id_that_is_none_is_replaced(server: Server, given_id: str) -> None:
    for door in ("GET /health", "GET /nowhere", "POST /v1/chat/completions"):
        made = send(server, door, X_Request_Id=given_id).headers["X-Request-Id"]
        assert made != given_id.strip()
        assert 0 < len(made) <= 64


def test_request_ids_differ(server: Server) -> None:
    assert len({send(server, "GET /health").headers["X-Request-Id"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": ";;q=x/,*/"},
        {"Accept": "application/json;q=nan, text/event-stream;q=1e999"},
        {"Accept": "*/*;q=" + "9" * 5000},
        {"Accept-Language": "\xff;q=-1,,,;"},
        {"Cookie": "\xff=\x01;;;==; a=" + "b" * 4000},
        {"Authorization": "Digest \xff,=,"},
        {"Authorization": "Basic ===="},
        {"If-None-Match": 'W/"\xff, "'},
        {"If-Modified-Since": "Thu, 99 Nul 99999 99:99:99 GMT"},
        {"Range": "bytes=99999999999999999999-"},
        {"Range": "bytes=5-1,-,0-0,,"},
        {"Range": "nonsense=\xff"},
        {"Cache-Control": "max-age=x,=,;"},
        {
            "X-Forwarded-For": "\xff, evil, 1.2.3.4.5",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "for=;;",
        },
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Content-Type": "text/plain", "Content-Disposition": "\xff"},
    ],
    ids=lambda headers: ", ".join(headers),
)
def test_no_header_makes_the_server_fall(server: Server, headers: dict[str, str]) -> None:
    for door in ("GET /health", "GET /", "GET /static/index.html", "GET /api/chat/streams/x", CREATE):
        response = send(server, door, b"{}" if door == CREATE else b"", **headers)
        assert response.status < 500
        if response.status >= 400:
            refused(response, response.status, response.json()["type"])


def test_a_huge_query_is_read_over(server: Server) -> None:
    assert send(server, "GET /api/chat/sessions?" + "a=1&" * 1900).status == 200
    assert send(server, "GET /api/chat/sessions?x=" + "%00" * 2500).status == 200
    assert send(server, "GET /health?" + "&" * 8000).status == 200


STRUCTURED = st.dictionaries(
    st.sampled_from(["message", "prompt", "stream", "session_id", "model", "title", "system", "max_tokens",
                     "temperature", "partial", "messages", "n"]) | st.text(max_size=3),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("demo"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
).map(lambda fields: json.dumps(fields).encode())  # fmt: skip
FUZZED = [
    *DOORS,
    "DELETE /api/chat/sessions/none",
    "POST /api/chat/streams/none/stop",
    "POST /health",
    "GET /",
]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(FUZZED), st.binary(max_size=100) | STRUCTURED)
def test_no_body_on_any_route_makes_the_server_fall(server: Server, door: str, body: bytes) -> None:
    response = send(server, door, body)
    assert response.status < 500, response.data
    assert b"Traceback" not in response.data
    assert response.headers["X-Request-Id"]


HEADER_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["/api/chat/sessions", "/api/chat/streams/", "/api/chat/sessions/", "/static/", "/"]),
    st.binary(max_size=12),
    st.dictionaries(
        st.sampled_from(["after", "limit", "cursor", "partial", "format", "x"]), st.binary(max_size=9)
    ),
    st.dictionaries(
        st.sampled_from(
            ["Accept", "Last-Event-ID", "X-Request-Id", "Authorization", "Cookie", "Range", "If-Match"]
        ),
        HEADER_TEXT,
    ),
)
def test_no_path_query_or_header_makes_the_server_fall(
    server: Server, base: str, tail: bytes, query: dict[str, bytes], headers: dict[str, str]
) -> None:
    path = base + urllib.parse.quote_from_bytes(tail) + "?" + urllib.parse.urlencode(query)
    response = send(server, f"GET {path}", **headers)
    assert response.status < 500, response.data
    if response.status >= 400:
        refused(response, response.status, response.json()["type"])


def test_a_file_under_a_condition_that_does_not_hold_is_refused_in_the_shape_of_all_errors(
    server: Server,
) -> None:
    refused(send(server, "GET /", **{"If-Match": '"another"'}), 412, "invalid_request")


def test_the_server_is_well_after_all_this(server: Server) -> None:
    assert send(server, "GET /health").json() == {"status": "healthy"}
    assert ask(server, "[[demo echo]] Hi").all()[-1].data["full_response"] == "Hi"
    assert "Traceback" not in server.log
    assert " ERROR " not in server.log
