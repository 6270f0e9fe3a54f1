"""A budget of calls in a sliding window, one for all processes and restarts, on the state server's own time.

Who calls it: the Alpha Vantage tasks, before every call. `ratelimit` in each process is only a last guard: it counts from zero
after a restart and once for every process.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from alphatrader.contract.key import BoundKey
from alphatrader.runtime.store import Store

_TAKE: Final = """
-- KEYS[1] budget:{vendor}  sorted set  one member for each call granted, scored by the server's time in microseconds
-- ARGV[1] calls allowed in a window  ARGV[2] the window in microseconds  ARGV[3] a token no other call has
-- returns 0 when the call is granted, else the milliseconds until one may be
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local allowed, window = tonumber(ARGV[1]), tonumber(ARGV[2])
-- A clock that was set back leaves grants in the future; counted as made now they leave one window later, and not never.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), member)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local granted = redis.call('ZCARD', KEYS[1])
if granted < allowed then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
  return 0
end
-- With a limit that was lowered, several grants must leave before the next.
local leaves = redis.call('ZRANGE', KEYS[1], granted - allowed, granted - allowed, 'WITHSCORES')
return math.max(1, math.ceil((tonumber(leaves[2]) + window - now) / 1000))
"""


class CallBudget:
    """At most `calls` in any `window_seconds`, over everyone who shares the key."""

    def __init__(self, store: Store, key: BoundKey[Any], calls: int, window_seconds: float = 60.0) -> None:
        self._store = store
        self._key = key
        self._calls = calls
        self._window_us = int(window_seconds * 1_000_000)

    def take(self) -> int:
        """0 when a call is granted, else the milliseconds to wait. Raises when the server is away: no budget, no call."""
        token = secrets.token_hex(8)
        return int(self._store.raw(self._key.key.server, "EVAL", _TAKE, 1, self._key.name, self._calls, self._window_us, token))
