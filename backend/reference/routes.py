"""The table of HTTP operations. A test holds it against the router, both ways."""

from __future__ import annotations

from backend.chat.errors import (
    Forbidden,
    IdempotencyMismatch,
    InsufficientCredits,
    Internal,
    Interrupted,
    InvalidJson,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    SessionBusy,
    StreamExpired,
    TooSlow,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
)
from backend.reference import parameters as given
from backend.reference.answers import (
    Broken,
    Deleted,
    Done,
    Health,
    Ready,
    Reset,
    Session,
    SessionList,
    Status,
    Stopped,
    StreamState,
    Token,
)
from backend.reference.completions import (
    ChatCompletion,
    ChatCompletionChunk,
    Model,
    ModelList,
    OpenAIError,
    PromptChunk,
    PromptError,
)
from backend.reference.job_routes import jobs, managing
from backend.reference.operations import JSON, Answer, Operation, Refusals, events, json
from backend.reference.schemas import COMPLETION_BODY, PROMPT_BODY, Schema, ref
from backend.wire.chat import ChatBody, SessionBody

ANYWHERE: Refusals = (Forbidden, Internal)
GUARDED: Refusals = (*ANYWHERE, Unauthorized, RateLimited, Unavailable)
READING_A_BODY: Refusals = (InvalidJson, InvalidRequest, TooSlow, PayloadTooLarge, UnsupportedMediaType)
STREAM_HEADERS = ("X-Stream-Id", "X-Session-Id", "X-Question-Id")
ROUTE_HEADERS = ("X-Stream-Id", "X-Upstream", "X-Upstream-Tried")
BUDGET_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
PUBLIC: tuple[Schema, ...] = ({},)


def link(operation: str, about: str, **parameters: str) -> Schema:
    """From this answer one can go on to that operation, with values taken from it."""
    return {"operationId": operation, "description": about, "parameters": parameters}


FROM_AN_ANSWER = {
    "resume": link("resumeStream", "Go on reading it", stream_id="$response.header.X-Stream-Id"),
    "stop": link("stopStream", "End it", stream_id="$response.header.X-Stream-Id"),
    "session": link("readSession", "Read the session", session_id="$response.header.X-Session-Id"),
}
FROM_A_COMPLETION = {
    "resume": link("resumeCompletion", "Go on reading it", stream_id="$response.header.X-Stream-Id"),
    "stop": FROM_AN_ANSWER["stop"],
}
FROM_A_SESSION = {
    name: link(operation, about, session_id="$response.body#/session_id")
    for name, operation, about in (
        ("read", "readSession", "Read it"),
        ("change", "changeSession", "Change it"),
        ("delete", "deleteSession", "Delete it"),
        ("export", "exportSession", "Take it home"),
    )
}


def chat() -> tuple[Operation, ...]:
    answering = events(Token, Done, Broken)
    return (
        Operation(
            "POST /api/chat/stream",
            "askQuestion",
            "chat",
            "Ask",
            about="The answer outlives the connection: whoever loses the line comes back with the last id. A "
            "stream that ends with neither `done` nor `error` was cut. Lines that begin with a colon are "
            "comments; silence is filled with them.",
            parameters=(given.IDEMPOTENCY_KEY,),
            body=ref(ChatBody),
            answers={
                200: Answer(
                    "The answer, one event a piece of text", answering, STREAM_HEADERS, FROM_AN_ANSWER
                )
            },
            headers=BUDGET_HEADERS,
            refusals=(
                *GUARDED,
                *READING_A_BODY,
                InsufficientCredits,
                NotFound,
                ModelNotFound,
                SessionBusy,
                IdempotencyMismatch,
                Unavailable,
            ),
        ),
        Operation(
            "GET /api/chat/streams/<stream_id>",
            "resumeStream",
            "chat",
            "Come back",
            about="What was missed, then live to the end. With `Accept: application/json` its state instead.",
            parameters=(given.STREAM_ID, given.LAST_EVENT_ID, given.AFTER, given.PARTIAL),
            answers={
                200: Answer(
                    "The rest of the answer, or its state",
                    {**events(Token, Done, Broken, Reset), JSON: ref(StreamState)},
                ),
                204: Answer("There is nothing after the last event"),
            },
            refusals=(*GUARDED, InvalidRequest, NotFound, StreamExpired, Unavailable),
        ),
        Operation(
            "POST /api/chat/streams/<stream_id>/stop",
            "stopStream",
            "chat",
            "Stop an answer",
            about="What there is of it is kept. Asking again gives the same answer.",
            parameters=(given.STREAM_ID,),
            answers={200: Answer("What it came to", json(Stopped))},
            refusals=(*GUARDED, NotFound, StreamExpired, Unavailable),
        ),
    )


