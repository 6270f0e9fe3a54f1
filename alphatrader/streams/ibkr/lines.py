"""Who has which of the account's scarce subscriptions: opened, closed, proven by data, mended, given up.

Used by `IBKRIngestion`. `core/market/slots.py` decides, `clients/ibkr/subscriptions.py` asks; this keeps the two in step.
`answers.py` calls it with what the broker's codes mean. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from alphatrader.clients.ibkr import lookup
from alphatrader.clients.ibkr import subscriptions as broker
from alphatrader.clients.ibkr.option_names import OptionNames
from alphatrader.clients.ibkr.subscriptions import Kind, Subscription, Subscriptions
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.core.market.contracts import Instrument
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.proof import given_up, is_due
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.core.market.slots import BARS, LINES, URGENT, Allocation
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.ibkr.contracts import Contracts

MENDING: Final = "mend"
MEND_SECONDS: Final = 5.0
"""A broken book is asked for anew at once, then not more often than this; the wait doubles while it keeps breaking."""
MEND_MOST_SECONDS: Final = 80.0
LIMIT_PAUSE_SECONDS: Final = 2.0
"""After a refusal for want of lines or slots: long enough for the new limit to be obeyed first."""
RESTING_SECONDS: Final = 60.0
"""A book, and bars, that have proven themselves may rest so long while their quote line speaks."""
SWITCH: Final[dict[Kind, Callable[[SymbolFeed, bool], None]]] = {
    Kind.DEPTH: lambda feed, on: feed.set_depth(on),
    Kind.MAKERS: lambda feed, on: feed.set_makers(on),
    Kind.TICKS: lambda feed, on: feed.set_ticks(on),
}


class Lines:
    def __init__(
        self,
        module: StreamModule,
        instruments: Mapping[str, Instrument],
        feeds: Mapping[str, SymbolFeed],
        contracts: Contracts,
        names: OptionNames,
    ) -> None:
        market = module.settings.market
        self.wanted: tuple[list[OptionRef], list[OptionRef]] = ([], [])
        """What is held, and what is only asked for; all named by the broker."""
        self.nearness: dict[str, float] = {}
        """How near each underlying is to a signal, 0 to 1, as `wanted:{module}` says."""
        self.options: dict[str, OptionFeed] = {}
        """Wanted options that have a line, by conId."""
        self.stirred: list[OptionFeed] = []
        """Those whose quote differs from what was last written; for the publisher, who empties it."""
        self._subscriptions: Subscriptions | None = None
        self._health, self._log = module.health, module.log
        self._clock, self._calendar, self._market = module.clock, module.calendar, market
        self._instruments, self._feeds, self._contracts, self._names = instruments, feeds, contracts, names
        full = sum(instrument.full for instrument in instruments.values())
        self._allocation = Allocation(
            {LINES: market.market_data_lines, BARS: full},
            {
                Kind.DEPTH: market.depth_slots - market.maker_slots,
                Kind.MAKERS: market.maker_slots,
                Kind.TICKS: market.tick_slots,
            },
            market.pinned,
        )
        self._refusals: dict[tuple[str, str], str] = {}
        """Why the broker gives something nothing, until it does."""
        self._mended: dict[tuple[Kind, str], tuple[float, float]] = {}
        """When each book was last asked for anew, and the wait set then."""

    # -- the connection --------------------------------------------------------------------------------------------------

    def begin(self, subscriptions: Subscriptions) -> None:
        """A new connection: nothing is subscribed on it yet."""
        self._allocation.forget_refusals()
        self._refusals.clear()
        self._subscriptions = subscriptions

    @property
    def subscriptions(self) -> Subscriptions | None:
        """Those of the present connection; none on a socket that is gone, some turns before the connection says so."""
        return self._subscriptions if self._subscriptions is not None and self._subscriptions.connected else None

    def lose(self) -> None:
        """The connection is gone, and every subscription with it."""
        self._subscriptions = None
        self.silence()
        self.options.clear()

    def silence(self) -> None:
        """Nothing that was heard is to be renewed until data come again."""
        for feed in self._feeds.values():
            feed.silenced()
        for option in self.options.values():
            option.silenced()

    def renew(self, reason: str, at: float, *, lost: bool) -> None:
        """Every subscription is asked for anew; the connection stands. `lost`: the broker has none of them any more; else each is
        cancelled first, or it would count against the account's limits twice."""
        for feed in self._feeds.values():
            feed.gap(reason)
        for option in self.options.values():
            option.lost()
        if self.subscriptions is None:
            return
        if lost:
            self.subscriptions.reopen_all(at)
            return
        for s in self.subscriptions:
            self.subscriptions.reopen(s.kind, s.name, at=at, tries=s.tries)

    def doubt(self, at: float) -> None:
        """The subscriptions may all be dead: each must prove itself by data."""
        if self.subscriptions is not None:
            self.subscriptions.doubt(at)

    def roll(self, symbol: str, reason: str) -> None:
        """Another contract stands for the symbol now: what was asked for the old one ends."""
        feed = self._feeds[symbol]
        if self.subscriptions is not None:
            for kind in Kind:
                self.subscriptions.close(kind, symbol)
        for switch in SWITCH.values():
            switch(feed, False)
        feed.gap(reason)
        feed.bars.hole = True

    # -- who gets what ---------------------------------------------------------------------------------------------------

    def assign(self, at: float) -> None:
        """Gives lines and slots to who should have them now."""
        if self.subscriptions is None:
            return
        subscriptions, listed = self.subscriptions, self._contracts.listed
        ready = [symbol for symbol in self._instruments if symbol in listed]
        full = [symbol for symbol in ready if self._instruments[symbol].full]
        self._assign_lines(subscriptions, at, ready, full)
        nearness = self.nearness | {ref.symbol: URGENT for ref in self.wanted[0]}
        equities = [symbol for symbol in full if self._instruments[symbol].kind == "equity"]
        for kind, switch in SWITCH.items():
            of = equities if kind == Kind.MAKERS else full
            close, ask = self._allocation.slots(kind, of, subscriptions.names(kind), at, nearness)
            for symbol in close:
                subscriptions.close(kind, symbol)
                switch(self._feeds[symbol], False)
            for symbol in ask:
                feed, contract = self._feeds[symbol], listed[symbol].contract
                switch(feed, True)
                if kind == Kind.MAKERS:
                    own = broker.on_exchange(contract, self._market.maker_exchange)
                    subscriptions.open(kind, symbol, own, feed.makers, at=at)
                else:
                    subscriptions.open(kind, symbol, contract, feed, at=at)
        close, ask = self._allocation.bars(full, subscriptions.names(Kind.BARS), at)
        for symbol in close:
            subscriptions.close(Kind.BARS, symbol)
        for symbol in ask:
            subscriptions.open(Kind.BARS, symbol, listed[symbol].contract, self._feeds[symbol], at=at)

    def _assign_lines(self, subscriptions: Subscriptions, at: float, ready: Sequence[str], full: Sequence[str]) -> None:
        held, asked = self.wanted
        refs = {str(ref.con_id): ref for ref in (*asked, *held)}
        order = (*(str(ref.con_id) for ref in held), *full, *(str(ref.con_id) for ref in asked), *ready)
        close, ask = self._allocation.lines(order, subscriptions.names(Kind.QUOTE), at)
        for name in close:
            subscriptions.close(Kind.QUOTE, name)
            self.options.pop(name, None)
        for name in ask:
            if name in self._feeds:
                contract, generic = self._contracts.listed[name].contract, self._generic_ticks(name)
                subscriptions.open(Kind.QUOTE, name, contract, self._feeds[name], generic, at=at)
            else:
                clock = self._clock
                feed = OptionFeed(refs[name], int(name), clock.market_ns, clock.machine_ns, clock.monotonic, self.stirred)
                self.options[name] = feed
                subscriptions.open(Kind.QUOTE, name, lookup.by_con_id(int(name)), feed, at=at)

    def _generic_ticks(self, symbol: str) -> str:
        instrument = self._instruments[symbol]
        if not instrument.full:
            return ""
        return broker.EQUITY_TICKS if instrument.kind == "equity" else broker.FUTURE_TICKS

    # -- what the broker says of one -------------------------------------------------------------------------------------

    def reset_book(self, s: Subscription, why: str) -> None:
        if (feed := self._feeds.get(s.name)) is not None:
            _lose_depth(feed, s.kind, why)

    def ask_again(self, s: Subscription, why: str, at: float) -> None:
        """This one is dead. Depth waits its turn to be mended, the rest is asked for at once."""
        feed = self._feeds.get(s.name)
        if feed is not None and s.kind == Kind.DEPTH:
            feed.break_depth(why)
        elif feed is not None and s.kind == Kind.MAKERS:
            feed.break_makers(why)
        elif self.subscriptions is not None:
            self.subscriptions.reopen(s.kind, s.name, at=at)

    def limit_reached(self, s: Subscription, why: str, at: float) -> None:
        """The account gives no more of this kind."""
        self._end(s, why)
        if self.subscriptions is not None:
            self._allocation.limit_reached(s.kind, self.subscriptions.counts().get(s.kind, 0), at)
        self._allocation.refused(s.kind, s.name, at, retry_seconds=LIMIT_PAUSE_SECONDS)

    def refuse(self, s: Subscription, why: str, at: float, *, cancel: bool = False) -> None:
        """This request gives nothing, or nothing that is wanted."""
        if cancel and self.subscriptions is not None:
            self.subscriptions.close(s.kind, s.name)
        self._end(s, why)
        self._allocation.refused(s.kind, s.name, at)

    def unknown(self, s: Subscription, why: str, at: float) -> None:
        """The broker knows no such contract any more."""
        self.refuse(s, why, at)
        if s.name in self._feeds:
            self._contracts.forget(s.name)
        else:
            self._names.forget(int(s.name))

    def _end(self, s: Subscription, why: str) -> None:
        if self.subscriptions is not None:
            self.subscriptions.forget(s)
        self._refusals[s.kind, s.name] = why
        self.options.pop(s.name, None)
        feed = self._feeds.get(s.name)
        if feed is not None and s.kind in SWITCH:
            SWITCH[s.kind](feed, False)

    # -- what it does not say --------------------------------------------------------------------------------------------

    def mend(self, at: float) -> None:
        """Asks anew for what is broken, and for what gives no data though the market is open."""
        if self.subscriptions is None:
            return
        subscriptions, in_session = self.subscriptions, self._calendar.at(self._clock.market_ns()) is not None
        subscriptions.look(at)
        proven: dict[Kind, int] = dict.fromkeys(Kind, 0)
        for s in sorted(subscriptions, key=lambda s: s.kind != Kind.QUOTE):  # a dead quote line takes the others with it
            if s.heard_at is not None:
                proven[s.kind] += 1
                self._refusals.pop((s.kind, s.name), None)
                self._allocation.answered(s.kind, s.name)
            if not in_session:
                s.asked_at = at
            elif s.kind != Kind.TICKS and subscriptions.by_id(s.req_id) is s and self._is_due(s, at):
                self._renew_one(subscriptions, s, at)
        for kind, number in proven.items():
            self._allocation.granted(kind, number, at)
        for symbol, feed in self._feeds.items():
            for kind, why in ((Kind.DEPTH, feed.depth_broken), (Kind.MAKERS, feed.makers.broken)):
                if why:
                    self._mend_depth(subscriptions, kind, symbol, why, at)
            if feed.ticks.broken:
                self._health.count("ticks_dead")
                subscriptions.close(Kind.TICKS, symbol)
                feed.set_ticks(False)
                self._allocation.refused(Kind.TICKS, symbol, at)

    def _is_due(self, s: Subscription, at: float) -> bool:
        feed = self._feeds.get(s.name)
        quiet = self._market.quiet_seconds if feed is None else feed.quiet_seconds
        if s.kind != Kind.QUOTE and s.heard_at is not None:
            quiet = max(quiet, RESTING_SECONDS)
        return is_due(s.asked_at, s.heard_at, s.tries, quiet, at)

    def _renew_one(self, subscriptions: Subscriptions, s: Subscription, at: float) -> None:
        """No data came on it for too long. A quote line that is dead takes all others of its symbol for dead."""
        feed, tries = self._feeds.get(s.name), s.tries + 1
        self._health.count("asked_again")
        self._log.warning("no_data", name=s.name, kind=str(s.kind), tries=tries)
        if s.kind == Kind.QUOTE:
            if feed is not None:
                feed.gap("silent: resubscribed")
            elif (option := self.options.get(s.name)) is not None:
                option.lost()
            for kind in Kind:
                subscriptions.reopen(kind, s.name, at=at, tries=tries)
            return
        if feed is not None and s.kind in broker.DEPTHS:
            _lose_depth(feed, s.kind, "depth silent: resubscribed")
        subscriptions.reopen(s.kind, s.name, at=at, tries=tries)

    def _mend_depth(self, subscriptions: Subscriptions, kind: Kind, symbol: str, why: str, at: float) -> None:
        if not self._allocation.may_ask(f"{MENDING} {kind}", symbol, at):
            return
        asked_at, waited = self._mended.get((kind, symbol), (float("-inf"), 0.0))
        wait = min(2 * waited, MEND_MOST_SECONDS) if at - asked_at <= 4 * waited else MEND_SECONDS
        self._mended[kind, symbol] = (at, wait)
        self._allocation.refused(f"{MENDING} {kind}", symbol, at, retry_seconds=wait)
        _lose_depth(self._feeds[symbol], kind, f"depth resubscribed: {why}")
        subscriptions.reopen(kind, symbol, at=at)

    # -- what to tell ----------------------------------------------------------------------------------------------------

    def unproven(self) -> list[str]:
        """What gives no data though it was asked for again. Prints and bars may be missing where nothing trades: no fault."""
        judged = (Kind.QUOTE, *broker.DEPTHS)
        silent = (s for s in self.subscriptions or () if s.heard_at is None and given_up(s.tries))
        return [f"{s.name} {s.kind}" for s in silent if s.kind in judged]

    def learnt(self, at: float) -> dict[str, int]:
        """How many of each kind the account is believed to have."""
        return {str(kind): number for kind, number in self._allocation.learnt(at).items()}

    def stale(self, at: float) -> dict[str, str]:
        """Why each silent instrument is silent, as far as its subscriptions tell."""
        return {symbol: self._why_stale(symbol, at) for symbol, feed in self._feeds.items() if not feed.alive(at)}

    def _why_stale(self, symbol: str, at: float) -> str:
        if symbol not in self._contracts.listed:
            return "the broker lists no contract" if symbol in self._contracts.answered else "its contract is asked for"
        if (why := self._refusals.get((Kind.QUOTE, symbol))) is not None:
            return f"refused, {why}"
        s = self.subscriptions.get(Kind.QUOTE, symbol) if self.subscriptions is not None else None
        if s is None:
            return "no line"
        again = f", asked again {s.tries} times" if s.tries else ""
        return f"no data for {at - (s.asked_at if s.heard_at is None else s.heard_at):.0f} s{again}"


def _lose_depth(feed: SymbolFeed, kind: Kind, why: str) -> None:
    if kind == Kind.MAKERS:
        feed.lose_makers(why)
    else:
        feed.gap(why, depth_only=True)
