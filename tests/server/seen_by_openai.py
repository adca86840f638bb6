"""What `openai.mjs` sees, by scenario."""

from __future__ import annotations

from typing import Any

from tests.fakes.answers import BAD_TOOL, CALLS, LOGPROBS, ODD, REASONING, REFUSAL, SHAPE, WORDS
from tests.server.seen import (
    BAD_KEY,
    BROKE_OFF,
    BUDGET,
    CLOCK,
    CONFLICT,
    ELSEWHERE,
    FAILS,
    ID,
    MADE,
    NO_MODEL,
    NONSENSE,
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
    Whole,
)

USED = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
USED_TWICE = {
    "prompt_tokens": 18,
    "completion_tokens": 10,
    "total_tokens": 28,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
CALLED = [
    {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    for name, arguments in (("weather", WEATHER), ("clock", CLOCK))
]
RAN = {name: [said] for name, said in CALLS.items()}
RESULTS = ["21 degrees in Köln", "noon"]
MODEL = {"id": "for-openai", "object": "model", "created": Whole(), "owned_by": "openai"}


def told(error: str, status: int, message: str, code: str, **fields: Any) -> dict[str, Any]:
    """An error as OpenAI's client has it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    said = {"type": kind, "code": code, "param": None, **fields}
    return {"error": error, "status": status, "message": f"{status} {message}", "request_id": MADE, **said}


def threw(*args: Any, **fields: Any) -> dict[str, Any]:
    return {"threw": told(*args, **fields)}


def streamed(*texts: str, end: str = "stop", **fields: Any) -> dict[str, Any]:
    """The outline of a stream: one id, one role, and one end, which comes last."""
    plain = {"identities": 1, "role": "assistant", "roles": 1, "ends": [end], "last": end, "usages": []}
    return {**plain, "texts": list(texts), **fields}


def broken(message: str, code: str, texts: tuple[str, ...] = ("Hello", " wor")) -> dict[str, Any]:
    """An answer that broke off: what there was of it, and an error instead of any end."""
    late = {"error": "APIError", "message": message, "type": "server_error", "code": code, "param": None}
    return {
        "texts": list(texts), "ends": [], "error": {**late, "request_id": MADE},
        "promised": {**late, "request_id": MADE}, "completed": 0, "errors": 1, "end": 1,
        "whole": told("InternalServerError", 502, message, code),
    }  # fmt: skip


def choice(content: str | None, end: str = "stop", index: int = 0, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None, **fields}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": end}


def response(request_id: object, kind: str) -> dict[str, Any]:
    return {
        "id": ID, "stream_id": Like(STREAM_ID), "request_id": request_id, "status": 200, "kind": kind,
        "limit": str(BUDGET),
    }  # fmt: skip


COMPLETION = {
    "id": ID, "object": "chat.completion", "created": Whole(), "model": "for-openai",
    "choices": [choice(TEXT)], "usage": USED,
}  # fmt: skip
UNAUTHORIZED = threw("AuthenticationError", 401, BAD_KEY, "invalid_api_key")
UNKNOWN = threw("NotFoundError", 404, NO_MODEL, "model_not_found")
FROM_ELSEWHERE = "Pages of this origin may not call this server; add it to CORS_ORIGINS"
MISMATCH = "This Idempotency-Key was used with another body; use a new key for a new question"
CUT = {"threw": {"error": "LengthFinishReasonError", "message": Like(".* the length limit was reached")}}
REFUSED_MESSAGE = {"role": "assistant", "content": None, "refusal": REFUSED, "parsed": None}

SEEN: dict[str, Any] = {
    "models are listed": {"ids": ["for-openai", "for-ai", "demo", "chat-fast", "chat-smart"], "first": MODEL},
    "a model is described": MODEL,
    "a model that is not there is not described": UNKNOWN,
    "an answer is whole": {**COMPLETION, "request_id": MADE},
    "an answer comes with its response": response("js-1", "application/json"),
    "a stream comes with its response": response(MADE, "text/event-stream; charset=utf-8"),
    "a stream is an answer in pieces": streamed(*WORDS),
    "a stream tells its usage when asked": streamed(*WORDS, usages=[USED], nulls=6, told=7, choices=[]),
    "a stream is two streams": [list(WORDS)] * 2,
    "a helper tells of the content": {
        "deltas": list(WORDS),
        "snapshots": ["".join(WORDS[: n + 1]) for n in range(len(WORDS))],
        "named": list(WORDS),
        "done": [{"content": TEXT, "parsed": None}],
        "final": [TEXT],
        "usage": USED,
        "completion": {**COMPLETION, "choices": [choice(TEXT, parsed=None)]},
        "connected": 1,
        "ended": 1,
    },
    "a helper is passed on to a browser": {"content": TEXT},
    "a prompt's model echoes": {
        "content": "The quick brown fox",
        "texts": "The quick brown fox",
        "model": "demo",
    },
    "odd characters arrive": ["".join(ODD)] * 2,
    "an empty answer is one": streamed(whole=choice(""), helped=choice("", parsed=None)["message"]),
    "an answer is read again": {
        "same": True,
        "content": TEXT,
        "usage": USED,
        "missing": told("NotFoundError", 404, "There is no such stream", "not_found"),
    },
    "answers are not listed or changed": [[405, "invalid_request"]] * 3 + [[404, "not_found"]],
    "tool calls come in pieces": streamed(
        end="tool_calls",
        heads=[
            {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            for index, call in enumerate(CALLED)
        ],
        pieces=[list(WEATHER), list(CLOCK)],
    ),
    "tool calls come whole": {
        "message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": CALLED},
        "finish_reason": "tool_calls",
    },
    "tool calls are parsed": PARSED,
    "a helper tells of tool calls": {
        "deltas": len(WEATHER) + len(CLOCK) + 2,
        "arguments": WEATHER + CLOCK,
        "done": [["weather", 0, CALLS["weather"]], ["clock", 1, {}]],
        "final": [{"name": "clock", "arguments": "{}", "parsed_arguments": {}}],
        "finish_reason": "tool_calls",
        "calls": [
            ["call_weather", "function", "weather", WEATHER],
            ["call_clock", "function", "clock", CLOCK],
        ],
    },
    "tools are run": {
        "content": "It is 21 degrees.",
        "calls": RAN,
        "results": RESULTS,
        "roles": ["assistant", "tool", "tool", "assistant"],
        "usage": USED_TWICE,
    },
    "tools are run in a stream": {
        "content": "It is 21 degrees.",
        "calls": RAN,
        "results": RESULTS,
        "pieces": ["It is ", "21 degrees."],
    },
    "an upstream that does not stream is streamed": {
        "content": TEXT,
        "finish_reason": "tool_calls",
        "calls": PARSED,
    },
    "a shape is parsed": {"parsed": SHAPE, "refusal": None},
    "a shape is parsed in a stream": {"parsed": SHAPE, "done": SHAPE, "growing": True},
    "a shape that was cut is an error": CUT,
    "a shape that was cut in a stream is an error": CUT,
    "a shape that was filtered is an error": {
        "threw": {"error": "ContentFilterFinishReasonError", "message": Like(".* by the content filter")}
    },
    "a refusal is no content": {"message": REFUSED_MESSAGE, "finish_reason": "stop"},
    "a helper tells of a refusal": {
        "deltas": list(REFUSAL),
        "done": [{"refusal": REFUSED}],
        "contents": 0,
        "refusal": REFUSED,
        "content": None,
        "parsed": None,
    },
    "reasoning comes apart from the content": {
        "message": choice("4", reasoning_content="".join(REASONING))["message"],
        "pieces": list(REASONING),
        "texts": ["4"],
    },
    "two choices are whole": [choice("abc"), choice("abc", "length", 1)],
    "two choices are streamed": [streamed(*"abc"), streamed(*"abc", end="length")],
    "a helper puts two choices together": [[0, "abc", "stop"], [1, "abc", "length"]],
    "probabilities are whole": {"content": LOGPROBS, "refusal": None},
    "a helper tells of probabilities": {"deltas": LOGPROBS, "done": LOGPROBS, "final": LOGPROBS},
    "an answer that was cut says so": {"whole": "length", "ends": ["length"]},
    "everything is passed on": TEXT,
    "a wrong field is refused": threw(
        "BadRequestError", 400, "temperature must be from 0 to 2", "invalid_request", param="temperature"
    ),
    "a wrong field is refused in a stream": threw(
        "BadRequestError", 400, "max_tokens must be at least 1", "invalid_request", param="max_tokens"
    ),
    "no messages are refused": threw(
        "BadRequestError", 400, "messages are empty; send one at least", "invalid_request", param="messages"
    ),
    "an address is refused": threw(
        "BadRequestError",
        400,
        "base_url is not taken from a request; the server has its own",
        "invalid_request",
        param="base_url",
    ),
    "too much is refused": threw(
        "APIError", 413, "The body is over 1048576 bytes (MAX_BODY_BYTES); send less", "payload_too_large"
    ),
    "a bad key is refused": UNAUTHORIZED,
    "a bad key is refused in a stream": UNAUTHORIZED,
    "a bad key lists no models": UNAUTHORIZED,
    "an unknown model is refused": UNKNOWN,
    "an unknown model is refused in a stream": UNKNOWN,
    "another site is refused": threw("PermissionDeniedError", 403, FROM_ELSEWHERE, "forbidden"),
    "another interface is not there": threw(
        "NotFoundError", 404, "There is nothing at this address", "not_found"
    ),
    "a spent budget is not asked again": {
        **told("RateLimitError", 429, SPENT, "rate_limit_exceeded", type="requests"),
        "asked": 1,
        "again": "false",
        "later": True,
        "left": "0",
    },
    "an upstream refuses the request": threw("BadRequestError", 400, REFUSED_TOOL, **BAD_TOOL),
    "an upstream refuses the request for a stream": threw("BadRequestError", 400, REFUSED_TOOL, **BAD_TOOL),
    "an upstream refuses our key": threw("InternalServerError", 502, OUR_KEY, "upstream_error"),
    "an upstream does not know the model": threw("InternalServerError", 502, ELSEWHERE, "upstream_error"),
    "an upstream has a conflict": threw(
        "ConflictError", 409, CONFLICT, "upstream_error", type="conflict_error"
    ),
    "an upstream is too busy": {
        **told("RateLimitError", 429, TOO_BUSY, "rate_limit_exceeded", type="requests"),
        "later": "7",
        "again": None,
    },
    "an upstream is busy for an hour": {
        **told("RateLimitError", 429, TOO_BUSY, "rate_limit_exceeded", type="requests"),
        "asked": 1,
        "later": "3600",
        "again": "false",
    },
    "an upstream fails": threw("InternalServerError", 502, FAILS, "upstream_error"),
    "an upstream says nonsense": threw("InternalServerError", 502, NONSENSE, "upstream_error"),
    "a conflict is asked about again": {"content": TEXT, "asked": 2},
    "a key makes one answer of two requests": {
        "same": True,
        "content": TEXT,
        "other": told("UnprocessableEntityError", 422, MISMATCH, "idempotency_mismatch"),
    },
    "an answer breaks off": broken(BROKE_OFF, "upstream_error"),
    "an answer just ends": broken(BROKE_OFF, "upstream_error"),
    "an upstream complains in mid-answer": broken(OVERLOADED, "overloaded"),
    "a call breaks off": broken(BROKE_OFF, "upstream_error", ()),
    "a stopped answer ends well": streamed("Hello", stopped="stopped"),
    "numbers are nothing to a reader": streamed(*WORDS),
}
ABORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a stream is aborted": ("aborted", {"texts": ["Hello"]}),
    "a stream is left": ("left", {}),
    "a helper is aborted": ("helper", {"error": "APIUserAbortError", "aborted": True}),
    "a silent stream is aborted": ("silent", {"error": "APIUserAbortError"}),
    "a whole answer is aborted": ("whole", {"error": "APIUserAbortError"}),
    "a wait comes to its end": ("waits", {"error": "APIConnectionTimeoutError"}),
}
"""The `user` that each of these asks as, and what it sees."""
