"""A budget of calls in a sliding window and one back-off, shared by all processes and restarts, on the state server's own time.

The vendor counts arrivals, not grants: of calls granted over a whole window the late ones fall into the next one's. So a grant is
stamped again once its answer began: the call had arrived by then, and its place is free a window after that. Whatever the way to
the vendor does, it then counts no more than we grant.

Who calls it: the Alpha Vantage tasks, before every call and after one that failed. `ratelimit` in each process is only a last
guard: it counts from zero after a restart and once for every process. With the server away nothing is granted.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final, NamedTuple

from alphatrader.contract.key import BoundKey
from alphatrader.runtime.store import Store, StoreError

_TAKE: Final = """
-- KEYS[1] budget:{vendor}        sorted set  one member for each call granted, scored by the server's time in microseconds
-- KEYS[2] budget:{vendor}:pause  hash        failures (in a row), until_us (nobody calls before), trial_us (one call tries until)
-- ARGV[1] calls allowed in a window  ARGV[2] the window in microseconds  ARGV[3] a token no other call has
-- ARGV[4] how long one trial may take, and no pause is longer, in microseconds
-- returns {milliseconds to wait, failures in a row}: 0 when the call is granted
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local allowed, window, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local pause = redis.call('HMGET', KEYS[2], 'failures', 'until_us', 'trial_us')
local failures = tonumber(pause[1] or 0)
if failures > 0 then
  local ends = math.max(tonumber(pause[2] or 0), tonumber(pause[3] or 0))
  -- A clock that was set back leaves an end that is too far away: it is no end.
  if ends > now and ends <= now + longest then
    return {math.max(1, math.ceil((ends - now) / 1000)), failures}
  end
end
-- A clock that was set back leaves grants in the future; counted as made now they leave one window later, and not never.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), member)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local granted = redis.call('ZCARD', KEYS[1])
if granted >= allowed then
  -- With a limit that was lowered, several grants must leave before the next.
  local leaves = redis.call('ZRANGE', KEYS[1], granted - allowed, granted - allowed, 'WITHSCORES')
  return {math.max(1, math.ceil((tonumber(leaves[2]) + window - now) / 1000)), 0}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
if failures > 0 then redis.call('HSET', KEYS[2], 'trial_us', string.format('%.0f', now + longest)) end
return {0, failures}
"""

_ARRIVED: Final = """
-- KEYS[1] budget:{vendor}  sorted set  as above
-- ARGV[1] the token of a call that was granted, and whose answer or end is here
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2])), ARGV[1])
"""

_FAILED: Final = """
-- KEYS[1] budget:{vendor}:pause  hash  as above
-- ARGV[1] the first pause in microseconds, each next one is twice as long  ARGV[2] the longest
-- returns the milliseconds until anybody may call; calls that fail while a pause stands were made before it and add nothing
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local pause = redis.call('HMGET', KEYS[1], 'failures', 'until_us')
local failures, ends, longest = tonumber(pause[1] or 0), tonumber(pause[2] or 0), tonumber(ARGV[2])
if failures == 0 or ends <= now or ends > now + longest then
  failures = failures + 1
  ends = now + math.min(longest, tonumber(ARGV[1]) * 2 ^ math.min(failures - 1, 30))
  redis.call('HSET', KEYS[1], 'failures', failures, 'until_us', string.format('%.0f', ends))
  redis.call('HDEL', KEYS[1], 'trial_us')
end
return math.ceil((ends - now) / 1000)
"""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0


class Grant(NamedTuple):
    """The answer to one request for a call."""

    wait_ms: int
    """0: granted."""
    failures: int
    """Calls that failed in a row. With a wait: a back-off is the reason, not the budget; without: this call is the trial."""
    token: str
    """Of this call; to be given back in `arrived`."""


class CallBudget:
    """At most `calls` in any `window_seconds` over everyone who shares the key, and none while the back-off lasts."""

    def __init__(self, store: Store, key: BoundKey[Any], pause: BoundKey[Any], calls: int, window_seconds: float = 60.0) -> None:
        self._store = store
        self._key = key
        self._pause = pause
        self._calls = calls
        self._window_us = int(window_seconds * 1_000_000)

    def take(self) -> Grant:
        """Raises when the server is away: no budget, no call."""
        keys = (self._key.name, self._pause.name)
        most_us = int(LONGEST_PAUSE_SECONDS * 1_000_000)
        token = secrets.token_hex(8)
        server = self._key.key.server
        limits = (self._calls, self._window_us, token, most_us)
        wait_ms, failures = self._store.raw(server, "EVAL", _TAKE, 2, *keys, *limits)
        return Grant(int(wait_ms), int(failures), token)

    def arrived(self, grant: Grant) -> None:
        """The vendor has it, or it never will: the place is free a window from now. With the server away it stays as granted."""
        with suppress(StoreError):
            self._store.raw(self._key.key.server, "EVAL", _ARRIVED, 1, self._key.name, grant.token)

    def failed(self, stretch: float) -> None:
        """A call failed: everybody pauses, twice as long each time. `stretch` (about 1) is the caller's jitter."""
        first_us = int(FIRST_PAUSE_SECONDS * stretch * 1_000_000)
        most_us = int(LONGEST_PAUSE_SECONDS * 1_000_000)
        self._store.raw(self._pause.key.server, "EVAL", _FAILED, 1, self._pause.name, first_us, most_us)

    def answered(self) -> None:
        """A call was answered: the failures in a row are over."""
        self._store.raw(self._pause.key.server, "DEL", self._pause.name)
