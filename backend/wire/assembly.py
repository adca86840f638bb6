"""Whole messages, put together from the pieces they were streamed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backend.chat.events import NOT_SAID, Entry

FIXED = ("id", "type")
"""What is said with the first piece of a call, and by some upstreams with every one."""


class Text(list[str]):
    """The pieces of a text, to be joined once."""


class Numbered(dict[int, Any]):
    """A list whose items come in pieces, each with its `index`."""


def choices_of(entries: Iterable[Entry], reason: str) -> list[dict[str, Any]]:
    """The `choices` of a `chat.completion`; `reason` is how those ended that do not say it themselves."""
    known: dict[int, Any] = {0: {}}
    for entry in entries:
        if isinstance(entry, str):
            known[0] = gathered(known[0], {"message": {"content": entry}})
            continue
        extra = entry.extra
        said = {key: value for key, value in extra.items() if key not in NOT_SAID}
        if entry.text:
            said["content"] = entry.text
        beside = {key: extra[key] for key in ("logprobs", "finish_reason") if key in extra}
        index = extra.get("index", 0)
        if index not in known:
            known.update({before: {} for before in range(index) if before not in known})
        known[index] = gathered(known.get(index), {"message": said, **beside})
    return [whole_choice(index, joined(known[index]), reason) for index in sorted(known)]


def whole_choice(index: int, said: Mapping[str, Any], reason: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **said.get("message", {})}
    if not said.get("message"):
        message["content"] = ""
    if isinstance(calls := message.get("tool_calls"), list):
        # They are numbered only where they come in pieces.
        message["tool_calls"] = [without_index(call) if isinstance(call, dict) else call for call in calls]
    return {
        "index": index,
        "message": message,
        "logprobs": said.get("logprobs"),
        "finish_reason": said.get("finish_reason", reason),
    }


def without_index(call: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in call.items() if key != "index"}


def gathered(known: Any, piece: Any, key: str = "") -> Any:
    """What is known with a piece more: texts follow each other, objects and numbered items grow, lists go on;
    anything else, and what is of another kind than before, takes the place of what was known. `key` is what
    the piece is called."""
    if isinstance(piece, str):
        if not isinstance(known, Text):
            return Text([piece])
        if key not in FIXED and not (key == "name" and known == [piece]):
            known.append(piece)
        return known
    if isinstance(piece, Mapping):
        known = known if type(known) is dict else {}
        for key, value in piece.items():
            if value is None:
                known.setdefault(key, None)
            else:
                known[key] = gathered(known.get(key), value, key)
        return known
    if isinstance(piece, list) and piece and all(is_numbered(item) for item in piece):
        known = known if isinstance(known, Numbered) else Numbered()
        for item in piece:
            known[item["index"]] = gathered(known.get(item["index"]), item)
        return known
    if isinstance(piece, list):
        known = known if type(known) is list else []
        known.extend(piece)
        return known
    return piece


def is_numbered(item: Any) -> bool:
    return isinstance(item, Mapping) and type(item.get("index")) is int


def joined(value: Any) -> Any:
    """What was gathered, as JSON."""
    if isinstance(value, Text):
        return "".join(value)
    if isinstance(value, Numbered):
        return [joined(value[index]) for index in sorted(value)]
    if isinstance(value, dict):
        return {key: joined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [joined(item) for item in value]
    return value
