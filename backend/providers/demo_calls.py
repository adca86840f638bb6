"""What the built-in model says where JSON is asked of it: structured outputs and tool calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from backend.chat.errors import Complaint, UpstreamError
from backend.chat.events import Delta
from backend.chat.ports import Prompt
from backend.providers.demo_schema import Unsatisfiable, instance_of
from backend.providers.demo_text import excerpt

PIECE_CHARS = 6


def call_of(prompt: Prompt, words: Sequence[str]) -> list[Delta] | None:
    """The pieces of a call, if one is asked for: by `tool_choice`, or when a question comes with tools and
    their results are not there yet."""
    tools = [tool["function"] for tool in listed(prompt.options.get("tools")) if is_function(tool)]
    choice = prompt.options.get("tool_choice", "auto")
    answered = prompt.messages[-1].get("role") != "user"
    if not tools or choice == "none" or (choice == "auto" and answered):
        return None
    wanted = name_in(choice)
    function = next((tool for tool in tools if tool["name"] == wanted), tools[0])
    if wanted and function["name"] != wanted:
        raise refusal(f"tool_choice names {wanted!r}, which is none of the tools", "tool_choice")
    schema = function.get("parameters") or {"type": "object"}
    arguments = as_json(schema, words, "tools")
    number = crc32(f"{len(prompt.messages)} {function['name']} {arguments}".encode())
    begun = {"id": f"call_{number:08x}", "type": "function"}
    first = {**begun, "function": {"name": function["name"], "arguments": ""}}
    pieces = [arguments[at : at + PIECE_CHARS] for at in range(0, len(arguments), PIECE_CHARS)]
    return [piece_of_call(first), *(piece_of_call({"function": {"arguments": piece}}) for piece in pieces)]


def json_of(prompt: Prompt, words: Sequence[str], question: str) -> str | None:
    """The text of a structured output, if one is asked for."""
    asked = prompt.options.get("response_format")
    wanted: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    kind = wanted.get("type")
    if kind == "json_object":
        return json.dumps({"about": excerpt(question), "keywords": list(words)}, ensure_ascii=False)
    if kind != "json_schema":
        return None
    described = wanted.get("json_schema")
    schema = described.get("schema", True) if isinstance(described, Mapping) else None
    if schema is None:
        raise refusal("response_format.json_schema must be an object with a schema", "response_format")
    return as_json(schema, words, "response_format")


def as_json(schema: Any, words: Sequence[str], param: str) -> str:
    try:
        return json.dumps(instance_of(schema, words), ensure_ascii=False)
    except Unsatisfiable as exc:
        raise refusal(f"The schema in {param} cannot be satisfied: {exc}", param) from exc


def refusal(sentence: str, param: str) -> UpstreamError:
    fields = {"type": "invalid_request_error", "param": param, "code": "invalid_json_schema"}
    return UpstreamError(sentence, Complaint(400, fields=fields))


def piece_of_call(said: Mapping[str, Any]) -> Delta:
    return Delta("", {"tool_calls": [{"index": 0, **said}]})


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def is_function(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)


def name_in(choice: Any) -> str | None:
    """The function that a `tool_choice` names."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
