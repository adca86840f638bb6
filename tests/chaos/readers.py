"""Readers as the contract wants them: they come back with what they have, until they know how it ended."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.chaos.connections import Connection, Cut, Head, Network
from tests.chaos.script import Question
from tests.sockets import HANDSHAKE

PAUSE_S = 0.15
MOST_PAUSE_S = 1.5
COME_BACK = frozenset({500, 502, 503, 504})
"""Refusals after which one asks again. 500 is not one of the contract's; it counts as a violation there."""
EXPLICIT = frozenset({"interrupted"})
"""What an answer may end with instead of its end."""
REFUSED = "unavailable"
"""What a question that was refused is joined by its key for as long as it is not withdrawn; it was not begun,
and one asks again."""

Door: TypeAlias = Callable[["Reader", Connection], Awaitable[None]]


class Violation(Exception):
    """What must not happen: its `kind`, and what it was."""

    def __init__(self, kind: str, what: object) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Habits:
    """What kind of reader it is. One with several `doors` takes any of them each time; one with `leaves`
    closes by itself after up to so many events and comes back; a `follows` reader did not ask."""

    name: str
    doors: tuple[str, ...]
    leaves: int | None = None
    follows: bool = False


KINDS = (
    Habits("sse", ("sse",)),
    Habits("socket", ("socket",)),
    Habits("v1", ("v1",)),
    Habits("sse", ("sse",)),
    Habits("socket", ("socket",)),
    Habits("v1", ("v1",)),
    Habits("switcher", ("sse", "socket"), leaves=80),
    Habits("follower", ("sse", "socket"), leaves=200, follows=True),
)


class Reader:
    """One reader's way to the end of one answer. `stream_id` is known once the question is taken; `ended` is
    `done`, or the type of the error it ended with."""

    def __init__(
        self,
        question: Question,
        habits: Habits,
        network: Network,
        chance: random.Random,
        slow: bool,
        turn: int,
        asker: Reader | None = None,
    ) -> None:
        self.question = question
        self.habits = habits
        self.stream_id: str | None = None
        self.ended: str | None = None
        self.ended_s = 0.0
        self.full_response: str | None = None
        self.finish_reason: str | None = None
        self.count = 0
        self.text = ""
        self.tries = 0
        self.failed_tries = 0
        self.refusals: list[str] = []
        self.events = 0
        self.trace: list[str] = []
        self.violation: Violation | None = None
        self.known = asyncio.Event()
        """Set with the stream's id."""
        self._asker = asker
        self._network = network
        self._chance = chance
        self._slow = slow
        self._turn = turn
        self._number = 0
        self._leaves_at: int | None = None
        self._wait_s = 0.0

    @property
    def session_id(self) -> str:
        return f"chaos-{self._turn}-{self.question.seed}-{self.question.number}"

    @property
    def key(self) -> str:
        return f"key-{self._turn}-{self.question.seed}-{self.question.number}"

    @property
    def by_completion(self) -> bool:
        return self.habits.doors == ("v1",)

    async def run(self, patience_s: float) -> None:
        """To its end; what is wrong on the way is its `violation`. Never raises."""
        try:
            async with asyncio.timeout(patience_s):
                while self.ended is None:
                    if self._asker is not None and self.stream_id is None:
                        await self._asker.known.wait()
                        self._know(self._asker.stream_id)
                    await self._try()
        except Violation as violation:
            self.violation = violation
        except TimeoutError:
            self.violation = Violation("stuck", f"no end in {patience_s:g} s, at {self.count}")
        except (ValueError, KeyError, TypeError, AssertionError) as exc:
            self.violation = Violation("unreadable", repr(exc))
        self.ended_s = time.monotonic()
        if self.violation is not None:
            self.note(str(self.violation))

    def note(self, what: str) -> None:
        self.trace.append(f"{time.monotonic():.3f} at {self.count}: {what}")

    def refuse(self, what: str) -> None:
        self.note(what)
        self.refusals.append(what)

    async def _try(self) -> None:
        had = self.events
        name = self._chance.choice(self.habits.doors)
        leaves = self.habits.leaves
        self._leaves_at = None if leaves is None else self.events + self._chance.randint(1, leaves)
        self._wait_s = 0.0
        self.tries += 1
        resets = self._network.resets
        try:
            async with self._network.connected(self._slow) as connection:
                await DOORS[name](self, connection)
            how = "it ended"
        except Cut as cut:
            how = str(cut)
            if self.events == had and self._network.resets == resets:
                self.refusals.append(how)
        if self.ended is not None:
            self.note(f"{name}: ended as {self.ended}")
            return
        self.note(f"{name}: {how}")
        self.failed_tries = 0 if self.events > had else self.failed_tries + 1
        pause_s = min(MOST_PAUSE_S, PAUSE_S * 2 ** min(self.failed_tries, 5))
        await asyncio.sleep(max(self._wait_s, pause_s * self._chance.uniform(0.3, 1.5)))

    def _know(self, stream_id: str | None) -> None:
        if stream_id is None or self.stream_id == stream_id:
            return
        if self.stream_id is not None:
            raise Violation("two answers", f"{self.stream_id}, then {stream_id}")
        self.stream_id = stream_id
        self.note(f"it is {stream_id}")
        self.known.set()

    @property
    def _leaves(self) -> bool:
        return self._leaves_at is not None and self.events >= self._leaves_at and self.ended is None

    def take(self, text: str, count: int, *, several: bool = False) -> None:
        """The next text; `count` is that of its last token."""
        self.events += 1
        if count <= self.count:
            raise Violation("number", f"{count} came after {self.count}")
        if count > self.count + 1 and not several:
            raise Violation("gap", f"{count} came after {self.count}")
        if count > len(self.question.tokens):
            raise Violation("text", f"there are {len(self.question.tokens)} tokens, and {count} came")
        if text != self.question.text_between(self.count, count):
            raise Violation("text", f"{text[-80:]!r} came as {count}")
        self.text += text
        self.count = count

    def finish(self, fields: dict[str, Any]) -> None:
        self.ended, self.finish_reason = "done", fields["finish_reason"]
        self.full_response = fields["full_response"]
        if fields["tokens"] != self.count:
            raise Violation("end", f"{fields['tokens']} tokens were made, {self.count} came")

    def fail(self, type_: str, what: object) -> None:
        if type_ == REFUSED and not self.count:
            self.refuse(f"refused: {what}")
            self.stream_id = None
            self.known.clear()
            return
        self.ended = type_
        if type_ not in EXPLICIT:
            raise Violation("error", what)

    def refused(self, head: Head, body: bytes) -> None:
        """An HTTP answer that is no stream: come back, or a Violation."""
        self.refuse(f"{head.status} {body[:120]!r}")
        self._wait_s = self._chance.uniform(0.5, 1.0) * float(head.headers.get("retry-after", "0"))
        if head.status not in COME_BACK:
            raise Violation(f"status {head.status}", body[:300])
        if head.status == 500:
            raise Violation("status 500", body[:300])


