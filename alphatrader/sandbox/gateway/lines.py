"""One top-of-book line (reqMktData): turns quotes into the ticks that changed since its client last heard.

Owned by `data.py`, which decides when a line is due: every 250 ms, US options every 100 ms, as the broker samples them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alphatrader.sandbox.gateway import layouts
from alphatrader.sandbox.gateway.contracts import SMART_COMPONENTS
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import number
from alphatrader.sandbox.market.types import Auction, Contract, Print, Quote

NS = 10**9
SAMPLE_NS = 250_000_000
OPTION_SAMPLE_NS = 100_000_000
LETTERS = {exchange: letter for _, exchange, letter in SMART_COMPONENTS}


@dataclass(slots=True)
class Line:
    """One reqMktData subscription; `sent` is what its client last heard, by tick type."""

    session: Session
    req_id: int
    contract: Contract
    generic: frozenset[str]
    sent: dict[int, Any] = field(default_factory=dict)
    due_ns: int = 0
    pending: bool = False

    @property
    def con_id(self) -> int:
        return self.contract.con_id

    @property
    def interval_ns(self) -> int:
        return OPTION_SAMPLE_NS if self.contract.sec_type == "OPT" else SAMPLE_NS

    def show(self, quote: Quote) -> None:
        """Send what differs from what was sent."""
        self._side(1, 0, 32, quote.bid, quote.bid_size, quote.bid_exchanges)
        self._side(2, 3, 33, quote.ask, quote.ask_size, quote.ask_exchanges)
        self._last(quote)
        for tick, price in ((14, quote.open), (6, quote.high), (7, quote.low), (9, quote.prev_close)):
            if price is not None and self._changed(tick, price):
                self.session.send(layouts.tick_price(self.req_id, tick, price, 0))
        if self._changed(8, quote.volume):
            self.session.send(layouts.tick_size(self.req_id, 8, quote.volume))
        if self._changed(49, quote.halted):
            self.session.send(layouts.tick_generic(self.req_id, 49, quote.halted))
        if "293" in self.generic and self._changed(54, quote.trade_count):
            self.session.send(layouts.tick_generic(self.req_id, 54, quote.trade_count))
        if self.contract.sec_type == "OPT":
            self._option(quote)

    def _changed(self, tick: int, value: Any) -> bool:
        if self.sent.get(tick) == value:
            return False
        self.sent[tick] = value
        return True

    def _side(self, price_tick: int, size_tick: int, exchange_tick: int, price: float | None, size: int, exchanges: str) -> None:
        """A side that does not exist is price -1 and size 0, as the broker says it."""
        price, size = (-1.0, 0) if price is None else (price, size)
        new_size = self._changed(size_tick, size)
        if self._changed(price_tick, price):
            self.session.send(layouts.tick_price(self.req_id, price_tick, price, size, 1))
        if new_size:
            self.session.send(layouts.tick_size(self.req_id, size_tick, size))
        if exchanges and self._changed(exchange_tick, exchanges):
            self.session.send(layouts.tick_string(self.req_id, exchange_tick, exchanges))

    def _last(self, quote: Quote) -> None:
        if quote.last is None or not self._changed(45, quote.last_ts_ns):
            return
        self.session.send(layouts.tick_price(self.req_id, 4, quote.last, quote.last_size))
        self.session.send(layouts.tick_size(self.req_id, 5, quote.last_size))
        self.session.send(layouts.tick_string(self.req_id, 45, str(quote.last_ts_ns // NS)))
        letter = LETTERS.get(quote.last_exchange, quote.last_exchange)
        if letter and self._changed(84, letter):
            self.session.send(layouts.tick_string(self.req_id, 84, letter))

    def _option(self, quote: Quote) -> None:
        """Computations 10 bid, 11 ask, 12 last, 13 model. The market gives one volatility, at its middle; the others
        are it moved by their distance in price over vega (vega is per volatility point)."""
        middle = None if quote.bid is None or quote.ask is None else (quote.bid + quote.ask) / 2
        model = middle if middle is not None else quote.last
        for tick, price in ((10, quote.bid), (11, quote.ask), (12, quote.last), (13, model)):
            volatility = quote.implied_vol
            if volatility is not None and price is not None and model is not None and price != model and (quote.vega or 0) > 1e-4:
                volatility = max(0.0001, round(volatility + (price - model) / (quote.vega or 1) / 100, 6))
            greeks = (quote.delta, quote.gamma, quote.vega, quote.theta)
            if price is None or not self._changed(-tick, (price, volatility, greeks, quote.under_price)):
                continue
            delta, gamma, vega, theta = greeks
            self.session.send(
                layouts.tick_option(self.req_id, tick, volatility, delta, price, gamma, vega, theta, quote.under_price)
            )
        if "101" in self.generic and quote.open_interest is not None:
            tick = 27 if self.contract.right == "C" else 28
            if self._changed(tick, quote.open_interest):
                self.session.send(layouts.tick_size(self.req_id, tick, quote.open_interest))
        if "106" in self.generic and quote.implied_vol is not None and self._changed(24, quote.implied_vol):
            self.session.send(layouts.tick_generic(self.req_id, 24, quote.implied_vol))

    def trades(self, prints: list[Print], quote: Quote) -> None:
        """All prints of a turn; the running volume of each ends at the quote's."""
        volume = quote.volume - sum(print_.size for print_ in prints)
        for print_ in prints:
            volume += print_.size
            self._trade(print_, volume, quote.vwap)

    def _trade(self, print_: Print, volume: int, vwap: float) -> None:
        """RTVolume (233) for reported prints, RT trade volume (375) likewise without unreported ones."""
        text = f"{number(print_.price)};{print_.size};{print_.ts_ns // 1_000_000};{volume};{vwap:.8f};true"
        if "233" in self.generic:
            self.session.send(layouts.tick_string(self.req_id, 48, text))
        if "375" in self.generic and not print_.unreported:
            self.session.send(layouts.tick_string(self.req_id, 77, text))

    def auction(self, auction: Auction) -> None:
        if "225" not in self.generic:
            return
        if self._changed(35, auction.price):
            self.session.send(layouts.tick_price(self.req_id, 35, auction.price, 0))
        for tick, size in ((34, auction.volume), (36, auction.imbalance), (61, auction.regulatory_imbalance)):
            if self._changed(tick, size):
                self.session.send(layouts.tick_size(self.req_id, tick, size))
