"""Sessions and their messages in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from backend.chat.ports import Runtime
from backend.chat.sessions import Changes, Message, Session
from backend.stores import records
from backend.stores.redis.keys import SessionKeys, index_key
from backend.stores.redis.link import Link

PAGE = 100

WRITE = """
local session, messages, numbers, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session_id, now, score, ttl, new, message_id, message, parent_id, title = unpack(ARGV)
local fields = cjson.decode(new)
local there = redis.call('EXISTS', session) == 1
if not there then
    if #fields == 0 then return 0 end
    redis.call('HSET', session, unpack(fields))
end
if message_id ~= '' then
    if redis.call('HEXISTS', numbers, message_id) == 1 then return 0 end
    local number, before = redis.call('LLEN', messages), -1
    if parent_id ~= '' then before = tonumber(redis.call('HGET', numbers, parent_id) or number) end
    if before ~= number - 1 then
        local written = parent_id == '' and 'null' or cjson.encode(parent_id)
        message = '{"parent_id":' .. written .. ',' .. string.sub(message, 2)
    end
    redis.call('RPUSH', messages, message)
    redis.call('HSET', numbers, message_id, number)
end
if title ~= '' then redis.call('HSETNX', session, 'title', title) end
if there or message_id ~= '' then redis.call('HSET', session, 'updated_at', now) end
if index then redis.call('ZADD', index, score, session_id) end
if ttl ~= '0' then
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
    if index then
        redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('(%.0f', score - ttl * 1000000))
    end
end
return 1
"""
"""Makes the session of `new`'s fields unless it is there (without any, it is not made), adds a message unless
its id is there, names an untitled one, and moves it to the top of its owner's list, from which those fall
that have outlived their time. A parent is written where it is not the message before: in a session without
versions messages are as they were before there were any."""

CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'updated_at', ARGV[2])
if KEYS[4] then redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1]) end
for n = 5, #ARGV, 3 do
    if ARGV[n + 1] == '1' then
        redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 2])
    else
        redis.call('HDEL', KEYS[1], ARGV[n])
    end
end
if ARGV[4] ~= '0' then
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
end
return 1
"""
"""Sets fields, each given as its name, whether it has a value, and that."""

DELETE = """
if KEYS[4] then redis.call('ZREM', KEYS[4], ARGV[1]) end
redis.call('DEL', KEYS[2], KEYS[3])
return redis.call('DEL', KEYS[1])
"""