async def over_sse(reader: Reader, connection: Connection) -> None:
    if reader.stream_id is None:
        body = {"message": reader.question.message, "session_id": reader.session_id, "partial": False}
        headers = {"Idempotency-Key": reader.key, "Content-Type": "application/json"}
        head = await connection.request("POST", "/api/chat/stream", headers, json.dumps(body).encode())
    else:
        path = f"/api/chat/streams/{reader.stream_id}?partial=false"
        last = {"Last-Event-ID": f"{reader.stream_id}:{reader.count}"}
        head = await connection.request("GET", path, {**last, "Accept": "text/event-stream"})
    if head.status != 200:
        reader.refused(head, await connection.body(head))
        return
    reader._know(head.headers["x-stream-id"])
    async for id_, data in events(connection, head):
        fields = json.loads(data)
        if "error" in fields:
            reader.fail(fields["type"], fields)
        elif "reset" in fields:
            raise Violation("reset", f"to {fields['count']} from {reader.count}")
        elif "done" in fields:
            reader.finish(fields)
        else:
            assert id_ == f"{reader.stream_id}:{fields['count']}", id_
            reader.take(fields["token"], fields["count"])
        if reader.ended or reader._leaves or reader.stream_id is None:
            return


async def over_v1(reader: Reader, connection: Connection) -> None:
    resumes = {"X-Stream-Resume": "1"}
    if reader.stream_id is None:
        messages = [{"role": "user", "content": reader.question.message}]
        body = {"model": "chaos", "messages": messages, "stream": True}
        headers = {**resumes, "Idempotency-Key": reader.key, "Content-Type": "application/json"}
        head = await connection.request("POST", "/v1/chat/completions", headers, json.dumps(body).encode())
    else:
        path = f"/v1/chat/completions/{reader.stream_id}"
        last = {"Last-Event-ID": f"{reader.stream_id}:{reader._number}"}
        head = await connection.request("GET", path, {**resumes, **last, "Accept": "text/event-stream"})
    if head.status != 200:
        said = await connection.body(head)
        error = json.loads(said)["error"] if said.startswith(b"{") else {}
        if error.get("code") in EXPLICIT:
            reader._know(head.headers["x-stream-id"])
            reader.fail(error["code"], error)
        else:
            reader.refused(head, said)
        return
    reader._know(head.headers["x-stream-id"])
    async for id_, data in events(connection, head):
        number = int(id_.rpartition(":")[2])
        # Where the end of an answer may be lost with its server, the error's number leaves room for it.
        if number != reader._number + 1 and (number <= reader._number or b'"error"' not in data[:9]):
            raise Violation("number" if number <= reader._number else "gap", f"{id_} after {reader._number}")
        reader._number = number
        if data == b"[DONE]":
            assert reader.finish_reason is not None, "[DONE] without a finish_reason"
            reader.ended, reader.full_response = "done", reader.text
            return
        fields = json.loads(data)
        if "error" in fields:
            reader.fail(fields["error"]["code"], fields)
            return
        [choice] = fields["choices"]
        reader.finish_reason = choice["finish_reason"] or reader.finish_reason
        if text := choice["delta"].get("content"):
            reader.take(text, reader.count + 1)