def sessions() -> tuple[Operation, ...]:
    one = (given.SESSION_ID_IN_PATH,)
    unknown: Refusals = (*GUARDED, NotFound, Unavailable)
    return (
        Operation(
            "POST /api/chat/sessions",
            "createSession",
            "sessions",
            "Make a session",
            body=ref(SessionBody),
            body_required=False,
            answers={201: Answer("The session", json(Session), links=FROM_A_SESSION)},
            refusals=(*GUARDED, *READING_A_BODY, ModelNotFound, Unavailable),
        ),
        Operation(
            "GET /api/chat/sessions",
            "listSessions",
            "sessions",
            "List one's sessions",
            about="An anonymous caller has none here: keep the ids.",
            parameters=(given.LIMIT, given.CURSOR),
            answers={200: Answer("A page of them", json(SessionList))},
            refusals=(*GUARDED, InvalidRequest, Unavailable),
        ),
        Operation(
            "GET /api/chat/sessions/<session_id>",
            "readSession",
            "sessions",
            "Read a session",
            parameters=(*one, given.VERSIONS),
            answers={200: Answer("The session with its messages", json(Session))},
            refusals=(*unknown, InvalidRequest),
        ),
        Operation(
            "PATCH /api/chat/sessions/<session_id>",
            "changeSession",
            "sessions",
            "Change a session",
            parameters=one,
            body=ref(SessionBody),
            answers={200: Answer("The session", json(Session))},
            refusals=(*unknown, *READING_A_BODY, ModelNotFound),
        ),
        Operation(
            "DELETE /api/chat/sessions/<session_id>",
            "deleteSession",
            "sessions",
            "Delete a session",
            about="Stops what is running in it.",
            parameters=one,
            answers={200: Answer("It is gone", json(Deleted))},
            refusals=unknown,
        ),
        Operation(
            "GET /api/chat/sessions/<session_id>/export",
            "exportSession",
            "sessions",
            "Download a session",
            parameters=(*one, given.FORMAT, given.VERSIONS),
            answers={
                200: Answer(
                    "A file",
                    {"text/markdown": {"type": "string"}, JSON: ref(Session)},
                    ("Content-Disposition",),
                )
            },
            refusals=(*unknown, InvalidRequest),
        ),
    )


