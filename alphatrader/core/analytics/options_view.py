"""One symbol's chain as analytics holds it: prepared once a refresh, priced again at every move of its underlying.

A price is made once a turn of the engine: the newest spot of the turn is the one that counts. Times to expiry are of the whole
second, so that when this process began says nothing of its numbers. The flip is dear and moves slowly: it is sought again with
each chain, every five seconds of the clock, and when the sign of gamma has changed, which says that the spot has crossed it. The
search takes its steps turn by turn, and the flip's age is told with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alphatrader.contract.messages.options import Chain
from alphatrader.core.analytics.exposure import Exposure, ExposureChain, prepare
from alphatrader.core.analytics.flip import FlipSearch
from alphatrader.core.analytics.pricing import Pricing

REBASE_NS: Final = 1_000_000_000
"""Without a move of the spot, time is priced this often: at each whole one, and so when an expiry closes."""
FLIP_NS: Final = 5_000_000_000
STEP_ROWS: Final = 10_000
"""Rows that one turn's steps of the search look at, or one step where the chain is larger: `python -m bench.bench_engine`
prints the longest."""


class OptionsView:
    def __init__(self, rate: float, flip_range: float) -> None:
        self._rate = rate
        self._flip_range = flip_range
        self._prepared: ExposureChain | None = None
        self._pricing: Pricing | None = None
        self._based_ns = 0
        self._search: FlipSearch | None = None
        self._sought: tuple[int, bool] | None = None
        """(when the newest search began, whether gamma was positive then); None: a new chain's has not begun."""
        self.chain: Chain | None = None
        self.exposure: Exposure | None = None
        self.flip: float | None = None
        self.flip_ns: int | None = None
        """Market time that the search for `flip` began: of which spot and time it is."""
        self.reason: str | None = "no options chain yet"

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self._prepared.dropped) if self._prepared else {}

    def take(self, chain: Chain, closes_ns: Mapping[str, int], now_ns: int) -> None:
        """A chain was refreshed. A stale one keeps the last good rows, and says so."""
        self.chain = chain
        self._prepared = prepare(chain.rows, closes_ns, now_ns)
        self._pricing = self._search = self._sought = None

    def price(self, spot: float | None, now_ns: int, today: str) -> bool:
        """Price the chain where its spot has moved, or time has; whether anything was computed."""
        if self._prepared is None:
            return False
        if spot is None:
            self.exposure, self.reason = None, "no spot price"
            self._forget_flip()
            return False
        based = self._pricing
        if based is None or now_ns - self._based_ns >= REBASE_NS:
            self._based_ns = now_ns - now_ns % REBASE_NS
            based = self._pricing = Pricing(self._prepared, self._based_ns, self._rate, today)
        elif self.exposure is not None and self.exposure.spot == spot:
            return self._seek(self._prepared, self.exposure, now_ns)
        self.exposure = based.at(spot)
        self.reason = None if self.exposure is not None else "no row of the chain can be priced"
        if self.exposure is None:
            self._forget_flip()
        else:
            self._seek(self._prepared, self.exposure, now_ns)
        return True

    def _forget_flip(self) -> None:
        self.flip = self.flip_ns = self._search = self._sought = None

    def _seek(self, chain: ExposureChain, exposure: Exposure, now_ns: int) -> bool:
        """Goes on with the search for the flip, or begins one that is due; whether one has ended."""
        positive = exposure.gex_1pct > 0
        sought = self._sought
        if self._search is None and (sought is None or sought[1] != positive or now_ns // FLIP_NS != sought[0] // FLIP_NS):
            self._sought = now_ns, positive
            self._search = FlipSearch(chain, exposure.spot, now_ns, self._rate, self._flip_range)
        if self._search is None:
            return False
        looked = 0
        while not self._search.done and looked < STEP_ROWS:
            self._search.step()
            looked += self._search.rows
        if not self._search.done:
            return False
        self.flip, self.flip_ns, self._search = self._search.flip, self._search.now_ns, None
        return True