class RedisSessions:
    """Each call is one command or one script, all of whose keys are on one node."""

    def __init__(self, link: Link, runtime: Runtime, ttl_s: float | None) -> None:
        self._link = link
        self._runtime = runtime
        self._ttl_s = 0 if ttl_s is None else max(1, round(ttl_s))

    def create(self, session: Session) -> None:
        self._write(session, session.updated_at, fields_of(session))

    def get(self, owner: str, session_id: str) -> Session | None:
        keys = SessionKeys(owner, session_id)
        fields, count = self._link.do(("HGETALL", keys.session), ("LLEN", keys.messages))
        return session_of(owner, session_id, fields, count) if fields else None

    def list(self, owner: str, limit: int, before: tuple[str, str] | None) -> Sequence[Session]:
        found: list[Session] = []
        highest: int | str = "+inf" if before is None else score_of(before[0])
        start = 0
        while len(found) < limit:
            page = self._link.get("ZREVRANGEBYSCORE", index_key(owner), highest, "-inf", "LIMIT", start, PAGE)
            found += [
                session
                for session in self._sessions(owner, [name.decode() for name in page])
                if before is None or (session.updated_at, session.session_id) < before
            ]
            start += PAGE
            if len(page) < PAGE:
                break
        return found[:limit]

    def update(self, owner: str, session_id: str, changes: Changes) -> Session | None:
        now, places = self._runtime.now(), places_of(owner, session_id)
        said: list[str | int] = []
        for name, value in changes.items():
            said += [name, int(value is not None), str(value or "")]
        ids = (session_id, now, score_of(now), self._ttl_s)
        self._link.get("EVAL", CHANGE, len(places), *places, *ids, *said)
        return self.get(owner, session_id)

    def delete(self, owner: str, session_id: str) -> bool:
        places = places_of(owner, session_id)
        return bool(self._link.get("EVAL", DELETE, len(places), *places, session_id))

    def messages(self, owner: str, session_id: str) -> Sequence[Message]:
        return in_order(self._link.get("LRANGE", SessionKeys(owner, session_id).messages, 0, -1))

    def ask(self, session: Session, question: Message, title: str) -> None:
        self._write(session, self._runtime.now(), fields_of(session), question, title)

    def answer(self, owner: str, session_id: str, answer: Message) -> None:
        now = self._runtime.now()
        session = Session(owner, session_id, None, None, None, now, now)
        self._write(session, now, [], answer)

    def find_message(self, owner: str, session_id: str, message_id: str) -> Message | None:
        keys = SessionKeys(owner, session_id)
        number = self._link.get("HGET", keys.numbers, message_id)
        if number is None:
            return None
        first, last = max(0, int(number) - 1), int(number)
        found: Message | None = None
        for text in self._link.get("LRANGE", keys.messages, first, last):
            found = records.message_from_json(text, found.id if found else None)
        return found

    def sweep(self) -> None:
        """Redis drops what has outlived its time; lists pass over it."""

    def _write(
        self, session: Session, now: str, new: Sequence[str], message: Message | None = None, title: str = ""
    ) -> None:
        places = places_of(session.owner, session.session_id)
        self._link.get(
            "EVAL", WRITE, len(places), *places,
            session.session_id, now, score_of(now), self._ttl_s, orjson.dumps(new),
            *(("", "", "") if message is None else said_of(message)), title,
        )  # fmt: skip

    def _sessions(self, owner: str, ids: Sequence[str]) -> Sequence[Session]:
        """Those that are still there."""
        keys = [SessionKeys(owner, session_id) for session_id in ids]
        replies = self._link.do(
            *[("HGETALL", key.session) for key in keys], *[("LLEN", key.messages) for key in keys]
        )
        found = zip(ids, replies[: len(ids)], replies[len(ids) :], strict=True)
        return [session_of(owner, id_, fields, count) for id_, fields, count in found if fields]


def said_of(message: Message) -> tuple[str, str, str]:
    return message.id, records.message_to_json(message), message.parent_id or ""


def in_order(texts: Iterable[bytes]) -> Sequence[Message]:
    """A list's messages. One whose parent was lost, as a Redis that is killed can, comes after the one
    before."""
    found: list[Message] = []
    before_id: str | None = None
    known: set[str | None] = {None}
    for text in texts:
        message = records.message_from_json(text, before_id)
        if message.parent_id not in known:
            message = replace(message, parent_id=before_id)
        found.append(message)
        known.add(message.id)
        before_id = message.id
    return found


def places_of(owner: str, session_id: str) -> list[str]:
    """The keys of WRITE, CHANGE and DELETE. Callers without a name have no list."""
    keys = SessionKeys(owner, session_id)
    return [keys.session, keys.messages, keys.numbers, *([keys.index] if owner else [])]


def fields_of(session: Session) -> list[str]:
    """Names and values, for a hash; what is None is left out."""
    said = {
        "title": session.title,
        "model": session.model,
        "system": session.system,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
    }
    return [text for name, value in said.items() if value is not None for text in (name, value)]


def session_of(owner: str, session_id: str, fields: Mapping[bytes, bytes], count: int) -> Session:
    said = {name.decode(): value.decode() for name, value in fields.items()}
    return Session(
        owner,
        session_id,
        said.get("title"),
        said.get("model"),
        said.get("system"),
        said["created_at"],
        said["updated_at"],
        count,
    )


def score_of(at: str) -> int:
    """An ISO 8601 time as microseconds since the epoch, which a sorted set holds exactly."""
    moment = datetime.fromisoformat(at)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return round(moment.timestamp() * 1_000_000)
