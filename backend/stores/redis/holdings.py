"""What an answer holds in Redis besides its log: its session, its key, its place among those that run.

Each function gives the commands of one step of an answer's life. Done twice they change nothing.
"""

from __future__ import annotations

import time

from backend.chat.events import Header
from backend.chat.log import Log
from backend.chat.requests import Idempotency
from backend.stores.memory import TOMBSTONE_TTLS
from backend.stores.redis import rows
from backend.stores.redis.client import Command
from backend.stores.redis.keys import (
    ProcessKeys,
    SessionKeys,
    StreamKeys,
    caller_key,
    idempotency_key,
    key_value,
)

KEPT_RUNNING_S = 7 * 24 * 3600
"""When what belongs to a running answer would be dropped, if nobody were left to end it."""
DISCARDED_S = 60
"""How long whoever joined an answer that was then refused can still be told why."""

CLAIM = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
if KEYS[2] then
    local now_s = tonumber(redis.call('TIME')[1])
    redis.call('ZADD', KEYS[2], now_s, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_s - ARGV[4])
    redis.call('EXPIRE', KEYS[2], ARGV[4])
end
"""
"""Takes KEYS[1] for ARGV[1] if it is free, or held by ARGV[2], who is gone; else gives who holds it. In
KEYS[2] all are listed who did in the last ARGV[4] seconds."""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
"""

UNASK = """
local number = redis.call('HGET', KEYS[2], ARGV[1])
if number and tonumber(number) == redis.call('LLEN', KEYS[1]) - 1 then
    redis.call('RPOP', KEYS[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
end
"""
"""Takes a session's last message back, if it is the one of this id."""


def begun(header: Header) -> list[Command]:
    """It is among those that run, and its log begins. The second reply is how many its caller has."""
    log, caller = StreamKeys(header.stream_id).log, caller_key(header)
    return [
        ("SADD", caller, header.stream_id),
        ("SCARD", caller),
        ("EXPIRE", caller, KEPT_RUNNING_S),
        *looked_after(header.writer, header.stream_id),
        rows.header_row(log, header),
        ("EXPIRE", log, KEPT_RUNNING_S),
    ]


def claim_session(header: Header, kept_s: int, gone: bytes = b"") -> Command:
    """As CLAIM; `gone` holds it and may be replaced. Answers are kept for so long after their end."""
    keys = SessionKeys(header.owner, header.session_id or "")
    said = (header.stream_id, gone, KEPT_RUNNING_S, KEPT_RUNNING_S + kept_s)
    return ("EVAL", CLAIM, 2, keys.claim, keys.answers, *said)


def claim_key(header: Header, idempotency: Idempotency, gone: bytes = b"") -> Command:
    """The same for its key."""
    place = idempotency_key(idempotency)
    return ("EVAL", CLAIM, 1, place, key_value(header), gone, KEPT_RUNNING_S)


def looked_after(process: str, stream_id: str) -> list[Command]:
    """It is among those that this process writes."""
    live = ProcessKeys(process).live
    return [("SADD", live, stream_id), ("EXPIRE", live, KEPT_RUNNING_S)]


def left_alone(process: str, stream_id: str) -> Command:
    """It is not."""
    return ("SREM", ProcessKeys(process).live, stream_id)


def again(header: Header) -> list[Command]:
    """What points to a running answer, where nothing else has come in its place."""
    sets = [ProcessKeys(header.writer).live, caller_key(header)]
    claims: list[tuple[str, str | bytes]] = []
    listed: list[Command] = []
    if header.session_id is not None:
        keys = SessionKeys(header.owner, header.session_id)
        listed = [
            ("ZADD", keys.answers, round(time.time()), header.stream_id),
            ("EXPIRE", keys.answers, KEPT_RUNNING_S),
        ]
        claims.append((keys.claim, header.stream_id))
    if header.idempotency is not None:
        claims.append((idempotency_key(header.idempotency), key_value(header)))
    return [
        *[("SADD", key, header.stream_id) for key in sets],
        *[("EXPIRE", key, KEPT_RUNNING_S) for key in sets],
        *listed,
        *[("SET", key, value, "NX", "EX", KEPT_RUNNING_S) for key, value in claims],
    ]


def ended(header: Header, ttl_ms: int) -> list[Command]:
    """Its end is shown, and it lets go of all but its key, which is kept as long as its log."""
    of_stream = StreamKeys(header.stream_id)
    release: list[Command] = []
    if header.session_id is not None:
        claim = SessionKeys(header.owner, header.session_id).claim
        release.append(("EVAL", RELEASE, 1, claim, header.stream_id))
    if header.idempotency:
        release.append(("PEXPIRE", idempotency_key(header.idempotency), ttl_ms))
    return [
        *release,
        rows.end_row(of_stream.log),
        ("PEXPIRE", of_stream.log, ttl_ms),
        ("SET", of_stream.tombstone, header.owner, "PX", max(1, ttl_ms * TOMBSTONE_TTLS)),
        *let_go(header),
    ]


def discarded(log: Log) -> list[Command]:
    """It never began; who joined it meanwhile is told by its closing, if it has one."""
    header = log.header
    of_stream = StreamKeys(header.stream_id)
    if log.closing is None:
        end: list[Command] = [("DEL", of_stream.log)]
    else:
        end = [
            rows.seal_row(of_stream.log, log.closing, header.epoch),
            rows.end_row(of_stream.log, rows.DISCARDED),
            ("EXPIRE", of_stream.log, DISCARDED_S),
        ]
    if header.session_id is not None:
        keys = SessionKeys(header.owner, header.session_id)
        # It may have been saved although that was not heard; before the claim goes, nobody can ask again.
        end.insert(0, ("EVAL", UNASK, 2, keys.messages, keys.numbers, header.question_id))
        end.append(("EVAL", RELEASE, 1, keys.claim, header.stream_id))
        end.append(("ZREM", keys.answers, header.stream_id))
    if header.idempotency:
        end.append(("EVAL", RELEASE, 1, idempotency_key(header.idempotency), key_value(header)))
    return [*end, *let_go(header)]


def forgotten(stream_id: str, log: Log | None) -> list[Command]:
    """Of one that is no longer kept only the tombstone is left."""
    of_stream = StreamKeys(stream_id)
    commands: list[Command] = [("DEL", of_stream.log), ("DEL", of_stream.tombstone)]
    if log is not None and log.header.idempotency:
        held = idempotency_key(log.header.idempotency)
        commands.append(("EVAL", RELEASE, 1, held, key_value(log.header)))
    return commands


def let_go(header: Header) -> list[Command]:
    """It is no more among those that run."""
    return [
        ("SREM", caller_key(header), header.stream_id),
        left_alone(header.writer, header.stream_id),
    ]
