"""One symbol's meter: its folded state, its options view, and when which of its metrics is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alphatrader.contract.messages.market import Bar, BarEvent, BookEvent, MarketEvent, QuoteEvent, Trade
from alphatrader.contract.messages.metrics import Metric, Parameter
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.hidden_metric import hidden
from alphatrader.core.analytics.lookback import Lookback, lookback_of
from alphatrader.core.analytics.makers import makers
from alphatrader.core.analytics.measures import FAST, AgeOf, feed_reason
from alphatrader.core.analytics.obi_metric import BookParts, obi
from alphatrader.core.analytics.options_metric import options
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.regime import Reading, read
from alphatrader.core.analytics.regime_metric import regime
from alphatrader.core.analytics.sweep_metric import sweep
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.analytics.vol_state import NOT_DISCOVERED, Filter, filter_of
from alphatrader.core.analytics.vpin_history import VpinRanks
from alphatrader.core.analytics.vpin_metric import VpinParts, vpin

REWRITE_NS = 1_000_000_000
"""Every metric is written again at least this often: the keys live 5 s."""
_MOVED_BY: Final[dict[type, tuple[str, ...]]] = {Trade: ("vpin",), BookEvent: ("obi",), QuoteEvent: ("obi",), BarEvent: ()}
"""Which fast metric an event can move; any other event moves all of them. A print leaves the book's imbalance as it was."""


class Meter:
    def __init__(
        self,
        symbol: str,
        settings: Analytics,
        view: OptionsView | None,
        quiet_seconds: float,
        atr_period: int,
        turn_ns: int = 0,
    ) -> None:
        """`turn_ns`: when within each REWRITE_NS all its metrics are written again: each symbol has its own turn."""
        self.symbol = symbol
        self.view = view
        self.state: SymbolState = fresh(symbol, settings)
        self.ranks = VpinRanks()
        self.changed: set[str] = set()
        """Which of the fast metrics say something new."""
        self.values: dict[str, float | None] = {}
        self._settings = settings
        self._book_parts = BookParts(symbol, settings)
        self._vpin_parts = VpinParts(settings.vpin_adjustment)
        self._quiet_seconds = quiet_seconds
        self._atr_period = atr_period
        self._told_ns = 0
        self._untold = False
        self._turn_ns = turn_ns
        self._all_due_ns = 0
        self._reading: tuple[tuple[int, int, int | None], Reading, float | None] | None = None
        self._vol_filter: Filter | None = None
        self._no_vol_filter: str | None = NOT_DISCOVERED
        self._lookback = Lookback()

    def fold(self, event: MarketEvent, session: tuple[int, int] | None) -> None:
        buckets = self.state.vpin
        before = buckets.filled
        if self.state.apply(event, session):
            self.changed.update(_MOVED_BY.get(type(event), FAST))
        if buckets.filled == before or session is None:
            return
        if not buckets.warm and (value := buckets.value) is not None:
            self.ranks.add(session[0], value)
        if (spread := self.state.adverse.spread) is not None:
            self.ranks.spread.add(session[0], spread)
        if (markout := self.state.adverse.markout_bps) is not None:
            self.ranks.markout.add(session[0], markout)

    def take_bucket_size(self, size: int, source: str, bars: Sequence[Bar], now_ns: int) -> None:
        """A bucket size, and the minutes to warm up from when the ring had to start anew."""
        if self.state.vpin.set_size(size, source, now_ns):
            self.warm_up(bars)

    def warm_up(self, bars: Sequence[Bar]) -> None:
        """Fill what is missing from historical minutes, and read them anew."""
        if not self.state.minutes.warmed:
            self._reading = None
        self.state.warm_up(bars)

    def take_vol_states(self, parameter: Parameter | None) -> None:
        """What discovery published of the symbol's volatility; the states of the session are told anew by it where it differs."""
        found, self._no_vol_filter = filter_of(parameter)
        if found != self._vol_filter:
            self._vol_filter, self._reading = found, None

    def take_lookback(self, parameter: Parameter | None) -> None:
        """What discovery published of how far the symbol's past reaches; the regime is read anew where that differs."""
        found = lookback_of(parameter)
        if found != self._lookback:
            self._lookback, self._reading = found, None

    def take_chain(self, chain: Chain, closes_ns: Mapping[str, int], now_ns: int) -> None:
        """A chain was refreshed: exposure is prepared from it, and what traded since the one before says whether it is hedged."""
        if self.view is not None:
            flow = self.state.flow
            self.state.hedging.options(self.view.chain, chain, flow.slots, flow.since_ns)
            self.view.take(chain, closes_ns, now_ns)

    def due(self, made_ns: int) -> bool:
        """Whether there is something to write: a change, or the rewriting. Instants are of machine time."""
        return bool(self.changed) or self._all_due(made_ns)

    def _all_due(self, made_ns: int) -> bool:
        return not self._all_due_ns - REWRITE_NS <= made_ns < self._all_due_ns  # also where the machine's clock was set back

    def tell_due(self, made_ns: int, least_ns: int) -> bool:
        """Whether readers should be woken now: for what was written since they last were, at most every `least_ns`."""
        if not self._untold or made_ns - self._told_ns < least_ns:
            return False
        self._untold, self._told_ns = False, made_ns
        return True

    def metrics(self, now_ns: int, made_ns: int, age_of: AgeOf, today: str) -> list[Metric]:
        """What should be written now: the fast ones that changed, exposure where the spot has moved, once a second all.

        `made_ns` is machine time."""
        state, every = self.state, self._all_due(made_ns)
        feed = feed_reason(state, age_of, self._quiet_seconds)
        made = []
        if every or "vpin" in self.changed:
            made.append(vpin(state, self.ranks, now_ns, age_of, feed, self._vpin_parts))
        if every or "obi" in self.changed:
            made.append(obi(state, now_ns, age_of, feed, self._settings, self._book_parts))
        self._untold = True
        self.changed.clear()
        repriced = self.view is not None and self.view.price(state.spot, now_ns, today)
        if every or repriced:
            made += options(state, self.view, now_ns, age_of, feed)
        if every:
            self._all_due_ns = made_ns + REWRITE_NS - (made_ns - self._turn_ns) % REWRITE_NS
            value = {metric.metric: metric.value for metric in made}
            reading, atr = self._read()
            made.append(sweep(state, now_ns, age_of, feed, self._settings.sweep_weights))
            made.append(hidden(state, now_ns, age_of, feed))
            percentile = self.ranks.rank(value["vpin"]).percentile
            vol = state.vol_state.reading(self._vol_filter, self._no_vol_filter, now_ns)
            made.append(regime(state, reading, now_ns, age_of, feed, atr, percentile, value["gex"], vol, self._lookback.reason))
            made.append(makers(state, now_ns, age_of, feed, self._settings.market_makers))
        self.values |= {metric.metric: metric.value for metric in made}
        return made

    def _read(self) -> tuple[Reading, float | None]:
        """The minutes, read again only when one was added or another session began."""
        minutes, opened_ns = self.state.minutes, self.state.opened_ns
        key = (len(minutes.bars), minutes.bars[-1][0] if minutes.bars else 0, opened_ns)
        if self._reading is None or self._reading[0] != key:
            reading = read(minutes, self._settings.adx_period, self._lookback.bars, opened_ns)
            self._reading = (key, reading, minutes.atr(self._atr_period))
            if self._vol_filter is not None and opened_ns is not None:
                runs = minutes.runs(opened_ns)
                self.state.vol_state.advance(self._vol_filter, runs[-1] if runs else (), opened_ns)
        return self._reading[1], self._reading[2]
