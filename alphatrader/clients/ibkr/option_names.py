"""The broker's conIds of wanted options: what is known costs nothing, the rest is asked for in the background.

Used by `ibkr`, which publishes what was found. An option the broker does not list is asked for again after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from ib_insync import IB

from alphatrader.clients.ibkr.lookup import LookupFailedError, find_one
from alphatrader.contract.messages.contracts import OptionRef

UNLISTED_SECONDS: Final = 60.0
UNANSWERED_SECONDS: Final = 2.0
AT_ONCE: Final = 8
"""Questions under way at one time: the broker slows those who ask in floods."""


class OptionNames:
    def __init__(
        self,
        spec: Callable[[OptionRef], Mapping[str, Any]],
        found: Callable[[OptionRef], Awaitable[None]],
        missing: Callable[[OptionRef, str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.known: dict[str, OptionRef] = {}
        """By OCC name."""
        self._spec, self._found, self._missing, self._monotonic = spec, found, missing, monotonic
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._again_at: dict[str, float] = {}

    def named(self, refs: Iterable[OptionRef], ib: IB | None, today: str) -> list[OptionRef]:
        """Those the broker has named, in order; expired ones are left out, the others asked for while there is an `ib`.

        Raises what `found` raised in the meantime.
        """
        self._collect()
        named = []
        for ref in refs:
            if ref.expiry < today:
                continue
            known = ref if ref.con_id is not None else self.known.get(ref.occ)
            if known is not None:
                named.append(known)
            elif ib is not None and self._may_ask(ref.occ):
                self._asking[ref.occ] = asyncio.create_task(self._ask(ib, ref), name=f"find {ref.occ}")
        return named

    def _may_ask(self, occ: str) -> bool:
        waiting = self._monotonic() < self._again_at.get(occ, float("-inf"))
        return not waiting and occ not in self._asking and len(self._asking) < AT_ONCE

    def forget(self, con_id: int) -> None:
        """The broker does not know this conId any more: the option is asked for by its terms again."""
        for occ in [occ for occ, ref in self.known.items() if ref.con_id == con_id]:
            del self.known[occ]

    def stop(self) -> None:
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()

    def _collect(self) -> None:
        for occ, task in list(self._asking.items()):
            if task.done():
                del self._asking[occ]
                task.result()

    async def _ask(self, ib: IB, ref: OptionRef) -> None:
        try:
            listed = await find_one(ib, self._spec(ref))
        except LookupFailedError as error:
            self._again_at[ref.occ] = self._monotonic() + UNLISTED_SECONDS
            self._missing(ref, str(error))
            return
        except (ConnectionError, TimeoutError) as error:
            self._again_at[ref.occ] = self._monotonic() + UNANSWERED_SECONDS
            self._missing(ref, str(error) or "no answer")
            return
        named = OptionRef(ref.symbol, ref.expiry, ref.strike, ref.right, listed.con_id, ref.multiplier)
        await self._found(named)
        self.known[ref.occ] = named
