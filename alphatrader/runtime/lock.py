"""`lock:{module}`: one running instance of a module, or of a shard of it; each holder has a fencing number larger than the last.

Who calls it: the module loop. Losing the lock ends the process: somebody else may hold it by now. One that merely lapsed, because
the process or the server had no turn for so long, is not lost: the fence tells whether anybody held it meanwhile.
"""

from __future__ import annotations

import os
import secrets
from typing import Any, Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Server
from alphatrader.contract.messages.operations import Lock
from alphatrader.runtime.store import AsyncStore

TTL_SECONDS: Final = 5.0
_TTL_MS: Final = int(TTL_SECONDS * 1000)

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
-- KEYS[1] lock:{module}   string  JSON of the holder
-- KEYS[2] fence:{module}  string  integer, grows with every holder
-- ARGV[1] token  ARGV[2] TTL in ms  ARGV[3] pid  ARGV[4] the fence of the token
-- returns 1 where the lock is ours, else 0; one that lapsed is still ours where the fence tells that nobody held it since
local held = redis.call('GET', KEYS[1])
if held then
  if cjson.decode(held).token ~= ARGV[1] then return 0 end
elseif redis.call('GET', KEYS[2]) ~= ARGV[4] then
  return 0
end
local holder = cjson.encode({token = ARGV[1], fence = tonumber(ARGV[4]), pid = tonumber(ARGV[3])})
redis.call('SET', KEYS[1], holder, 'PX', ARGV[2])
return 1
"""
_RELEASE: Final = """
-- KEYS[1] lock:{module}  string  JSON of the holder
-- ARGV[1] token
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held).token == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class LockLostError(RuntimeError):
    """Another instance may hold the lock by now."""


class ModuleLock:
    def __init__(self, store: AsyncStore, instance: str) -> None:
        self._store = store
        self._lock = k.LOCK.at(module=instance)
        self._fence = k.FENCE.at(module=instance)
        self._token = secrets.token_hex(8)
        self._mine = 0
        """The fence under which it was last acquired."""

    async def acquire(self) -> int:
        """The fence, or 0 while another instance holds the lock."""
        reply = await self._eval(_ACQUIRE, (self._lock, self._fence), self._token, _TTL_MS, os.getpid())
        self._mine = int(reply) or self._mine
        return int(reply)

    async def holder(self) -> Lock | None:
        content: bytes | None = await self._store.raw(Server.STATE, "GET", self._lock.name)
        return msgspec.json.decode(content, type=Lock) if content else None

    async def renew(self) -> None:
        """Keeps the lock. A process that had no turn for longer than the TTL goes on where nobody took its place. Raises
        LockLostError."""
        if not await self._eval(_RENEW, (self._lock, self._fence), self._token, _TTL_MS, os.getpid(), self._mine):
            raise LockLostError(f"{self._lock.name} is no longer ours")

    async def release(self) -> None:
        await self._eval(_RELEASE, (self._lock,), self._token)

    async def _eval(self, script: str, keys: tuple[BoundKey[Any], ...], *arguments: Any) -> Any:
        return await self._store.raw(Server.STATE, "EVAL", script, len(keys), *(key.name for key in keys), *arguments)
