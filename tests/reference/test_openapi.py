from __future__ import annotations

import json
import re
from contextlib import nullcontext
from typing import Any

import jsonschema_rs
import pytest
import urllib3
from schemathesis.specs.openapi.definitions import OPENAPI_31

from backend.chat.errors import InvalidRequest
from backend.wire.body import Body
from backend.wire.completions import CompletionBounds, completion_request
from tests.clients import ask, call, events, get
from tests.reference.documents import Document, app, at, closed, every, served
from tests.servers import Server

FOR_PEOPLE = {"GET /", "GET /docs", "GET /usage", "GET /static/<path:name>"}
MESSAGES = [{"role": "user", "content": "Say hello"}]
SAID = ("[[demo tokens=3]] Say hello", "[[demo fail=2]] Say hello")


@pytest.fixture(scope="module")
def document() -> Document:
    return served("openapi", max_message_chars=300, max_answer_tokens=20, max_messages=7, max_choices=3)


def test_it_is_a_document_as_openapi_wants_it(document: Document) -> None:
    errors = [error.message for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(document)]
    assert errors == []


def test_every_reference_in_it_leads_somewhere(document: Document) -> None:
    for pointer in every(document, "$ref"):
        at(document, pointer)


def test_every_link_in_it_leads_to_an_operation(document: Document) -> None:
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    linked = {link["operationId"] for links in every(document, "links") for link in links.values()}
    assert linked <= set(names)
    assert len(set(names)) == len(names)


def test_it_tells_of_every_route_and_of_no_other(document: Document) -> None:
    told = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    there = {
        f"{method} {rule.rule}"
        for rule in app().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert told == {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route) for route in there - FOR_PEOPLE}


def test_every_part_of_a_path_is_a_parameter(document: Document) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            told = {row["name"] for row in operation.get("parameters", ()) if row["in"] == "path"}
            assert told == set(re.findall(r"{(\w+)}", path)), path


def test_limits_that_are_settings_are_told_as_they_are_set(document: Document) -> None:
    fields = document["components"]["schemas"]["ChatBody"]["properties"]
    assert fields["message"]["maxLength"] == 300
    assert [kind["maximum"] for kind in fields["max_tokens"]["anyOf"] if kind["type"] == "integer"] == [20]
    fields = document["components"]["schemas"]["CompletionBody"]["properties"]
    assert fields["messages"]["maxItems"] == 7
    assert fields["n"]["maximum"] == 3
    assert fields["max_tokens"]["maximum"] == fields["max_completion_tokens"]["maximum"] == 20


def test_a_parent_that_is_not_named_is_not_told_to_be_null(document: Document) -> None:
    """Clients that are made of the document would begin the conversation anew with every question."""
    parent = document["components"]["schemas"]["ChatBody"]["properties"]["parent_id"]
    assert "default" not in parent
    assert {"type": "null"} in parent["anyOf"]


@pytest.mark.parametrize(
    ("auth", "security"),
    [("off", []), ("optional", [{}, {"bearer": []}]), ("required", [{"bearer": []}])],
)
def test_who_must_sign_in_is_told_as_it_is_set(auth: str, security: list[Any]) -> None:
    assert served("openapi", auth=auth)["security"] == security


def test_every_schema_is_used(document: Document) -> None:
    used = {pointer.rpartition("/")[2] for pointer in every(document, "$ref")}
    assert set(document["components"]["schemas"]) - used == set()


@pytest.mark.server
@pytest.mark.parametrize("partial", [True, False])
def test_real_events_have_the_shapes_and_no_other_field(
    server: Server, document: Document, partial: bool
) -> None:
    shape = jsonschema_rs.Draft202012Validator(closed(document, "Token", "Done", "Broken"))
    for message in SAID:
        for event in ask(server, message, partial=partial):
            shape.validate(event.data)


