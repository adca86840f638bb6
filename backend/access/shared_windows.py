"""The same moving windows, counted for all processes together in a Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Protocol

from backend.access.windows import MovingWindows, Windows
from backend.chat.errors import Unavailable

logger = logging.getLogger(__name__)

SCHEME = "shared-windows"

ACQUIRE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, length, amount, mine = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local function moment(entry) return tonumber(string.match(entry or '0', '^%d+')) end
local function add(at) redis.call('LPUSH', KEYS[1], string.format('%.0f:%s', at, mine)) end
local told = #ARGV - 4
if told > 0 then
    local known = 0
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
        if moment(entry) > now - length and string.match(entry, ':(.*)') == mine then known = known + 1 end
    end
    for n = 5 + known, #ARGV do
        add(math.max(moment(redis.call('LINDEX', KEYS[1], 0)), now - ARGV[n]))
    end
end
local oldest = redis.call('LINDEX', KEYS[1], limit - amount)
local within = amount <= limit and not (oldest and moment(oldest) > now - length)
if within then
    for _ = 1, amount do add(now) end
end
redis.call('LTRIM', KEYS[1], 0, limit - 1)
if within or told > 0 then redis.call('PEXPIRE', KEYS[1], math.ceil(length / 1000)) end
return within and 1 or 0
"""
"""Adds ARGV[3] moments to the newest ARGV[1] that are kept, unless the one that would drop out is no older
than ARGV[2] microseconds. The clock is Redis's: those of the processes may differ. A moment is marked with
ARGV[4], the process that allowed it. The others are how long ago each was that this one has allowed, the
oldest first: the last of them are added, if there are more than Redis knows of."""

LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, age = 0, 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
    local moment = tonumber(string.match(entry, '^%d+'))
    if moment <= now - ARGV[2] then break end
    count, age = count + 1, now - moment
end
return {count, string.format('%.0f', age)}
"""
"""How many of them count, and how many microseconds ago the oldest of those was."""


class RunScript(Protocol):
    def __call__(self, script: str, name: str, *arguments: int | str) -> Any:
        """What a Lua script gives on the key of that name. Raises Unavailable."""


class SharedWindows(MovingWindows):
    """A store of moving windows for `limits`.

    While Redis is away each process allows its share, so that together they allow no more than the limit;
    what it allowed before counts. What it allowed then, and all that a Redis which was restarted or replaced
    may have lost, is told to Redis the next time it is asked.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012

    def __init__(
        self,
        uri: str | None = None,
        *,
        run: RunScript,
        processes: Callable[[], int],
        generation: Callable[[], int],
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        """`processes` is how many share the limits; `generation` changes when Redis may have lost some."""
        super().__init__(uri, **options)
        self._run = run
        self._processes = processes
        self._now = now
        self._here = Windows()
        self._mark = token_hex(4)
        self._generation_of = generation
        self._generation = generation()
        self._doubtful: set[str] = set()
        """Names of which Redis may not know all that was allowed here."""
        self._away = False

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` more, if that stays within the limit."""
        told_us = [round(age_s * 1_000_000) for age_s in self._here.ages_s(key)] if self._doubts(key) else []
        try:
            within = bool(self._run(ACQUIRE, key, limit, expiry * 1_000_000, amount, self._mark, *told_us))
        except Unavailable:
            self._note(away=True)
            within = self._here.acquire_entry(key, limit // self._processes(), expiry, amount)
            if within:
                self._doubtful.add(key)
            return within
        self._note(away=False)
        self._doubtful.discard(key)
        if within:
            self._here.acquire_entry(key, limit, expiry, amount)
        return within

    def _doubts(self, key: str) -> bool:
        """Whether Redis is to be told what was allowed here."""
        if self._generation != (generation := self._generation_of()):
            self._generation = generation
            self._doubtful.update(self._here.names)
        return key in self._doubtful

    def _note(self, *, away: bool) -> None:
        """Once in each outage."""
        if away != self._away:
            self._away = away
            how = "by each process for itself: their store is away" if away else "together again"
            logger.warning("limits are counted %s", how)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest that counts happened, in seconds since the epoch, and how many count."""
        try:
            count, age_us = self._run(LOOK, key, limit, expiry * 1_000_000)
        except Unavailable:
            return self._here.get_moving_window(key, limit // self._processes(), expiry)
        return self._now() - int(age_us) / 1_000_000, count
