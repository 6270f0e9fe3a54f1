"""One symbol's chain as analytics holds it: prepared once a refresh, priced again as spot moves, at most once a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alphatrader.contract.messages.options import Chain
from alphatrader.core.analytics.exposure import Exposure, ExposureChain, measure, prepare, zero_gamma_flip

REPRICE_NS: Final = 1_000_000_000
FLIP_NS: Final = 5_000_000_000
"""The scan for the flip is dear; it moves slowly."""


class OptionsView:
    def __init__(self, rate: float, flip_range: float) -> None:
        self._rate = rate
        self._flip_range = flip_range
        self._prepared: ExposureChain | None = None
        self._priced_ns: int | None = None
        self._flip_ns: int | None = None
        self.chain: Chain | None = None
        self.exposure: Exposure | None = None
        self.flip: float | None = None
        self.reason: str | None = "no options chain yet"

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self._prepared.dropped) if self._prepared else {}

    def take(self, chain: Chain, closes_ns: Mapping[str, int], now_ns: int) -> None:
        """A chain was refreshed. A stale one keeps the last good rows, and says so."""
        self.chain = chain
        self._prepared = prepare(chain.rows, closes_ns, now_ns)
        self._priced_ns = self._flip_ns = None

    def price(self, spot: float | None, now_ns: int, today: str) -> bool:
        """Price the chain at `spot` if it is due; whether anything was computed."""
        if self._prepared is None:
            return False
        if spot is None:
            self.exposure, self.flip, self.reason = None, None, "no spot price"
            return False
        if self._priced_ns is not None and now_ns - self._priced_ns < REPRICE_NS:
            return False
        self._priced_ns = now_ns
        self.exposure = measure(self._prepared, spot, now_ns, self._rate, today)
        self.reason = None if self.exposure is not None else "no row of the chain can be priced"
        if self.exposure is None:
            self.flip = None
        elif self._flip_ns is None or now_ns - self._flip_ns >= FLIP_NS:
            self._flip_ns = now_ns
            self.flip = zero_gamma_flip(self._prepared, spot, now_ns, self._rate, self._flip_range)
        return True