async def over_a_socket(reader: Reader, connection: Connection) -> None:
    head = await connection.upgrade(HANDSHAKE + "websocket")
    if head.status != 101:
        reader.refused(head, await connection.body(head))
        return
    while True:
        message = await connection.message()
        if message is None or message[0] == "1" or message[:2] == "41":
            return
        if message[0] == "0":
            connection.send("40")
        elif message[:2] == "40":
            connection.send(asking(reader))
        elif message[:2] == "44":
            reader.note(message)
            return
        elif message[0] == "2":
            connection.send("3")
        elif message[:3] == "431":
            if not acknowledged(reader, json.loads(message[3:])[0]):
                return
        elif message[:2] == "42":
            hear(reader, *json.loads(message[2:]))
        if reader.ended or reader._leaves or (message[:2] == "42" and reader.stream_id is None):
            return


def asking(reader: Reader) -> str:
    if reader.stream_id is not None:
        payload: dict[str, Any] = {"stream_id": reader.stream_id, "after": reader.count}
        return "421" + json.dumps(["chat_resume", payload])
    payload = {"message": reader.question.message, "session_id": reader.session_id}
    return "421" + json.dumps(["chat_stream", {**payload, "idempotency_key": reader.key}])


def acknowledged(reader: Reader, said: dict[str, Any]) -> bool:
    """Whether it was taken."""
    if said["ok"]:
        reader._know(said["stream_id"])
        return True
    reader.refuse(f"refused: {said}")
    if said["code"] not in COME_BACK or said["code"] == 500:
        raise Violation(f"status {said['code']}", said)
    reader._wait_s = reader._chance.uniform(0.5, 1.0) * said.get("retry_after", 0)
    return False


def hear(reader: Reader, name: str, fields: dict[str, Any]) -> None:
    if name == "server_draining":
        reader._wait_s = fields["reconnect_in_ms"] / 1000
    elif name == "chat_token":
        assert fields["stream_id"] == reader.stream_id, "of another answer, or before the acknowledgement"
        reader.take(fields["token"], fields["count"], several=True)
    elif name == "chat_complete":
        reader.finish(fields)
    elif name == "chat_reset":
        raise Violation("reset", f"to {fields['count']} from {reader.count}")
    elif name == "chat_stream_error" and fields.get("stream_id"):
        reader.fail(fields["type"], fields)


DOORS: dict[str, Door] = {"sse": over_sse, "v1": over_v1, "socket": over_a_socket}


async def events(connection: Connection, head: Head) -> Any:
    """The id and the data of each event."""
    rest = b""
    async for piece in connection.pieces(head):
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            lines = [line for line in block.split(b"\n") if not line.startswith(b":")]
            fields = dict(line.split(b": ", 1) for line in lines)
            yield fields.get(b"id", b"").decode(), fields[b"data"]
