"""Which of the broker's contracts stands for each instrument: asked at each connect, on a new day, and while one is missing.

Used by `IBKRIngestion`. Futures are checked against the rules of `core/market/futures.py`, and their front month moves forward by
volume or at the hard roll. Reads and writes `contracts:futures`: the roll is kept there, so that a restart does not go back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Final

from alphatrader.clients.ibkr import lookup
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import FutureContract, FutureRoot
from alphatrader.core.market import futures
from alphatrader.core.market.contracts import Instrument
from alphatrader.core.market.futures import NoContractError
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.module import StreamModule

MISSING_SECONDS: Final = 60.0
"""An instrument without a contract is asked for again after this long."""
LOOK_SECONDS: Final = 1.0
VOLUME_DAYS: Final = "10 D"
VOLUME_RETRY_SECONDS: Final = 600.0


class Contracts:
    def __init__(
        self,
        module: StreamModule,
        instruments: Mapping[str, Instrument],
        broker: Callable[[], Any],
        rolled: Callable[[str, str], None],
    ) -> None:
        """`broker` gives whom to ask, or None without a link. `rolled(symbol, reason)`: another contract stands for it now."""
        self.listed: dict[str, lookup.Listed] = {}
        """Symbol -> the contract in use."""
        self.futures: dict[str, FutureRoot] = {}
        """Root -> what is known of it, as published."""
        self._module, self._store, self._clock, self._log = module, module.store, module.clock, module.log
        self._instruments, self._broker, self._rolled = instruments, broker, rolled
        self._months: dict[str, list[lookup.Listed]] = {}
        self._volumes: dict[str, dict[str, dict[date, float]]] = {}
        self._volumes_of: dict[str, date] = {}
        self._volumes_again: dict[str, float] = {}
        self.answered: set[str] = set()
        """Symbols of which the broker has said what it lists, be it nothing."""
        self._asked_on: date | None = None
        self._asked_at = float("-inf")

    async def recover(self) -> None:
        self.futures = await self._store.fields(k.FUTURES.at())

    @property
    def missing(self) -> list[str]:
        return [symbol for symbol in self._instruments if symbol not in self.listed]

    @property
    def unlisted(self) -> list[str]:
        """Missing, and not only because the answer has not come yet."""
        return [symbol for symbol in self.missing if symbol in self.answered]

    @property
    def differences(self) -> list[str]:
        """Where the broker and the rules do not agree, of the roots in use."""
        return [text for root in self.futures.values() if root.root in self._instruments for text in root.differences]

    # -- asking ----------------------------------------------------------------------------------------------------------

    async def ask_for_all(self) -> None:
        await self._ask(self._instruments)

    def forget(self, symbol: str) -> None:
        """The broker does not know this contract any more: it counts as missing."""
        self.listed.pop(symbol, None)

    async def _keep_up(self) -> None:
        """Asks for all on a new day, else for what is missing, when it is time."""
        new_day = self._asked_on not in (None, self._clock.session_date())
        missing = self.missing if self._clock.monotonic() - self._asked_at >= MISSING_SECONDS else []
        if self._broker() is not None and (new_day or missing):
            with contextlib.suppress(ConnectionError, TimeoutError):  # the connection itself tells of these
                await self._ask(self._instruments if new_day else missing)

    async def _ask(self, symbols: Iterable[str]) -> None:
        """One that is not listed is told, and asked for again later."""
        symbols = tuple(symbols)
        self._asked_at = self._clock.monotonic()
        answers = await asyncio.gather(*(self._find(self._instruments[s]) for s in symbols), return_exceptions=True)
        if symbols and all(isinstance(answer, TimeoutError) for answer in answers):
            raise TimeoutError(f"no contract was named within {lookup.ANSWER_SECONDS:g} s")
        self.answered |= set(symbols)
        for symbol, answer in zip(symbols, answers, strict=True):
            if isinstance(answer, lookup.LookupFailedError | NoContractError | TimeoutError):
                self._module.health.count("contracts_not_found")
                self._log.warning("contract_not_found", symbol=symbol, reason=str(answer) or "no answer")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._use(symbol, answer)
        self._asked_on = self._clock.session_date()

    async def _find(self, instrument: Instrument) -> lookup.Listed:
        ib = self._broker()
        if ib is None:
            raise ConnectionError("the link to the broker is down")
        if instrument.kind != "future":
            return await lookup.find_one(ib, instrument.spec)
        found = [one for one in await lookup.find(ib, instrument.spec) if one.last_trading_day and one.contract_month]
        self._months[instrument.symbol] = sorted(found, key=lambda one: one.contract_month)
        return await self._choose(instrument.symbol)

    def _use(self, symbol: str, listed: lookup.Listed) -> None:
        before = self.listed.get(symbol)
        self.listed[symbol] = listed
        if before is None or before.con_id == listed.con_id:
            return
        self._log.info("rolled", symbol=symbol, old=before.local_symbol, new=listed.local_symbol)
        self._rolled(symbol, f"rolled from {before.local_symbol} to {listed.local_symbol}")

    # -- futures ---------------------------------------------------------------------------------------------------------

    def _is_session(self, day: date) -> bool:
        return self._module.calendar.on(day) is not None

    async def _choose(self, root: str) -> lookup.Listed:
        """The front month; what is known of the root is published where it changed. Raises NoContractError."""
        listed, known, today = self._months[root], self.futures.get(root), self._clock.session_date()
        kept = known.front if known else None
        chosen = futures.front(root, listed, today, self._is_session, kept=kept, volumes=self._volumes.get(root))
        moved = known is None or known.front != chosen.month
        state = FutureRoot(
            root=root,
            ts_ns=self._clock.market_ns(),
            front=chosen.month,
            since=today.isoformat() if moved or known is None else known.since,
            reason=chosen.reason if moved or known is None else known.reason,
            contracts=tuple(
                FutureContract(
                    one.contract_month,
                    one.con_id,
                    one.local_symbol,
                    one.last_trading_day,
                    f"{futures.leaves(root, one, self._is_session):%Y%m%d}",
                )
                for one in listed
            ),
            differences=tuple(futures.differences(root, listed, self._is_session)),
        )
        for difference in set(state.differences) - set(known.differences if known else ()):
            self._module.health.count("futures_differ")
            self._log.warning("future_differs", difference=difference)
        if moved and known is not None:
            self._log.info("front_month", root=root, old=known.front, new=chosen.month, reason=chosen.reason)
        self.futures[root] = state
        batch = self._store.batch()
        batch.put_field(k.FUTURES.at(), root, state)
        await self._store.commit(batch)
        return next(one for one in listed if one.contract_month == chosen.month)

    async def run(self) -> None:
        """Keeps the contracts current, and once a day asks what each front month and the next one traded, one root after another:
        the broker paces requests."""
        while not self._module.stopping.is_set():
            await self._module.pause(LOOK_SECONDS)
            await self._keep_up()
            for root in list(self._months):
                today, now = self._clock.session_date(), self._clock.monotonic()
                due = self._volumes_of.get(root) != today and now >= self._volumes_again.get(root, float("-inf"))
                ib = self._broker()
                if due and ib is not None and root in self.listed and not self._module.stopping.is_set():
                    await self._look_at_volumes(ib, root, today)

    async def _look_at_volumes(self, ib: Any, root: str, today: date) -> None:
        front = self.listed[root]
        after = futures.following(root, self._months[root], front.contract_month)
        try:
            self._volumes[root] = {
                one.contract_month: {
                    exchange_datetime(bar.ts_ns).date(): bar.volume
                    for bar in await lookup.bars(ib, one.contract, duration=VOLUME_DAYS, size="1 day")
                }
                for one in (front, after)
                if one is not None
            }
            self._use(root, await self._choose(root))
        except (lookup.LookupFailedError, NoContractError, ConnectionError, TimeoutError) as error:
            self._volumes_again[root] = self._clock.monotonic() + VOLUME_RETRY_SECONDS
            self._module.health.count("volumes_missing")
            self._log.warning("volumes_missing", root=root, reason=str(error) or type(error).__name__)
            return
        self._volumes_of[root] = today
