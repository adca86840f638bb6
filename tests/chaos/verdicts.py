"""What is wrong: with what readers got, and with what is kept of it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.connections import Cut, Network
from tests.chaos.faults import Damage
from tests.chaos.fleet import Fleet
from tests.chaos.readers import Reader
from tests.chaos.upstream import Call, Upstream

KEPT_S = 10.0
"""How long after the last reader's end an answer may take to be in its session."""
AWAY = "this process was away for so long"
"""What a server says that got no processor for longer than its lease; or that Redis kept waiting."""
AFTER_S = 1.0
RETURNS = 0.01
"""What part of those whose connection was reset may meet an error when they come back."""


@dataclass(frozen=True, slots=True)
class Wrong:
    kind: str
    what: str
    reader: Reader | None = None


async def verdicts(
    readers: Sequence[Reader], upstream: Upstream, fleet: Fleet, network: Network, damage: Damage
) -> list[Wrong]:
    """All that is wrong; nobody reads any more, and all servers are back."""
    logs = [fleet.new_log(number) for number in range(len(fleet.servers))]
    if not damage.done & {"kill-redis", "freeze-redis"}:
        damage.starved = {
            number for number, log in enumerate(logs) if AWAY in log and number not in damage.harmed
        }
    wrong = [Wrong("fault", what) for what in damage.wrong]
    wrong += [Wrong(each.violation.kind, str(each.violation), each) for each in readers if each.violation]
    sound = [each for each in readers if not each.violation]
    by_question: dict[int, list[Reader]] = defaultdict(list)
    for reader in sound:
        by_question[reader.question.number].append(reader)
    for reader in sound:
        calls = upstream.calls[reader.question.seed, reader.question.number]
        wrong += [Wrong(kind, what, reader) for kind, what in faults_of(reader, calls, damage, fleet)]
    waiting = asyncio.Semaphore(16)
    for found in await asyncio.gather(*[kept(each[0], network, waiting) for each in by_question.values()]):
        wrong += found
    refusals = [each for reader in readers for each in reader.refusals]
    if damage.done == {"reset"} and len(refusals) > max(1, RETURNS * len(readers)):
        wrong.append(Wrong("return", f"errors met those who came back from a reset: {refusals}"))
    wrong += [Wrong("traceback", text) for log in logs for text in tracebacks(log)]
    return wrong


def faults_of(
    reader: Reader, calls: Sequence[Call], damage: Damage, fleet: Fleet
) -> Iterator[tuple[str, str]]:
    """Of what it got: `take` has seen that it is a prefix of the script."""
    if reader.ended == "done":
        if reader.text != reader.question.text:
            yield "end", f"done after {reader.count} of {len(reader.question.tokens)} tokens"
        if reader.full_response != reader.question.text:
            yield "full_response", f"{reader.full_response!r:.300}"
        if reader.finish_reason != "stop":
            yield "end", f"finish_reason {reader.finish_reason}"
    elif not any(may_be_lost(call, damage, fleet.workers) for call in calls) and (calls or not damage.harmed):
        yield "interrupted", "and nothing had happened to its server"
    if len(calls) > 1 and not (fleet.goes_on and damage.harmed):
        yield "calls", f"the upstream was asked {len(calls)} times, by servers {[c.server for c in calls]}"
    for call in calls:
        if reader.question.begun(call.partial) is None:
            yield "partial", f"the upstream was given {call.partial!r:.300} as its beginning"
    if reader.habits.follows is False and not calls and reader.ended == "done":
        yield "calls", "the upstream was not asked"


def may_be_lost(call: Call, damage: Damage, any_server: bool) -> bool:
    """Whether its server came to harm while it answered; an answer ends a little after its call, and does not
    end while Redis is away."""
    if damage.starved if any_server else call.server in damage.starved:
        return True
    harms = damage.harms if any_server else damage.harmed.get(call.server, [])
    ended_s = (call.ended_s or time.monotonic()) + AFTER_S
    for began_s, over_s in sorted(damage.outages):
        if began_s <= ended_s:
            ended_s = max(ended_s, over_s + AFTER_S)
    return any(call.began_s - 5.0 <= at_s <= ended_s for at_s in harms)


async def kept(reader: Reader, network: Network, waiting: asyncio.Semaphore) -> list[Wrong]:
    """What is wrong with the stream and the session of a reader's answer, once they are as they stay."""
    deadline_s = time.monotonic() + KEPT_S
    while True:
        async with waiting:
            try:
                found = [Wrong(kind, what, reader) async for kind, what in differences(reader, network)]
            except Cut as cut:
                found = [Wrong("kept", str(cut), reader)]
        if not found or time.monotonic() > deadline_s:
            return found
        await asyncio.sleep(0.3)


async def differences(reader: Reader, network: Network) -> Any:
    status, stream = await get(network, f"/api/chat/streams/{reader.stream_id}")
    if status != 200:
        yield "kept", f"its stream is {status} {stream}"
        return
    expected = "done" if reader.ended == "done" else "interrupted"
    text = stream["text"]
    if stream["state"] != expected:
        yield "kept", f"the stream is {stream['state']}, the reader was told {reader.ended}"
    if not text.startswith(reader.text) or not reader.question.text.startswith(text):
        yield "kept", f"the stream has {len(text)} characters, the reader {len(reader.text)}"
    if reader.by_completion:
        return
    status, session = await get(network, f"/api/chat/sessions/{reader.session_id}?versions=all")
    if status != 200:
        yield "kept", f"its session is {status} {session}"
        return
    roles = [message["role"] for message in session["messages"]]
    if roles != ["user", "assistant"]:
        yield "session", f"its messages are {roles}, live {session['live_stream']}"
        return
    answer = session["messages"][1]
    if answer["status"] != expected or session["live_stream"] is not None:
        yield "session", f"status {answer['status']}, live {session['live_stream']}; told {reader.ended}"
    if answer["content"] != text:
        yield "session", f"{len(answer['content'])} characters, the stream {len(text)}"


async def get(network: Network, path: str) -> tuple[int, Any]:
    """Raises Cut."""
    async with network.connected() as connection:
        head = await connection.request("GET", path, {"Accept": "application/json", "Connection": "close"})
        body = await connection.body(head)
    return head.status, json.loads(body) if body.startswith(b"{") else body[:200]


def tracebacks(log: str) -> list[str]:
    """What a server says that has met what it did not expect."""
    found = re.findall(r"^.*\n?^Traceback[^\n]*\n(?:^[ \t].*\n)*^.*$", log, re.M)
    return found or (["Traceback somewhere"] if "Traceback" in log else [])
