"""One look at the market a turn: quotes asked once however many clients and orders need them, with injected halts."""

from __future__ import annotations

from dataclasses import replace

from alphatrader.sandbox.market.types import Contract, Market, Quote


class Quotes:
    def __init__(self, market: Market) -> None:
        self._market = market
        self._cache: dict[int, Quote | None] = {}
        self.halts: dict[int, int] = {}  # injected tick-49 values by con_id, over the market's own

    def refresh(self) -> None:
        self._cache.clear()

    def get(self, con_id: int) -> Quote | None:
        if con_id in self._cache:
            return self._cache[con_id]
        quote = self._market.quote(con_id)
        if quote is not None and self.halts and con_id in self.halts:
            quote = replace(quote, halted=self.halts[con_id])
        self._cache[con_id] = quote
        return quote

    def halted(self, contract: Contract) -> bool:
        """An option is halted with its underlying."""
        quote = self.get(contract.con_id)
        if quote is not None and quote.halted > 0:
            return True
        if contract.sec_type == "OPT" and contract.under_con_id:
            under = self.get(contract.under_con_id)
            return under is not None and under.halted > 0
        return False

    def mark(self, con_id: int) -> float | None:
        """What a position is valued at: the middle of the market, else the last trade, else the previous close."""
        quote = self.get(con_id)
        if quote is None:
            return None
        if quote.bid is not None and quote.ask is not None:
            return (quote.bid + quote.ask) / 2
        if quote.last is not None:
            return quote.last
        if quote.ask is not None and quote.bid is None:
            return quote.ask / 2  # an option without a bid is worth something between nothing and its offer
        return quote.prev_close
