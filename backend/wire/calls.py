"""What a job is asked for: its making, its calls, its end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from backend.chat.requests import ChatRequest, JobCall
from backend.wire.body import NO_NUL, Body
from backend.wire.chat import Strict, parse
from backend.wire.completions import CompletionBounds, completion_request, completion_schema, of_kind, wrong

MAX_NAME_CHARS = 255
OURS = ("model_group", "purpose", "call_metadata")
"""What a call says to us besides what it says to the model."""
OF_THE_JOB = ("team_id", "user_id", "job_type", "metadata")


NAME_OR_NULL: dict[str, Any] = {"type": ["string", "null"], "maxLength": MAX_NAME_CHARS, "pattern": NO_NUL}


class JobBody(Strict):
    """A job to be."""

    job_type: str = Field(min_length=1, max_length=MAX_NAME_CHARS, pattern=NO_NUL)
    """What kind of operation it is; usage is told by it."""
    team_id: str | None = Field(default=None, pattern=NO_NUL)
    """If it is given, it must be the key's."""
    user_id: str | None = Field(default=None, max_length=MAX_NAME_CHARS, pattern=NO_NUL)
    """For whom it is done."""
    metadata: dict[str, Any] | None = None
    """Yours; it is given back as it is."""


class EndBody(Strict):
    """How a job ended."""

    status: Literal["completed", "failed"] | None = None
    """`completed`, unless it is said; a failed job is not charged, and its calls that run are stopped."""
    metadata: dict[str, Any] | None = None
    """Merged into the job's."""
    error_message: str | None = Field(default=None, max_length=4000, pattern=NO_NUL)


class MetadataBody(Strict):
    metadata: dict[str, Any]
    """Merged into the job's, name by name."""


def call_schema(anything: dict[str, Any], bounds: CompletionBounds) -> dict[str, Any]:
    """What `call_request` takes, as a JSON schema."""
    schema = completion_schema(anything, bounds)
    name = {"type": "string", "minLength": 1, "pattern": NO_NUL}
    schema["properties"] |= {
        "model": {**name, "description": "A name from `/v1/models`; or give a `model_group`."},
        "model_group": {**name, "description": "The name of a group, or of a model."},
        "purpose": {**NAME_OR_NULL, "description": "What the call is for; the bill tells it."},
        "call_metadata": {
            "type": ["object", "null"],
            "description": "Yours; it is kept with the call.",
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": anything,
        },
        "stream": {"type": "null", "description": "The route says it."},
        "stream_options": {**schema["properties"]["stream_options"], "description": "Where it streams."},
    }
    del schema["anyOf"]
    schema["description"] = "A call of a model, in the terms of OpenAI's chat completions."
    schema["oneOf"] = [{"required": ["model_group"]}, {"required": ["model"]}]
    schema["propertyNames"] = {"pattern": NO_NUL}
    return schema


def whole_job_schema(anything: dict[str, Any], bounds: CompletionBounds) -> dict[str, Any]:
    """What `whole_job_request` takes, as a JSON schema."""
    schema = call_schema(anything, bounds)
    schema["description"] = "A job, and the one call that it has."
    schema["required"] = [*schema["required"], "job_type"]
    schema["properties"] |= {
        "job_type": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": NO_NUL},
        "team_id": {
            "type": ["string", "null"],
            "pattern": NO_NUL,
            "description": "If it is given, it must be the key's.",
        },
        "user_id": NAME_OR_NULL,
        "metadata": {**schema["properties"]["call_metadata"], "description": "The job's."},
        "stream_options": {"type": "null"},
    }
    return schema


def call_request(
    body: Body, job_id: str, key: str | None, bounds: CompletionBounds, *, streaming: bool, runs_on: bool
) -> ChatRequest:
    """A call of a job. Raises InvalidRequest."""
    call = JobCall(
        job_id, of_kind(body.fields, "purpose", str), _metadata(body.fields, "call_metadata") or {}
    )
    _check_purpose(call)
    return _asked(body, job_id, key, bounds, call, streaming=streaming, runs_on=runs_on)


def whole_job_request(body: Body, key: str | None, bounds: CompletionBounds) -> tuple[JobBody, ChatRequest]:
    """A job, and the one call that it has. Raises InvalidRequest."""
    fields = body.fields
    job = parse(JobBody, Body({name: fields[name] for name in OF_THE_JOB if name in fields}, ""))
    purpose, said = of_kind(fields, "purpose", str), _metadata(fields, "call_metadata") or {}
    call = JobCall(None, purpose, said, job.job_type, job.user_id, job.metadata or {})
    _check_purpose(call)
    rest = {name: value for name, value in fields.items() if name not in OF_THE_JOB}
    asked = _asked(
        Body(rest, body.fingerprint), "", key, bounds, call, streaming=False, runs_on=key is not None
    )
    return job, asked


def _asked(
    body: Body,
    place: str,
    key: str | None,
    bounds: CompletionBounds,
    call: JobCall,
    *,
    streaming: bool,
    runs_on: bool,
) -> ChatRequest:
    fields = {name: value for name, value in body.fields.items() if name not in OURS and value is not None}
    fields["model"] = _model_of(body.fields)
    if of_kind(fields, "stream", bool) not in (None, streaming):
        where = "llm-call-stream streams" if streaming else "llm-call answers whole"
        raise wrong("stream", f"stream does not fit: {where}; leave it out")
    fields["stream"] = streaming
    if "messages" not in fields:
        raise wrong("messages", "messages are missing; send one at least")
    fingerprint = hashlib.sha256(f"{place} {body.fingerprint}".encode()).hexdigest()
    return completion_request(Body(fields, fingerprint), key, bounds, runs_on=runs_on, call=call)


def _model_of(fields: Mapping[str, Any]) -> str:
    named = [fields[name] for name in ("model_group", "model") if fields.get(name) is not None]
    if len(named) != 1 or not isinstance(named[0], str) or not named[0]:
        raise wrong("model_group", "Name one model_group, or one model")
    return named[0]


def _metadata(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = of_kind(dict(fields), name, dict)
    return found


def _check_purpose(call: JobCall) -> None:
    if call.purpose is not None and len(call.purpose) > MAX_NAME_CHARS:
        raise wrong("purpose", f"purpose is over {MAX_NAME_CHARS} characters; shorten it")
