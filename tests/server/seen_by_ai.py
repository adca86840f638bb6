"""What `ai.mjs` sees, by scenario."""

from __future__ import annotations

from typing import Any

from tests.fakes.answers import BAD_TOOL, CALLS, ODD, REASONING, SHAPE, WORDS
from tests.server.seen import (
    BAD_KEY,
    BROKE_OFF,
    CLOCK,
    CONFLICT,
    ELSEWHERE,
    FAILS,
    ID,
    MADE,
    NO_MODEL,
    OUR_KEY,
    OVERLOADED,
    PARSED,
    REFUSED,
    REFUSED_TOOL,
    SPENT,
    STREAM_ID,
    TEXT,
    TOO_BUSY,
    WEATHER,
    Like,
)


def called(status: int, message: str, *, again: bool = False, **said: Any) -> dict[str, Any]:
    """An error as the AI SDK has it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    fields = {"message": message, "type": kind, "param": None, **said}
    return {
        "error": "AI_APICallError", "status": status, "again": again, "message": message, "said": fields,
        "request_id": MADE,
    }  # fmt: skip


def failed(status: int, message: str, code: str, **fields: Any) -> dict[str, Any]:
    return {"threw": called(status, message, code=code, **fields)}


def refused_twice(status: int, message: str, **said: Any) -> dict[str, Any]:
    """A refusal, of a stream and of a whole answer."""
    error = called(status, message, **said)
    return {"text": "", "errors": [error], "reasons": [], "invalid": [], "results": 0, "whole": error}


def broken_in_ai(message: str, code: str, text: str = "Hello wor", **fields: Any) -> dict[str, Any]:
    """An answer that broke off: both its step and the whole of it end in error."""
    return {
        "text": text, "errors": [{"error": "AI_StreamProviderError", "message": message}],
        "reasons": ["error", "error"], "invalid": [], "results": 0,
        "whole": called(502, message, again=True, code=code), **fields,
    }  # fmt: skip


COUNTS = [9, 4, 5, 2, 14]
TWICE = [18, 8, 10, 4, 28]
IN_ORDER = [
    "start", "start-step",
    "reasoning-start", *(["reasoning-delta", piece] for piece in REASONING), "reasoning-end",
    "text-start", ["text-delta", "4"], "text-end",
    "finish-step", "finish",
]  # fmt: skip
NAMED = {
    "text": TEXT, "finishReason": "stop", "usage": COUNTS, "id": ID, "model": "for-ai",
    "stream_id": Like(STREAM_ID),
}  # fmt: skip
RAN_IN_TURN = [list(call) for call in CALLS.items()]
OUTPUTS = [{"degrees": 21}, "noon"]

SEEN: dict[str, Any] = {
    "an answer is whole": {**NAMED, "request_id": MADE, "warnings": []},
    "a stream is an answer in pieces": {**NAMED, "request_id": "js-2", "pieces": list(WORDS)},
    "a stream has its parts in order": IN_ORDER,
    "a stream tells no usage unasked": {"text": TEXT, "total": None},
    "odd characters arrive": ["".join(ODD)] * 2,
    "a prompt's model echoes": ["The quick brown fox"] * 2,
    "an answer that was cut says so": "length",
    "an answer that was filtered says so": "content-filter",
    "reasoning comes apart from the content": {"text": "4", "reasoningText": "".join(REASONING)},
    "a refusal is told": [[REFUSED, "content-filter"]] * 2,
    "tool calls come in pieces": {
        "starts": [["call_weather", "weather"], ["call_clock", "clock"]],
        "pieces": len(WEATHER) + len(CLOCK),
        "input": WEATHER + CLOCK,
        "calls": PARSED,
        "results": OUTPUTS,
        "reason": "tool-calls",
    },
    "tools are run": {
        "text": "It is 21 degrees.",
        "calls": RAN_IN_TURN,
        "usage": TWICE,
        "reasons": ["tool-calls", "stop"],
        "called": PARSED,
        "results": OUTPUTS,
    },
    "tools are run in a stream": {
        "pieces": ["It is ", "21 degrees."],
        "calls": RAN_IN_TURN,
        "usage": TWICE,
        "steps": 2,
    },
    "an upstream that does not stream is streamed": {"text": TEXT, "calls": PARSED, "reason": "tool-calls"},
    "a shape is parsed": {"object": SHAPE, "finishReason": "stop", "usage": COUNTS},
    "a shape is parsed in a stream": {"object": SHAPE, "last": SHAPE, "growing": True},
    "a shape is an output": {"whole": SHAPE, "streamed": SHAPE, "last": SHAPE, "growing": True},
    "a list is an output": {"elements": ["maths", "engines"]},
    "a wrong shape is an error": {
        "threw": {"error": "AI_NoObjectGeneratedError", "text": Like(".*long ago.*"), "reason": "stop"}
    },
    "a shape that was cut is an error": {
        "threw": {"error": "AI_NoObjectGeneratedError", "text": Like('{"name": .*'), "reason": "length"}
    },
    "everything is passed on": TEXT,
    "a wrong field is refused": failed(
        400, "temperature must be from 0 to 2", "invalid_request", param="temperature"
    ),
    "a bad key is refused": failed(401, BAD_KEY, "invalid_api_key"),
    "an unknown model is refused": failed(404, NO_MODEL, "model_not_found"),
    "an unknown model is refused in a stream": refused_twice(404, NO_MODEL, code="model_not_found"),
    "a spent budget is refused": failed(429, SPENT, "rate_limit_exceeded", again=True, type="requests"),
    "embeddings are not there": failed(404, "There is nothing at this address", "not_found"),
    "an upstream refuses the request": {"threw": called(400, REFUSED_TOOL, **BAD_TOOL)},
    "an upstream refuses the request for a stream": refused_twice(400, REFUSED_TOOL, **BAD_TOOL),
    "an upstream refuses our key": failed(502, OUR_KEY, "upstream_error", again=True),
    "an upstream does not know the model": failed(502, ELSEWHERE, "upstream_error", again=True),
    "an upstream has a conflict": failed(409, CONFLICT, "upstream_error", again=True, type="conflict_error"),
    "an upstream is too busy": failed(429, TOO_BUSY, "rate_limit_exceeded", again=True, type="requests"),
    "an upstream fails": failed(502, FAILS, "upstream_error", again=True),
    "an answer breaks off": broken_in_ai(BROKE_OFF, "upstream_error"),
    "an answer just ends": broken_in_ai(BROKE_OFF, "upstream_error"),
    "an upstream complains in mid-answer": broken_in_ai(OVERLOADED, "overloaded"),
    "a call breaks off": broken_in_ai(BROKE_OFF, "upstream_error", "", invalid=[True]),
    "a shape breaks off": {
        "threw": {
            "said": {"message": BROKE_OFF, "type": "server_error", "param": None, "code": "upstream_error"}
        }
    },
}
ABORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream is aborted": (
        "aborted",
        {"types": ["start", "start-step", "text-start", "text-delta", "abort"]},
    ),
    "a whole answer is aborted": ("whole", {"error": "AbortError"}),
}
