"""What stops or bends trading in one instrument: its halts, its bands, the market-wide breakers, its closing auction.

Folded from ticks and prints by `SymbolFeed`, published in `market:{symbol}:status`. Instants are market nanoseconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from alphatrader.contract.messages.market import Breaker, Imbalance, Luld
from alphatrader.core.market.auctions import closing
from alphatrader.core.market.breakers import PROXIES, MarketBreaker
from alphatrader.core.market.halts import Halts
from alphatrader.core.market.luld import LuldEstimate, Security
from alphatrader.core.market.quotes import QuoteFold

EVEN: Final = Security(tier=1)
SECURITIES: Final = {"VXX": Security(tier=2)}
"""Who is not an even Tier 1: VXX is a note on futures of volatility, unleveraged, outside the list of Tier 1 products."""


class Hours(NamedTuple):
    """One session, shortened where the day is."""

    name: str
    open_ns: int
    close_ns: int


class MarketWide:
    """The breakers of all instruments of one process: fed by the proxy, read by every feed."""

    def __init__(self) -> None:
        self._breaker: MarketBreaker | None = None
        self._of: tuple[str, str] | None = None

    def see(self, symbol: str, ts_ns: int, price: float, previous_close: float | None, hours: Hours | None) -> None:
        """The first of PROXIES that is quoted today stands for the index; what another reached does not count."""
        if symbol not in PROXIES or hours is None or not previous_close or previous_close <= 0:
            return
        if self._of is None or self._of[1] != hours.name or PROXIES.index(symbol) < PROXIES.index(self._of[0]):
            self._of = (symbol, hours.name)
            self._breaker = MarketBreaker(symbol, previous_close, (hours.open_ns, hours.close_ns))
        if self._breaker is not None and self._of[0] == symbol:
            self._breaker.see(ts_ns, price)

    def state(self, now_ns: int) -> Breaker | None:
        return None if self._breaker is None else self._breaker.state(now_ns)


class InstrumentStatus:
    def __init__(self, symbol: str, market_wide: MarketWide, *, equity: bool) -> None:
        self.halts = Halts()
        self._symbol, self._market_wide, self._equity = symbol, market_wide, equity
        self._luld: LuldEstimate | None = None
        self._luld_of: tuple[str, float] | None = None

    def tell_halt(self, value: float, now_ns: int, hours: Hours | None) -> bool:
        """Tick 49; True when the state changed."""
        halted_before = self.halts.halted
        changed = self.halts.tell(value, now_ns, hours.name if hours else None)
        if halted_before and self.halts.halted is False and self._luld is not None:
            self._luld.restart()
        return changed

    def printed(self, ts_ns: int, price: float, previous_close: float | None, hours: Hours | None) -> None:
        """A print that sets the last price."""
        self._market_wide.see(self._symbol, ts_ns, price, previous_close, hours)
        if not self._equity or hours is None or not previous_close or previous_close <= 0:
            return
        if self._luld is None or self._luld_of != (hours.name, previous_close):
            security = SECURITIES.get(self._symbol, EVEN)
            self._luld = LuldEstimate(security, previous_close, (hours.open_ns, hours.close_ns))
            self._luld_of = (hours.name, previous_close)
        self._luld.add(ts_ns, price)

    def luld(self, now_ns: int, bid: float | None, ask: float | None) -> Luld | None:
        return None if self._luld is None else self._luld.estimate(now_ns, bid, ask)

    def breaker(self, now_ns: int) -> Breaker | None:
        return self._market_wide.state(now_ns)

    def closing(self, now_ns: int, hours: Hours | None, quote: QuoteFold) -> Imbalance | None:
        if not self._equity or hours is None or now_ns < hours.open_ns:
            return None
        return closing(
            self._symbol,
            now_ns,
            hours.close_ns,
            shares=quote.auction_imbalance,
            regulatory_shares=quote.regulatory_imbalance,
            price=quote.auction_price,
            paired=quote.auction_volume,
        )
