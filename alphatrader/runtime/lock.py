"""`lock:{module}`: one running instance of a module, or of a shard of it; each holder has a fencing number larger than the last.

Who calls it: the module loop. Losing the lock ends the process: somebody else may hold it by now.
"""

from __future__ import annotations

import os
import secrets
from typing import Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.operations import Lock
from alphatrader.runtime.store import AsyncStore

TTL_SECONDS: Final = 5.0

_ACQUIRE: Final = """
-- KEYS[1] lock:{module}   string  JSON of the holder, TTL ARGV[2] ms
-- KEYS[2] fence:{module}  string  integer, grows with every holder
-- ARGV[1] token  ARGV[2] TTL in ms  ARGV[3] pid
-- returns the fence, or 0 where another holds the lock; who holds it already keeps his fence
local held = redis.call('GET', KEYS[1])
if held then
  held = cjson.decode(held)
  if held.token ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return held.fence
end
local fence = redis.call('INCR', KEYS[2])
local holder = cjson.encode({token = ARGV[1], fence = fence, pid = tonumber(ARGV[3])})
redis.call('SET', KEYS[1], holder, 'PX', ARGV[2])
return fence
"""
_RENEW: Final = """
-- KEYS[1] lock:{module}  string  JSON of the holder
-- ARGV[1] token  ARGV[2] TTL in ms; 0 gives the lock back
-- returns 1 where the lock is ours, else 0
local holder = redis.call('GET', KEYS[1])
if not holder or cjson.decode(holder).token ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""


class LockLostError(RuntimeError):
    """Another instance may hold the lock by now."""


class ModuleLock:
    def __init__(self, store: AsyncStore, instance: str) -> None:
        self._store = store
        self._lock = k.LOCK.at(module=instance)
        self._fence = k.FENCE.at(module=instance)
        self._token = secrets.token_hex(8)

    async def acquire(self) -> int:
        """The fence, or 0 while another instance holds the lock."""
        reply = await self._store.raw(
            Server.STATE,
            "EVAL",
            _ACQUIRE,
            2,
            self._lock.name,
            self._fence.name,
            self._token,
            int(TTL_SECONDS * 1000),
            os.getpid(),
        )
        return int(reply)

    async def holder(self) -> Lock | None:
        content: bytes | None = await self._store.raw(Server.STATE, "GET", self._lock.name)
        return msgspec.json.decode(content, type=Lock) if content else None

    async def renew(self) -> None:
        """Raises LockLostError."""
        if not await self._store.raw(Server.STATE, "EVAL", _RENEW, 1, self._lock.name, self._token, int(TTL_SECONDS * 1000)):
            raise LockLostError(f"{self._lock.name} is no longer ours")

    async def release(self) -> None:
        await self._store.raw(Server.STATE, "EVAL", _RENEW, 1, self._lock.name, self._token, 0)
