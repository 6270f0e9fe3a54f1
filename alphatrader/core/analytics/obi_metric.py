"""The imbalance of a symbol's book as a metric's message."""

from __future__ import annotations

from typing import Any

from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import imbalance
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.symbol import SymbolState


class BookParts:
    """What a book alone says, kept while it stands: prints come many to a book."""

    def __init__(self, symbol: str, settings: Analytics) -> None:
        self._tick = imbalance.tick_of(symbol)
        self._settings = settings
        self._book: tuple[imbalance.Levels, imbalance.Levels] | None = None
        self._parts: dict[str, float | None] = {}

    def of(self, bids: imbalance.Levels, asks: imbalance.Levels) -> dict[str, float | None]:
        """Volume, pressure, slope, micro; queue and the slope's elasticity. A book's levels are never changed in place."""
        if self._book is None or self._book[0] is not bids or self._book[1] is not asks:
            levels = self._settings.book_levels
            slope, elasticity = imbalance.slope_imbalance(bids, asks, levels)
            self._book = bids, asks
            self._parts = {
                "volume": imbalance.volume_imbalance(bids, asks, self._settings.obi_alpha, levels),
                "pressure": imbalance.pressure(bids, asks, self._tick, levels),
                "slope": slope,
                "micro": imbalance.microprice_lean(bids, asks),
                "queue": imbalance.volume_imbalance(bids, asks, 0.0, 1),
                "slope_elasticity": elasticity,
            }
        return self._parts


def obi(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None, settings: Analytics, book: BookParts) -> Metric:
    state.ofi.forget(now_ns)
    levels = state.book_levels()
    parts: dict[str, float | None] = {}
    components: dict[str, Any] = {}
    reason = feed
    if reason is None and state.book is not None and not state.book.ready:
        reason = "book not ready"
    if reason is None and levels is None:
        reason = "no book"
    value: float | None = None
    if levels is not None:
        bids, asks, source = levels
        ofi, ofi_share, ofi_n = state.ofi.value()
        still = book.of(bids, asks)
        parts = {**{name: still[name] for name in ("volume", "pressure", "slope")}, "ofi": ofi_share, "micro": still["micro"]}
        value = imbalance.blend(parts, settings.obi_weights)
        if value is None and reason is None:
            reason = "no part of the book can be measured"
        if value is not None and reason is None:
            state.obi.add(now_ns, value)
        components = {
            **parts,
            "queue": still["queue"],
            "ofi_depths": ofi,
            "ofi_events": ofi_n,
            "ofi_window_seconds": settings.ofi_window_seconds,
            "slope_elasticity": still["slope_elasticity"],
            "missing": [name for name, part in parts.items() if part is None],
            "one_sided": not bids or not asks,
            "source": source,
            "levels": min(len(bids), len(asks)),
            "bid": bids[0][0] if bids else None,
            "ask": asks[0][0] if asks else None,
        }
    components["smoothed_20s"] = state.obi.value if reason is None else None
    book_ns = state.book.received_ns if state.book is not None else None
    return make(
        "obi",
        state,
        now_ns,
        value,
        reason,
        units="-1 to 1",
        convention="+ is bid heavy",
        n=int(components.get("levels", 0)),
        components=components,
        ages={"book": age_of(book_ns), "quote": age_of(state.quote_ns)},
    )