@pytest.mark.server
def test_real_answers_have_the_shapes_and_no_other_field(server: Server, document: Document) -> None:
    def check(model: str, answer: Any) -> None:
        jsonschema_rs.Draft202012Validator(closed(document, model)).validate(answer)

    for message in SAID:
        following = ask(server, message, session_id="shapes")
        following.all()
        path = f"/api/chat/streams/{following.stream_id}"
        check("StreamState", get(server, path, Accept="application/json"))
        check("Stopped", call(server, "POST", f"{path}/stop")[1])
    check("Session", get(server, "/api/chat/sessions/shapes"))
    check("Session", get(server, "/api/chat/sessions/shapes?versions=all"))
    check("Session", get(server, "/api/chat/sessions/shapes/export?format=json&versions=all"))
    running = ask(server, "[[demo hang=1]] Say hello", session_id="live")
    check("Session", get(server, "/api/chat/sessions/live"))
    call(server, "POST", f"/api/chat/streams/{running.stream_id}/stop")
    check("Session", call(server, "POST", "/api/chat/sessions", {"title": "Shapes"})[1])
    check("SessionList", get(server, "/api/chat/sessions"))
    check("Deleted", call(server, "DELETE", "/api/chat/sessions/shapes")[1])
    check("Error", call(server, "GET", "/api/chat/sessions/shapes")[1])
    check("Health", get(server, "/health"))
    check("Ready", get(server, "/ready"))
    check("Status", get(server, "/api/status"))


@pytest.mark.parametrize(
    ("fields", "fine"),
    [
        ({"stream": True, "stream_options": {"include_usage": True}, "n": 3, "tools": []}, True),
        ({"stream_options": None, "api_key": None}, True),
        ({"stream_options": {}}, False),
        ({"stream": False, "stream_options": {}}, False),
        ({"stream": True, "stream_options": {"include_usage": 1}}, False),
        ({"messages": []}, False),
        ({"messages": [{"role": "user", "content": 1}]}, False),
        ({"messages": [{"content": "Hi"}]}, False),
        ({"messages": MESSAGES * 8}, False),
        ({"n": 4}, False),
        ({"max_completion_tokens": 21}, False),
        ({"max_tokens": 2.0, "top_p": 1}, True),
        ({"temperature": True}, False),
        ({"base_url": "http://127.0.0.1"}, False),
    ],
)
def test_the_schema_of_a_completion_takes_what_the_door_takes(
    document: Document, fields: dict[str, Any], fine: bool
) -> None:
    schemas = document["components"]["schemas"]
    shape = {**schemas["CompletionBody"], "components": {"schemas": schemas}}
    body = {"messages": MESSAGES, **fields}
    bounds = CompletionBounds(max_answer_tokens=20, max_messages=7, max_choices=3)
    assert jsonschema_rs.Draft202012Validator(shape).is_valid(body) is fine
    with nullcontext() if fine else pytest.raises(InvalidRequest):
        completion_request(Body(body, ""), None, bounds, runs_on=False)


@pytest.mark.server
def test_real_completions_have_the_shapes_and_no_other_field(server: Server, document: Document) -> None:
    def check(answer: Any, *models: str) -> None:
        jsonschema_rs.Draft202012Validator(closed(document, *models)).validate(answer)

    def complete(message: str, **fields: Any) -> urllib3.BaseHTTPResponse:
        body = {"messages": [{"role": "user", "content": message}], **fields}
        return server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body)

    for message in SAID:
        for options in ({}, {"stream_options": {"include_usage": True}}):
            *chunks, last = events(complete(message, stream=True, **options).data)
            for chunk in chunks:
                check(json.loads(chunk["data"]), "ChatCompletionChunk")
            if last["data"] != "[DONE]":
                check(json.loads(last["data"]), "OpenAIError")
    whole = complete(SAID[0])
    check(whole.json(), "ChatCompletion")
    path = f"/v1/chat/completions/{whole.headers['X-Stream-Id']}"
    check(get(server, path, Accept="application/json"), "ChatCompletion")
    check(complete(SAID[1]).json(), "OpenAIError")
    check(complete(SAID[0], n=0).json(), "OpenAIError")
    check(get(server, "/v1/models"), "ModelList")
    check(get(server, "/v1/models/demo"), "Model")
    *chunks, last = ask_short(server, SAID[1])
    for chunk in chunks:
        check(chunk, "PromptChunk")
    check(last, "PromptError")


def ask_short(server: Server, prompt: str) -> list[Any]:
    """The events of the short dialect that are JSON."""
    body = {"prompt": prompt, "stream": True}
    said = server.pool.request("POST", f"{server.url}/v1/chat/completions", json=body).data
    return [json.loads(event["data"]) for event in events(said) if event["data"] != "[DONE]"]


@pytest.mark.server
def test_a_real_reset_has_the_shape_and_no_other_field(server: Server, document: Document) -> None:
    following = ask(server, SAID[0])
    following.all()
    url = f"{server.url}/api/chat/streams/{following.stream_id}?after=1000"
    first, *_ = events(server.pool.request("GET", url).data)
    jsonschema_rs.Draft202012Validator(closed(document, "Reset")).validate(json.loads(first["data"]))
