"""Who has which of the account's scarce subscriptions: opened, closed, mended, and what the broker says of one.

Used by `IBKRIngestion`. `core/market/slots.py` decides, `clients/ibkr/subscriptions.py` asks; this keeps the two in step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alphatrader.clients.ibkr import lookup
from alphatrader.clients.ibkr import subscriptions as broker
from alphatrader.clients.ibkr.option_names import OptionNames
from alphatrader.clients.ibkr.subscriptions import Kind, Subscription, Subscriptions
from alphatrader.contract.messages.market import OptionRef
from alphatrader.core.market.contracts import Instrument
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.core.market.slots import Allocation
from alphatrader.runtime.module import StreamModule

SILENT_SECONDS: Final = 15.0
"""In a session, a line silent this long is asked for anew; the wait doubles each time."""
MENDING: Final = "mend depth"
MEND_SECONDS: Final = 5.0
"""A broken book is asked for anew at once, then not more often than this; the wait doubles while it keeps breaking."""
MEND_MOST_SECONDS: Final = 80.0
LIMIT_PAUSE_SECONDS: Final = 2.0
"""After a refusal for want of lines or slots: long enough for the new limit to be obeyed first."""


class Lines:
    def __init__(
        self,
        module: StreamModule,
        instruments: Mapping[str, Instrument],
        feeds: Mapping[str, SymbolFeed],
        contracts: Mapping[str, lookup.Listed],
        names: OptionNames,
    ) -> None:
        market = module.settings.market
        self.wanted: tuple[list[OptionRef], list[OptionRef]] = ([], [])
        """What is held, and what is only asked for; all named by the broker."""
        self.options: dict[str, OptionFeed] = {}
        """Wanted options that have a line, by conId."""
        self.subscriptions: Subscriptions | None = None
        """Those of the present connection."""
        self._health, self._log = module.health, module.log
        self._clock, self._calendar = module.clock, module.calendar
        self._instruments, self._feeds, self._contracts, self._names = instruments, feeds, contracts, names
        self._full = [symbol for symbol, instrument in instruments.items() if instrument.full]
        pinned = [symbol for symbol in module.settings.strategies.zero_dte.symbols if symbol in self._full]
        slots: dict[str, int] = {Kind.DEPTH: market.depth_slots, Kind.TICKS: market.tick_slots}
        self._allocation = Allocation(market.market_data_lines, slots, pinned, self._full)
        self._silent: dict[str, tuple[float, int]] = {}
        self._mended: dict[str, tuple[float, float]] = {}
        """When each book was last asked for anew (monotonic seconds), and the wait set then."""

    # -- the connection --------------------------------------------------------------------------------------------------

    def begin(self, subscriptions: Subscriptions) -> None:
        """A new connection: nothing is subscribed on it yet."""
        self._allocation.forget_refusals()
        self.subscriptions = subscriptions

    def lose(self) -> None:
        """The connection is gone, and every subscription with it."""
        self.subscriptions = None
        for option in self.options.values():
            option.lost()
        self.options.clear()

    def renew(self, reason: str) -> None:
        """The broker has lost every subscription; the connection stands."""
        for feed in self._feeds.values():
            feed.gap(reason)
        for option in self.options.values():
            option.lost()
        if self.subscriptions is not None:
            self.subscriptions.reopen_all()

    def roll(self, symbol: str, reason: str) -> None:
        """Another contract stands for the symbol now: what was asked for the old one ends."""
        feed = self._feeds[symbol]
        if self.subscriptions is not None:
            for kind in Kind:
                self.subscriptions.close(kind, symbol)
        feed.set_depth(False)
        feed.set_ticks(False)
        feed.gap(reason)
        feed.bars.hole = True

    # -- who gets what ---------------------------------------------------------------------------------------------------

    def assign(self) -> None:
        """Gives lines and slots to who should have them now."""
        if self.subscriptions is None:
            return
        subscriptions, now = self.subscriptions, self._clock.monotonic()
        ready = [symbol for symbol in self._instruments if symbol in self._contracts]
        full = [symbol for symbol in ready if self._instruments[symbol].full]
        self._assign_lines(subscriptions, now, ready, full)
        for kind, switch in ((Kind.DEPTH, SymbolFeed.set_depth), (Kind.TICKS, SymbolFeed.set_ticks)):
            close, ask = self._allocation.slots(kind, self._contracts, subscriptions.names(kind), now)
            for symbol in close:
                subscriptions.close(kind, symbol)
                switch(self._feeds[symbol], False)
            for symbol in ask:
                switch(self._feeds[symbol], True)
                subscriptions.open(kind, symbol, self._contracts[symbol].contract, self._feeds[symbol])
        for symbol in full:
            if not subscriptions.is_open(Kind.BARS, symbol) and self._allocation.may_ask(Kind.BARS, symbol, now):
                subscriptions.open(Kind.BARS, symbol, self._contracts[symbol].contract, self._feeds[symbol])

    def _assign_lines(self, subscriptions: Subscriptions, now: float, ready: Sequence[str], full: Sequence[str]) -> None:
        held, asked = self.wanted
        refs = {str(ref.con_id): ref for ref in (*asked, *held)}
        order = (*(str(ref.con_id) for ref in held), *full, *(str(ref.con_id) for ref in asked), *ready)
        close, ask = self._allocation.lines(order, subscriptions.names(Kind.QUOTE), now)
        for name in close:
            subscriptions.close(Kind.QUOTE, name)
            self.options.pop(name, None)
        for name in ask:
            if name in self._feeds:
                subscriptions.open(Kind.QUOTE, name, self._contracts[name].contract, self._feeds[name], self._generic_ticks(name))
            else:
                feed = OptionFeed(refs[name], int(name), self._clock.market_ns, self._clock.machine_ns, self._clock.monotonic)
                self.options[name] = feed
                subscriptions.open(Kind.QUOTE, name, lookup.by_con_id(int(name)), feed)

    def _generic_ticks(self, symbol: str) -> str:
        instrument = self._instruments[symbol]
        if not instrument.full:
            return ""
        return broker.EQUITY_TICKS if instrument.kind == "equity" else broker.FUTURE_TICKS

    # -- what the broker says of one, and what it does not say -----------------------------------------------------------

    def on_error(self, subscriptions: Subscriptions, s: Subscription, code: int, text: str) -> None:
        feed = self._feeds.get(s.name)
        if code == broker.RESET:
            if feed is not None:
                feed.gap(f"{code}: depth reset", depth_only=True)
        elif code in broker.ASK_AGAIN:
            if feed is not None and s.kind == Kind.DEPTH:
                feed.depth_broken = f"{code}: {text}"
            else:
                subscriptions.reopen(s.kind, s.name)
        elif code in broker.LIMITS or code in broker.REFUSED:
            subscriptions.forget(s)
            now = self._clock.monotonic()
            if code in broker.LIMITS:
                self._allocation.limit_reached(s.kind, subscriptions.counts().get(s.kind, 0), now)
                self._allocation.refused(s.kind, s.name, now, retry_seconds=LIMIT_PAUSE_SECONDS)
            else:
                self._allocation.refused(s.kind, s.name, now)
            if self.options.pop(s.name, None) is not None and code == broker.UNKNOWN_CONTRACT:
                self._names.forget(int(s.name))
            if feed is not None and s.kind == Kind.DEPTH:
                feed.set_depth(False)
            if feed is not None and s.kind == Kind.TICKS:
                feed.set_ticks(False)
        elif code == broker.COMPETING:
            self._health.count("competing_session")

    def mend(self, now: float) -> None:
        """Asks anew for what is broken, and for what is silent though the market is open. `now`: monotonic seconds."""
        if self.subscriptions is None:
            return
        subscriptions, in_session = self.subscriptions, self._calendar.at(self._clock.market_ns()) is not None
        for symbol, feed in self._feeds.items():
            if feed.depth_broken and self._allocation.may_ask(MENDING, symbol, now):
                asked_at, waited = self._mended.get(symbol, (float("-inf"), 0.0))
                wait = min(2 * waited, MEND_MOST_SECONDS) if now - asked_at <= 4 * waited else MEND_SECONDS
                self._mended[symbol] = (now, wait)
                self._allocation.refused(MENDING, symbol, now, retry_seconds=wait)
                feed.gap(f"depth resubscribed: {feed.depth_broken}", depth_only=True)
                subscriptions.reopen(Kind.DEPTH, symbol)
            if feed.ticks_broken:
                self._health.count("ticks_dead")
                subscriptions.close(Kind.TICKS, symbol)
                feed.set_ticks(False)
                self._allocation.refused(Kind.TICKS, symbol, now)
            if feed.alive(now) or not in_session or not subscriptions.is_open(Kind.QUOTE, symbol):
                self._silent.pop(symbol, None)
                continue
            since, times = self._silent.setdefault(symbol, (now, 0))
            if now - since > max(SILENT_SECONDS, feed.quiet_seconds) * 2**times:
                self._silent[symbol] = (now, min(times + 1, 5))
                self._log.warning("silent_line", symbol=symbol, times=times + 1)
                feed.gap("silent: resubscribed")
                for kind in Kind:
                    subscriptions.reopen(kind, symbol)
