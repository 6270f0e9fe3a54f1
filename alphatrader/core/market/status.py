"""What stops or bends trading in one instrument: its halts, its bands, the market-wide breakers, its closing auction.

Folded from ticks and prints by `SymbolFeed`, published in `market:{symbol}:status`. Instants are market nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from alphatrader.contract.messages.market import Breaker, Imbalance, Luld, Status
from alphatrader.core.market.auctions import closing
from alphatrader.core.market.breakers import PROXIES, MarketBreaker
from alphatrader.core.market.futures import EVENING_NS
from alphatrader.core.market.halts import VOLATILITY, Halts
from alphatrader.core.market.luld import LuldEstimate, Security, pause_ends_ns
from alphatrader.core.market.quotes import QuoteFold

EVEN: Final = Security(tier=1)
SECURITIES: Final = {"VXX": Security(tier=1)}
"""Who is no stock of the S&P 500 or the Russell 1000. VXX is a listed exchange-traded product, liquid and without leverage: such
are Tier 1, too (sources.md §7). A leveraged one, or a stock of neither index, needs a line here."""
SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
SILENT_NS: Final = 60 * SECOND_NS
"""A proxy that says nothing for so long is not looked to while the next one speaks: the index is told every second."""
_AUCTION: Final = {
    "auction_imbalance": "shares",
    "regulatory_imbalance": "regulatory_shares",
    "auction_price": "price",
    "auction_volume": "paired",
}
"""What the quotes' fold calls it -> what the closing auction does."""


class Hours(NamedTuple):
    """One session, shortened where the day is."""

    name: str
    open_ns: int
    close_ns: int


class HoursStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    known: Hours | None
    until_ns: int


class HoursNow:
    """The session that an instant belongs to, looked up once a second of market time at most. Without `look_up` there is none,
    and every instant is in regular hours."""

    def __init__(self, look_up: Callable[[int], Hours | None] | None) -> None:
        self._look_up = look_up
        self._known: Hours | None = None
        self._until_ns = 0

    def standing(self) -> HoursStand:
        return HoursStand(self._known, self._until_ns)

    def stand_as(self, was: HoursStand) -> None:
        self._known, self._until_ns = was.known, was.until_ns

    def at(self, now_ns: int) -> Hours | None:
        if self._look_up is not None and not self._until_ns - SECOND_NS <= now_ns < self._until_ns:
            self._known, self._until_ns = self._look_up(now_ns), now_ns + SECOND_NS
        return self._known

    def regular(self, now_ns: int) -> bool:
        hours = self.at(now_ns)
        return hours is None or hours.open_ns <= now_ns < hours.close_ns


class TradeDate:
    """The session that a future's day is named by: from the evening before on. Looked up once an hour: it begins with one."""

    def __init__(self, look_up: Callable[[int], Hours | None] | None) -> None:
        self._look_up = look_up
        self._hour, self._name = -1, ""

    def at(self, now_ns: int) -> str:
        """Its name; empty where none is known."""
        hour = (now_ns + EVENING_NS) // HOUR_NS
        if hour != self._hour:
            day = None if self._look_up is None else self._look_up(now_ns + EVENING_NS)
            self._hour, self._name = hour, day.name if day else ""
        return self._name


class MarketWide:
    """The breakers of all instruments of one process: fed by the proxies, read by every feed."""

    def __init__(self) -> None:
        self._session = ""
        self._breakers: dict[str, MarketBreaker] = {}
        """By proxy, of that session."""
        self._seen_ns: dict[str, int] = {}

    def see(self, symbol: str, ts_ns: int, price: float, previous_close: float | None, hours: Hours | None) -> None:
        """A price of a proxy. Nothing begins before the open: until then the broker's previous close may be that of the day
        before."""
        if symbol not in PROXIES or hours is None or ts_ns < hours.open_ns:
            return
        if hours.name != self._session:
            self._session, self._breakers, self._seen_ns = hours.name, {}, {}
        breaker = self._breakers.get(symbol)
        if breaker is None:
            if not previous_close or previous_close <= 0:
                return
            breaker = self._breakers[symbol] = MarketBreaker(symbol, previous_close, (hours.open_ns, hours.close_ns))
        self._seen_ns[symbol] = ts_ns
        breaker.see(ts_ns, price)

    def state(self, now_ns: int, hours: Hours | None) -> Breaker | None:
        """The first of PROXIES that speaks stands for the index, and goes on to while it halts, when none speaks; what another
        reached does not count. None where none has spoken in that session: a day that ended says nothing of the next."""
        if hours is not None and hours.name != self._session:
            return None
        states = [self._breakers[proxy].state(now_ns) for proxy in PROXIES if proxy in self._breakers]
        for state in states:
            if state.day_over or state.halted_until_ns is not None or now_ns - self._seen_ns[state.proxy] <= SILENT_NS:
                return state
        return states[0] if states else None


