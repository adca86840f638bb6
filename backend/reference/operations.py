"""What one operation of the HTTP API is: the rows of the document, and how a row is written in OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from backend.chat.errors import ParleyError, UpstreamError
from backend.reference.answers import Error
from backend.reference.completions import OpenAIError, PromptError
from backend.reference.schemas import Schema, ref
from backend.wire.errors import OPENAI_CODES, PASSED_ON

JSON = "application/json"
EVENTS = "text/event-stream"

HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After", "X-Should-Retry"), 503: ("Retry-After",)}

Refusals = Sequence[type[ParleyError]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to answer; `content` is a schema for each media type, `links` lead on from it."""

    says: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """`route` is spelled as the router has it, `POST /api/chat/streams/<stream_id>/stop`; `name` is what a
    generated client calls it. `refusals` come as JSON in the dialect of the route, `event_refusals` as
    events, which is how the short dialect has its own. `headers` come with
    every answer. `security` None: as everywhere."""

    route: str
    name: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    about: str = ""
    parameters: tuple[Schema, ...] = ()
    body: Schema | None = None
    body_required: bool = True
    refusals: Refusals = ()
    event_refusals: Refusals = ()
    headers: tuple[str, ...] = ()
    security: Sequence[Schema] | None = None

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0].lower()

    @property
    def path(self) -> str:
        return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", self.route.partition(" ")[2])


def json(model: type[BaseModel]) -> dict[str, Schema]:
    return {JSON: ref(model)}


def events(
    *models: type[BaseModel], identified: bool | None = True, end: str | None = None
) -> dict[str, Schema]:
    """An event stream: what each event is, its `data` as JSON of one of the models or the word `end`.
    `identified`: whether it has an `id`; None if it may have one."""
    kinds = [ref(model) for model in models]
    data: Schema = {"contentMediaType": JSON, "contentSchema": {"anyOf": kinds}}
    data = data if end is None else {"anyOf": [{"const": end}, data]}
    fields = {"data": {"type": "string", **data}}
    if identified is not False:
        fields = {"id": {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,64}:[0-9]+$"}, **fields}
    required = ["id", "data"] if identified else ["data"]
    return {EVENTS: {"type": "object", "required": required, "properties": fields}}


def written(row: Operation) -> Schema:
    """The row as an OpenAPI operation."""
    found: Schema = {"operationId": row.name, "tags": [row.tag], "summary": row.summary}
    if row.about:
        found["description"] = row.about
    if row.parameters:
        found["parameters"] = list(row.parameters)
    if row.body is not None:
        found["requestBody"] = {"required": row.body_required, "content": {JSON: {"schema": row.body}}}
    if row.security is not None:
        found["security"] = list(row.security)
    answers = {str(status): _answer(answer, row.headers) for status, answer in row.answers.items()}
    found["responses"] = {**answers, **_refusals(row)}
    return found


def _answer(answer: Answer, always: tuple[str, ...]) -> Schema:
    content = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    names = ("X-Request-Id", *answer.headers, *always)
    found: Schema = {
        "description": answer.says,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if content:
        found["content"] = content
    if answer.links:
        found["links"] = dict(answer.links)
    return found


def _refusals(row: Operation) -> dict[str, Schema]:
    """One response a status, saying which types of error come with it."""
    as_json, as_events = by_status(row.refusals), by_status(row.event_refusals)
    model = OpenAIError if row.path.startswith("/v1/") else Error
    if model is OpenAIError and UpstreamError in row.refusals:
        as_json |= {status: [*as_json.get(status, ()), UpstreamError] for status in PASSED_ON}
    found = {}
    for status in sorted({*as_json, *as_events}):
        content: dict[str, Schema] = {}
        if status in as_json:
            content[JSON] = _error(model, as_json[status])
        if status in as_events:
            content |= events(PromptError, identified=False)
        types = sorted({kind.type for kind in (*as_json.get(status, ()), *as_events.get(status, ()))})
        says = ", ".join(f"`{name}`" for name in types)
        found[str(status)] = _answer(Answer(says, content, HEADERS_OF.get(status, ())), row.headers)
    return found


def by_status(refusals: Iterable[type[ParleyError]]) -> dict[int, list[type[ParleyError]]]:
    def status(kind: type[ParleyError]) -> int:
        return kind.status

    return {code: list(kinds) for code, kinds in groupby(sorted(refusals, key=status), status)}


def _error(model: type[BaseModel], kinds: Refusals) -> Schema:
    """The error, with the types it may have here; an upstream has words of its own."""
    types = {kind.type for kind in kinds}
    if model is OpenAIError and UpstreamError in kinds:
        return {"allOf": [ref(model)]}
    narrowed: dict[str, Any] = {"type": {"enum": sorted(types)}}
    if model is OpenAIError:
        codes = {OPENAI_CODES[name][1] if name in OPENAI_CODES else name for name in types}
        narrowed = {"error": {"properties": {"code": {"enum": sorted(codes)}}}}
    return {"allOf": [ref(model), {"properties": narrowed}]}
