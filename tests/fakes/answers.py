"""What a fake upstream says to a question that names it: all that OpenAI's dialect can say, and refuse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.fakes.upstream import (
    CHUNK,
    DONE,
    Script,
    answer,
    chunk,
    delay,
    end,
    event,
    finish,
    head,
    rst,
    stall,
    status,
    usage,
)

WORDS = ("Grüße", ", ", "wor", "ld", "! 👋")
ODD = ("a\r\nb\u2028c\u0085d", "\n\ndata: [DONE]\n\n", "\0\ufeff\U0001f468\u200d\U0001f469", ":\r")
"""What lines end with, here or there, and other things that break readers."""
CALLS = {"weather": {"city": "Köln", "days": 2}, "clock": {}}
SHAPE = {"name": "Ada \u201cthe first\u201d", "born": 1815, "fields": ["maths", "engines"]}
REFUSAL = ("I'm sorry", ", I cannot ", "help with that.")
REASONING = ("Two and two", " are four.")
LOGPROBS = [
    {"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": []}
    for text in ("It ", "rains")
]
BAD_TOOL = {
    "type": "invalid_request_error",
    "param": "tools[0].function.parameters",
    "code": "invalid_function_parameters",
}
IMAGE = "data:image/png;base64,iVBORw0KGgo="
USAGE = usage(
    9, 5, prompt_tokens_details={"cached_tokens": 4}, completion_tokens_details={"reasoning_tokens": 2}
)  # fmt: skip


def question_in(body: Mapping[str, Any]) -> str:
    """The text of the first thing the person said."""
    content = next(message["content"] for message in body["messages"] if message["role"] == "user")
    return content if isinstance(content, str) else str(content[0]["text"])


def ended(*events: bytes, reason: str = "stop", used: bytes = USAGE) -> Script:
    opening = chunk(role="assistant", content="", refusal=None)
    return [head(), opening, *events, finish(reason), used, DONE, end()]


def texts(*pieces: str, reason: str = "stop") -> Script:
    return ended(*map(chunk, pieces), reason=reason)


def calls(body: Mapping[str, Any]) -> Script:
    """Every tool called at once, in pieces of one character; with their results, an answer."""
    if body["messages"][-1]["role"] == "tool":
        return texts("It is ", "21 degrees.")
    return ended(*pieces_of_calls(), reason="tool_calls")


def pieces_of_calls() -> Iterator[bytes]:
    for index, (name, arguments) in enumerate(CALLS.items()):
        function = {"name": name, "arguments": ""}
        yield calling({"index": index, "id": f"call_{name}", "type": "function", "function": function})
        for piece in json.dumps(arguments, ensure_ascii=False):
            yield calling({"index": index, "function": {"arguments": piece}})


def calling(call: Mapping[str, Any]) -> bytes:
    return chunk(tool_calls=[call])


def shaped(**fields: Any) -> Script:
    return texts(*pieces_of(fields))


def pieces_of(fields: Mapping[str, Any]) -> list[str]:
    said = json.dumps(fields, ensure_ascii=False)
    return [said[at : at + 5] for at in range(0, len(said), 5)]


def two_choices() -> Script:
    """They take turns, and end in different ways."""
    turns = [chunk(text, index=index) for text in ("a", "b", "c") for index in (0, 1)]
    return [head(), *turns, finish("length", 1), finish("stop", 0), USAGE, DONE, end()]


def likely() -> Script:
    choices = [
        {
            "index": 0,
            "delta": {"content": token["token"]},
            "logprobs": {"content": [token], "refusal": None},
            "finish_reason": None,
        }
        for token in LOGPROBS
    ]
    return ended(*(event({**CHUNK, "choices": [choice]}) for choice in choices))


def refusal(http: int, message: str, *, headers: Mapping[str, str] | None = None, **fields: str) -> Script:
    return status(http, {"error": {"message": message, **fields}}, headers=headers)


def one_piece() -> Script:
    """An upstream that does not stream."""
    called = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(said)}}
        for name, said in CALLS.items()
    ]
    message = {"role": "assistant", "content": "".join(WORDS), "refusal": None, "tool_calls": called}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    used = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    return status(
        200, {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": used}
    )  # fmt: skip


OVERLOADED = {"error": {"message": "The engine is overloaded", "type": "server_error", "code": "overloaded"}}

ANSWERS: Mapping[str, Script | Callable[[dict[str, Any]], Script]] = {
    "words": texts(*WORDS),
    "odd": texts(*ODD),
    "nothing": ended(),
    "picture": texts(*WORDS),
    "slow": answer(["one ", "two ", "three"], gap_s=0.1),
    "tools": calls,
    "one piece": one_piece(),
    "shape": shaped(**SHAPE),
    "list": shaped(elements=["maths", "engines"]),
    "wrong shape": shaped(name="Ada", born="long ago", fields=[]),
    "cut": texts(*pieces_of(SHAPE)[:6], reason="length"),
    "filtered": texts("I will ", reason="content_filter"),
    "refused": ended(*(chunk(refusal=piece) for piece in REFUSAL)),
    "reasons": ended(*(chunk(reasoning_content=piece) for piece in REASONING), chunk("4")),
    "two": two_choices(),
    "likely": likely(),
    "bad": refusal(400, "Invalid schema for function 'weather'", **BAD_TOOL),
    "our key": refusal(401, "Incorrect API key provided", code="invalid_api_key"),
    "elsewhere": refusal(404, "The model `fake` does not exist", code="model_not_found"),
    "conflict": refusal(409, "Another request is running", type="conflict_error"),
    "conflict once": texts(*WORDS),
    "too busy": refusal(429, "slow down", headers={"Retry-After": "7"}, type="requests"),
    "busy for an hour": refusal(429, "slow down", headers={"Retry-After": "3600"}, type="requests"),
    "fails": refusal(500, "The server had an error", headers={"Retry-After": "30"}),
    "nonsense": status(200, b"<!doctype html>", content_type="text/html"),
    "breaks off": [head(), chunk("Hello"), chunk(" wor"), delay(0.05), rst()],
    "just ends": [head(), chunk("Hello"), chunk(" wor"), end()],
    "complains": [head(), chunk("Hello"), chunk(" wor"), event(OVERLOADED), end()],
    "breaks a call": [head(), *list(pieces_of_calls())[:4], delay(0.05), rst()],
    "silent": [stall()],
    "stalls": [head(), chunk("Hello"), stall()],
}
FIRST: Mapping[str, Script] = {"conflict once": ANSWERS["conflict"]}  # type: ignore[dict-item]
"""What each model says to the question when it hears it for the first time."""


def by_question() -> Callable[[dict[str, Any]], Script]:
    """A script for a fake upstream. Asked for `{"heard": [model, user]}`, it says whether this user has asked
    this model."""
    heard = Counter[tuple[str, str]]()
    users = set[tuple[str, str]]()

    def script(body: dict[str, Any]) -> Script:
        if "heard" in body:
            return status(200, {"heard": tuple(body["heard"]) in users})
        question = question_in(body)
        heard[body["model"], question] += 1
        users.add((body["model"], body.get("user", "")))
        if question in FIRST and heard[body["model"], question] == 1:
            return FIRST[question]
        found = ANSWERS[question]
        return found(body) if callable(found) else found

    return script