class InstrumentStatus:
    def __init__(self, symbol: str, market_wide: MarketWide, *, equity: bool) -> None:
        self.halts = Halts()
        self._symbol, self._market_wide, self._equity = symbol, market_wide, equity
        self._is_proxy = symbol in PROXIES
        self._luld: LuldEstimate | None = None
        self._luld_of: tuple[str, float] | None = None
        self._auction_told_ns: dict[str, int] = {}

    def tell_auction(self, name: str, now_ns: int) -> None:
        """A value of an auction came: under its name in the quotes' fold."""
        self._auction_told_ns[_AUCTION[name]] = now_ns

    def tell_halt(self, value: float, now_ns: int, hours: Hours | None) -> bool:
        """Tick 49; True when the state changed."""
        stood = self.halts.since_ns is not None
        changed = self.halts.tell(value, now_ns, hours.name if hours else None)
        if stood and self.halts.halted is False and self._luld is not None:
            self._luld.restart()
        return changed

    def printed(
        self,
        ts_ns: int,
        price: float,
        previous_close: float | None,
        hours: Hours | None,
        quote: tuple[float | None, float | None] = (None, None),
    ) -> None:
        """A print that sets the last price, or an index's value. `quote`: before it. The index it stands for is moved no further
        than that: one print through it is one venue's mistake, and would stop all shares."""
        if self._is_proxy:
            bid, ask = quote
            at_quote = min(max(price, bid), ask) if bid is not None and ask is not None and bid < ask else price
            self._market_wide.see(self._symbol, ts_ns, at_quote, previous_close, hours)
        if not self._equity or hours is None or not previous_close or previous_close <= 0:
            return
        if self._luld is None or self._luld_of != (hours.name, previous_close):
            security = SECURITIES.get(self._symbol, EVEN)
            self._luld = LuldEstimate(security, previous_close, (hours.open_ns, hours.close_ns))
            self._luld_of = (hours.name, previous_close)
        self._luld.add(ts_ns, price)

    def message(
        self,
        ts_ns: int,
        now_ns: int,
        hours: Hours | None,
        quote: QuoteFold,
        *,
        depth: Literal["ready", "not ready", "none"],
        depth_reason: str | None,
        prints: Literal["tick_by_tick", "quote_line", "none"],
    ) -> Status:
        """All of it at `now_ns`. A breaker we estimate stops stocks like a halt, and says that it is our estimate; futures have
        their exchange's own limits and are not stopped by it."""
        halts, breaker, luld = self.halts, self._market_wide.state(now_ns, hours), self._bands(now_ns, quote)
        stopped = self._equity and breaker is not None and (breaker.day_over or breaker.halted_until_ns is not None)
        reason: str | None = None
        if halts.halted:
            reason = f"the broker says: {'volatility pause' if halts.code == VOLATILITY else 'general halt'}"
        elif stopped and breaker is not None:
            until = "the day is over" if breaker.day_over else "15 minutes"
            reason = f"our estimate from {breaker.proxy}: market-wide breaker level {breaker.level}, {until}"
        elif halts.halted is None:
            reason = "the broker has not said whether it trades"
        return Status(
            symbol=self._symbol,
            ts_ns=ts_ns,
            halted=True if stopped else halts.halted,
            halt_code=halts.code,
            halted_by="broker" if halts.halted else "estimate" if stopped else None,
            halt_reason=reason,
            halted_since_ns=halts.since_ns if halts.halted else None,
            pause_ends_ns=self._pause_ends(hours, luld),
            auction_imbalance=quote.auction_imbalance,
            auction_price=quote.auction_price,
            auction_volume=quote.auction_volume,
            state=halts.state(now_ns),
            halts_today=halts.count(hours.name if hours else None),
            luld=luld,
            breaker=breaker,
            closing=self._closing(now_ns, hours, quote),
            depth=depth,
            depth_reason=depth_reason,
            prints=prints,
        )

    def _pause_ends(self, hours: Hours | None, luld: Luld | None) -> int | None:
        if hours is None or not self._equity:
            return None
        if self.halts.code == VOLATILITY and self.halts.since_ns is not None:
            return pause_ends_ns(self.halts.since_ns, hours.close_ns)
        if luld is not None and luld.pause_due_ns is not None:
            return pause_ends_ns(luld.pause_due_ns, hours.close_ns)
        return None

    def _bands(self, now_ns: int, quote: QuoteFold) -> Luld | None:
        """None in a halt: no band is in force, and orders that gather beyond the last ones are no limit state."""
        return None if self._luld is None or self.halts.halted else self._luld.estimate(now_ns, quote.bid, quote.ask)

    def _closing(self, now_ns: int, hours: Hours | None, quote: QuoteFold) -> Imbalance | None:
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
            told_ns=self._auction_told_ns,
        )
