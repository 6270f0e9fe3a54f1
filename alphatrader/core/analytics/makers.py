"""Attributed displayed interest of market makers. domain.md §3.

First form: says why there is none. Depth over all venues (smart), which ibkr asks for, names venues; futures' depth names nobody;
and where rows do name makers, a level of the book is already the sum over them. An absence of names is never a zero.
"""

from __future__ import annotations

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.symbol import SymbolState


def makers(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None) -> Metric:
    return make(
        "makers",
        state,
        now_ns,
        None,
        feed or _why_none(state),
        units="signed share of attributed displayed size, -1 to 1",
        convention="+ named makers show more on the bid; displayed interest, not proof of who traded",
        n=0,
        components={},
        ages={"book": age_of(state.book.received_ns) if state.book is not None else None},
    )


def _why_none(state: SymbolState) -> str:
    book = state.book
    if book is None or book.source != "depth":
        return "no depth: a quote names no market maker"
    if not book.ready:
        return "book not ready"
    if not book.names_makers:
        return "this depth names no market makers: smart depth gives venues, futures' depth nothing"
    return "rows name market makers, but levels are summed over them: sizes by maker are not kept yet"