def completions() -> tuple[Operation, ...]:
    answering = events(
        ChatCompletionChunk, PromptChunk, OpenAIError, PromptError, identified=None, end="[DONE]"
    )
    rest = events(ChatCompletionChunk, OpenAIError, end="[DONE]")
    broken: Refusals = (UpstreamError, UpstreamTimeout, Interrupted, Internal)
    return (
        Operation(
            "POST /v1/chat/completions",
            "complete",
            "completions",
            "Ask as OpenAI's SDKs do, or in the short dialect",
            about="With `messages` it is OpenAI's chat completions: the whole answer, or with `stream` "
            "chunks and `[DONE]`. Such an answer ends when its client leaves, unless there is "
            "`X-Stream-Resume` or an `Idempotency-Key`. With `prompt` it is the short dialect: chunks of "
            "text and `[DONE]`; refusals are events, too. After an error there is no `[DONE]`.",
            parameters=(given.IDEMPOTENCY_KEY, given.STREAM_RESUME),
            body={"anyOf": [COMPLETION_BODY, PROMPT_BODY]},
            answers={
                200: Answer(
                    "The answer", {JSON: ref(ChatCompletion), **answering}, ROUTE_HEADERS, FROM_A_COMPLETION
                )
            },
            headers=BUDGET_HEADERS,
            refusals=(
                *GUARDED,
                *READING_A_BODY,
                InsufficientCredits,
                ModelNotFound,
                IdempotencyMismatch,
                *broken,
            ),
            event_refusals=(
                InvalidJson,
                InvalidRequest,
                InsufficientCredits,
                ModelNotFound,
                IdempotencyMismatch,
                UpstreamError,
                Unavailable,
                Internal,
            ),
        ),
        Operation(
            "GET /v1/chat/completions/<stream_id>",
            "resumeCompletion",
            "completions",
            "Come back to a completion",
            about="The chunks that were missed, then live to the end. With `Accept: application/json`, and "
            "without a place to go on from, the whole answer once it is there.",
            parameters=(given.COMPLETION_ID, given.LAST_EVENT_ID, given.AFTER),
            answers={
                200: Answer(
                    "The rest of the answer, or the whole", {JSON: ref(ChatCompletion), **rest}, ROUTE_HEADERS
                ),
                204: Answer("There is nothing after the last event"),
            },
            refusals=(*GUARDED, InvalidRequest, NotFound, StreamExpired, *broken),
        ),
        Operation(
            "GET /v1/models",
            "listModels",
            "completions",
            "List the models",
            answers={200: Answer("All of them, and the groups", json(ModelList))},
            refusals=GUARDED,
        ),
        Operation(
            "GET /v1/models/<path:name>",
            "readModel",
            "completions",
            "Read a model",
            parameters=(given.MODEL_NAME,),
            answers={200: Answer("The model", json(Model))},
            refusals=(*GUARDED, NotFound, ModelNotFound),
        ),
    )


def running() -> tuple[Operation, ...]:
    return (
        Operation(
            "GET /health",
            "health",
            "running it",
            "Is it alive",
            answers={200: Answer("The process answers", json(Health))},
            refusals=(Internal,),
            security=PUBLIC,
        ),
        Operation(
            "GET /ready",
            "ready",
            "running it",
            "Can it serve",
            answers={200: Answer("It can", json(Ready))},
            refusals=(Internal, Unavailable),
            security=PUBLIC,
        ),
        Operation(
            "GET /api/status",
            "status",
            "running it",
            "What is running",
            answers={200: Answer("Version, models, stores, counts", json(Status))},
            refusals=(*ANYWHERE, RateLimited),
            security=PUBLIC,
        ),
        Operation(
            "GET /metrics",
            "metrics",
            "running it",
            "What happens, for Prometheus",
            about="With `METRICS_TOKEN` for who sends it, else for this machine only.",
            answers={200: Answer("Prometheus' text format", {"text/plain": {"type": "string"}})},
            refusals=(Internal, Unauthorized),
            security=({}, {"metrics": []}),
        ),
        Operation(
            "GET /openapi.json",
            "openapi",
            "running it",
            "This document",
            answers={200: Answer("OpenAPI 3.1", {JSON: {"type": "object"}})},
            refusals=ANYWHERE,
            security=PUBLIC,
        ),
        Operation(
            "GET /asyncapi.json",
            "asyncapi",
            "running it",
            "The events of the Socket.IO door",
            answers={200: Answer("AsyncAPI 3.0", {JSON: {"type": "object"}})},
            refusals=ANYWHERE,
            security=PUBLIC,
        ),
    )


def operations() -> tuple[Operation, ...]:
    return (*chat(), *sessions(), *completions(), *jobs(), *managing(), *running())
