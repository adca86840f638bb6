"""What an upstream says: OpenAI's chunks as entries, how each choice ended, what was used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

from backend.chat.events import NOT_SAID, Delta, Entry, Usage
from backend.chat.ports import Ended

MAX_COUNT = 10**9
MAX_CHOICES = 128
WRAPPED = 16
"""So deep at most is what a chunk says inside of other JSON."""
REASON = re.compile(r"[A-Za-z_]{1,64}")
WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
NOTHING: tuple[object, ...] = (None, "", [], {})
UNHEARD = ("role", *NOT_SAID)
"""What a delta cannot say: it is known, or the choice's to say."""
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class Unreadable(ValueError):
    """The upstream's bytes are not what an OpenAI-compatible upstream says."""


class Reported(Exception):
    """The upstream reports an error of its own: `body` is what it says."""

    def __init__(self, body: Any) -> None:
        super().__init__(complaint_in(body))
        self.body = body


class Transcript:
    """What an upstream has said: its chunks as entries, how each choice ended, what was used.

    Text of choice 0 alone is a plain `str`; all else is a `Delta` holding the delta's other fields as
    they came, `index` when it is not 0, `logprobs`, and how any other choice than 0 ended. Roles and empty
    fields say nothing. `fault` is what cannot be read or is an error, once everything before it has been
    given. `choices` is how many were asked for; an upstream may give fewer.
    """

    def __init__(self, choices: int = 1) -> None:
        self.done = False
        self._choices = choices
        self.fault: Exception | None = None
        self._usage: Usage | None = None
        self._reasons: dict[int, str | None] = {}
        self._high: dict[tuple[int, str], str] = {}
        self._calls: dict[int, int] = {}

    @property
    def finished(self) -> bool:
        """Every choice that began has come to its end, the first certainly."""
        return bool(self._reasons.get(0)) and all(self._reasons.values())

    @property
    def complete(self) -> bool:
        """Every choice that was asked for has come to its end."""
        return self.finished and len(self._reasons) >= self._choices

    def read(self, payloads: Sequence[bytes]) -> list[Entry]:
        """The entries in the data of these events, up to a fault."""
        entries: list[Entry] = []
        try:
            for payload in payloads:
                self._take(payload, entries)
        except (Unreadable, Reported) as exc:
            self.fault = exc
        except RecursionError:
            self.fault = Unreadable("a chunk is nested too deep")
        return entries

    def read_whole(self, body: bytes) -> list[Entry]:
        """The entries of an answer that came in one piece, not as a stream."""
        entries = self.read([body])
        self.done = bool(self._reasons)
        return entries

    def rest(self) -> list[Entry]:
        """The half of a character that waited in vain for its other half."""
        waiting, self._high = self._high, {}
        return ["\ufffd"] if (0, "content") in waiting else []

    def ended(self) -> Ended | None:
        """How the answer ended, None if it broke off. Some upstreams only say that they are done."""
        if not (self.done or self.finished):
            return None
        return Ended(self._reasons.get(0) or "stop", self._usage)

    def _take(self, payload: bytes, entries: list[Entry]) -> None:
        if payload == b"[DONE]" or self.done:
            self.done = True
            return
        if not payload:
            return
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            self._read_chunk(loads_with_halves(payload), entries, halves=True)
            return
        if self._high or not is_plain(chunk):
            self._read_chunk(chunk, entries, halves=bool(self._high))
            return
        entries.append(chunk["choices"][0]["delta"]["content"])

    def _read_chunk(self, chunk: Any, entries: list[Entry], halves: bool) -> None:
        if not isinstance(chunk, dict):
            raise Unreadable("a chunk is no object")
        if chunk.get("error") or chunk.get("object") == "error":
            raise Reported(chunk)
        for choice, delta in choices_in(chunk):
            index = index_of(choice)
            if halves:
                choice, delta = mended(choice), self._joined(index, delta)
            reason = choice.get("finish_reason")
            reason = reason_of(reason) if reason else None
            self._reasons[index] = reason or self._reasons.get(index)
            if "tool_calls" in delta:
                delta = {**delta, "tool_calls": self._numbered(index, delta["tool_calls"])}
            entry = entry_of(index, delta, choice.get("logprobs"), reason)
            if isinstance(entry, Delta):
                check_carried(entry.extra)
            if entry:
                entries.append(entry)
        usage = usage_of(mended(chunk.get("usage")) if halves else chunk.get("usage"))
        if usage is not None:
            check_carried(usage.details)
            self._usage = usage

    def _numbered(self, index: int, calls: Any) -> Any:
        """The calls, each with the number that some upstreams leave out: an id begins another one."""
        if not isinstance(calls, list):
            return calls
        numbered = []
        for call in calls:
            if isinstance(call, dict) and type(call.get("index")) is not int:
                last = self._calls.get(index, -1)
                self._calls[index] = last = last + 1 if call.get("id") or last < 0 else last
                call = {**call, "index": last}
            numbered.append(call)
        return numbered

    def _joined(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """The delta as text that can be encoded; the first half of a character waits for the second,
        which some upstreams send with the next delta."""
        whole = {}
        for key, value in delta.items():
            if isinstance(value, str):
                value = self._high.pop((index, key), "") + value
                if "\ud800" <= value[-1:] <= "\udbff":
                    self._high[index, key] = value[-1]
                    value = value[:-1]
            whole[mended(key)] = mended(value)
        return whole


def choices_in(chunk: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each choice with its delta, or its message if the answer came in one piece."""
    choices = chunk.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Unreadable("the choices are no list of objects")
    pairs = [(choice, choice.get("delta") or choice.get("message") or {}) for choice in choices]
    if not all(isinstance(delta, dict) for _, delta in pairs):
        raise Unreadable("a delta is no object")
    return pairs


def index_of(choice: dict[str, Any]) -> int:
    """A choice's number, 0 if it has none. Raises Unreadable for one that no choice has."""
    index = choice.get("index")
    if type(index) is not int:
        return 0
    if not 0 <= index < MAX_CHOICES:
        raise Unreadable("a choice has a number that none can have")
    return index


def is_plain(chunk: Any) -> bool:
    """Whether a chunk says a piece of choice 0's text and nothing else: nearly all do, so it is told
    without building anything."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        content = delta["content"]
        return (
            content.__class__ is str
            and content != ""
            and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
            and not (choice.get("finish_reason") or choice.get("index") or choice.get("logprobs"))
            and not (chunk.get("usage") or chunk.get("error"))
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def entry_of(index: int, delta: dict[str, Any], logprobs: Any, reason: str | None) -> Entry | None:
    """What a delta says, None if nothing."""
    said = {key: value for key, value in delta.items() if key not in UNHEARD and value not in NOTHING}
    text = said.pop("content") if index == 0 and isinstance(said.get("content"), str) else ""
    if isinstance(logprobs, dict) and any(value not in NOTHING for value in logprobs.values()):
        said["logprobs"] = logprobs
    if index and reason:
        said["finish_reason"] = reason
    if not said:
        return text or None
    return Delta(text, {"index": index, **said} if index else said)


def check_carried(value: Any) -> None:
    """What is kept and given on must be JSON that everybody reads, also inside of what it is kept and given
    on in. Raises Unreadable."""
    for _ in range(WRAPPED):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise Unreadable("a chunk has a number or a depth that JSON readers disagree about") from exc


def reason_of(said: object) -> str:
    """A finish_reason as it was said, or `stop` for what is none."""
    return said if isinstance(said, str) and REASON.fullmatch(said) else "stop"


def usage_of(said: Any) -> Usage | None:
    """The tokens used; None if a number is missing or cannot be one, for it goes on a bill."""
    if not isinstance(said, dict):
        return None
    prompt, completion, total = (count_of(said.get(key)) for key in COUNTS)
    if prompt is None or completion is None:
        return None
    details = {key: value for key, value in said.items() if key not in COUNTS and value is not None}
    return Usage(prompt, completion, max(total or 0, prompt + completion), details=details)


def count_of(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def error_fields(body: Any) -> dict[str, str]:
    """`type`, `param` and `code` of an upstream's error, as far as it says them in a word."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return {}
    said = {name: error.get(name) for name in ("type", "param", "code")}
    return {name: text for name, text in said.items() if isinstance(text, str) and WORD.fullmatch(text)}


def error_status(body: Any) -> int:
    """The HTTP status that some upstreams give as an error's code, else that of a failing gateway."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int and 400 <= code < 600 else 502


def complaint_in(body: Any) -> str:
    """The message in an upstream's error, wherever it put it; empty if it has none."""
    if isinstance(body, list) and body:
        body = body[0]
    for key in ("error", "message", "detail"):
        if not isinstance(body, dict):
            break
        if body.get(key):
            body = body[key]
    return body if isinstance(body, str) else ""


def loads_with_halves(payload: bytes) -> Any:
    """JSON with what orjson refuses but some upstreams send: halves of characters, as lone surrogates,
    and numbers that are none (NaN, Infinity), as None."""
    try:
        return json.loads(payload, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as exc:
        raise Unreadable("a chunk is no JSON") from exc


def mended(value: Any) -> Any:
    """The value with its surrogates joined to characters, or replaced where they stand alone."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value
