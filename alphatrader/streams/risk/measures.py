"""The book as a whole, every few seconds: `global:risk:var` and `global:risk:correlation`, or why they are not known.

Reads `quotes:{con_id}` of what is held, `market:{symbol}:daily` and `discovered:correlation_matrix` from the data server. A task
of its own beside risk's loop: verdicts and lease never wait for that server, and nothing they decide hangs on these two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import RiskMeasure
from alphatrader.core.risk.portfolio import Held, Matrix, NotKnown, book_correlation, daily_vol, value_at_risk
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.store import AsyncStore, StoreLost

EVERY_SECONDS: Final = 5.0


class Measures:
    def __init__(
        self, store: AsyncStore, clock: Clock, calendar: Calendar, rate: float, held: Callable[[], Iterable[Position]]
    ) -> None:
        """`rate`: continuous, a year. `held` gives the positions as risk knows them now."""
        self._store, self._clock, self._calendar = store, clock, calendar
        self._rate = rate
        self._positions = held
        self.correlations: Matrix = {}
        """As last read; empty where there is none, or a torn one."""

    async def tell(self) -> None:
        """Computes both and writes them. Raises StoreLost where the state server is away."""
        now_ns = self._clock.market_ns()
        try:
            matrix = await self._matrix()
            held = [await self._stands(position) for position in self._positions() if position.quantity]
            vols = {symbol: await self._vol(symbol) for symbol in sorted({one.symbol for one in held})}
        except NotKnown as error:
            at_risk = alike = RiskMeasure(None, str(error), now_ns)
        except StoreLost as error:
            at_risk = alike = RiskMeasure(None, f"the data server does not answer: {error}", now_ns)
        else:
            at_risk = _measure(lambda: value_at_risk(held, vols, matrix, now_ns, self._rate), now_ns)
            alike = _measure(lambda: book_correlation(held, matrix), now_ns)
        batch = self._store.batch()
        batch.put(k.RISK_VAR.at(), at_risk)
        batch.put(k.RISK_CORRELATION.at(), alike)
        await self._store.commit(batch)

    async def _stands(self, position: Position) -> Held:
        contract = position.contract
        quote: ContractQuote | None = None
        if contract.con_id is not None:
            quote = await self._store.get(k.QUOTES.at(con_id=contract.con_id))
        closes_ns = self._calendar.close_of(contract.expiry)
        if quote is None or closes_ns is None:
            raise NotKnown(f"{contract.occ} has {'no quote' if quote is None else 'an expiry that is no session'}")
        mark, spot, vol, delta = _mid(quote), quote.under_price, quote.implied_vol, quote.delta
        if mark is None or spot is None or vol is None or delta is None:
            needed = {"bid and ask": mark, "underlying price": spot, "implied volatility": vol, "delta": delta}
            missing = ", ".join(name for name, value in needed.items() if value is None)
            raise NotKnown(f"the quote of {contract.occ} has no {missing}")
        return Held(
            symbol=contract.symbol,
            contracts=position.quantity,
            multiplier=contract.multiplier,
            strike=contract.strike,
            call=contract.right == "C",
            closes_ns=closes_ns,
            mark=mark,
            spot=spot,
            vol=vol,
            delta=delta,
        )

    async def _vol(self, symbol: str) -> float:
        daily = await self._store.get(k.MARKET_DAILY.at(symbol=symbol))
        try:
            return daily_vol([bar.close for bar in daily.bars] if daily is not None else [])
        except NotKnown as error:
            raise NotKnown(f"{symbol}: {error}") from None

    async def _matrix(self) -> Matrix:
        found = await self._store.get(k.DISCOVERED_CORRELATION_MATRIX.at())
        self.correlations = {}
        if found is None:
            return {}
        if any(len(row) != len(found.symbols) for row in (found.matrix, *found.matrix)):
            raise NotKnown("discovered:correlation_matrix has not one row and column a symbol")
        self.correlations = {
            (a, b): rho
            for a, row in zip(found.symbols, found.matrix, strict=True)
            for b, rho in zip(found.symbols, row, strict=True)
        }
        return self.correlations


def _mid(quote: ContractQuote) -> float | None:
    return (quote.bid + quote.ask) / 2 if quote.bid is not None and quote.ask is not None else None


def _measure(compute: Callable[[], float], now_ns: int) -> RiskMeasure:
    try:
        return RiskMeasure(round(compute(), 4), None, now_ns)
    except ValueError as error:  # NotKnown, or numpy's of a matrix without eigenvalues
        return RiskMeasure(None, str(error), now_ns)
