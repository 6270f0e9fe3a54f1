"""The level-2 book behind a best quote, as a function of that quote and of time.

Rows at the best price are the quote's own, venue by venue; deeper rows come from a hash of their price and of an
epoch that turns at another instant for each price, so single levels change while the others stand. Used by `simulation.py`.
"""

from __future__ import annotations

from math import exp

from .hashing import mix, unit
from .makers import quotes
from .queue import Parts
from .types import Row
from .venues import ANONYMOUS, LIT

ROWS = 10
_BEST = 4  # of them at the best price, where more venues push no deeper level out
_EPOCH_NS = 2_500_000_000
_NAMES = tuple(LIT)


def _venue(number: int) -> str:
    """By weight: the primary venues come first in the table and show more often."""
    return _NAMES[min(number % 17, number // 17 % 13)]


def ladder(
    key: int, side: int, best: int, parts: Parts, ts_ns: int,
    *, per_unit: int, lot: int, display: int, step: int, lean: float, is_stock: bool, second: float,
) -> tuple[Row, ...]:  # fmt: skip
    """Rows of one side, best first. `side` is +1 for bids; `step` is the usual distance of levels in ticks; `second` is of the
    session. NASDAQ's are split by market maker: several rows of one price and venue are one row where no names are shown."""
    own: dict[int, list[tuple[int, str]]] = {}
    if is_stock:
        # nobody improves a best price that NASDAQ does not show
        nearest = 0 if any(venue == "ISLAND" for venue, _ in parts) else 1
        for away, shown, maker in quotes(key, side, second, lot, display):
            own.setdefault(best - side * max(nearest, away), []).append((shown, maker))
    rows: list[Row] = []
    for venue, size in parts:
        if venue == "ISLAND":
            rows += _attributed(best / per_unit, size, own.pop(best, []))
        else:
            rows.append(Row(best / per_unit, size, venue))
    price, scale = best, display * exp(0.5 * lean * side)
    depth, places = 0, min(_BEST, len(parts))
    while places < ROWS:
        depth += 1
        number = mix(key, price * 4 + side)
        following = price - side * (1 + (number % step if step > 1 else 0))
        if following <= 0:
            break
        for between in sorted((p for p in own if side * following < side * p < side * price), reverse=side > 0):
            if places == ROWS:
                return tuple(rows)
            rows += _attributed(between / per_unit, None, own.pop(between))
            places += 1
        price = following
        number = mix(key, price * 4 + side + 1 + ((ts_ns + (number & 0x7FFFFFFF)) // _EPOCH_NS << 32))
        makers, before = own.pop(price, []), ""
        for j in range(1 + (is_stock and number & 3 == 0)):
            if places == ROWS:
                return tuple(rows)
            level = scale * (0.5 + 1.2 * unit(number, j)) * (1 + 0.12 * min(depth, 8))
            shown = max(lot, round(level / lot) * lot)
            venue = _venue(number >> 8 + 8 * j) if is_stock else parts[0][0]
            if venue == before:
                venue = _NAMES[(_NAMES.index(venue) + 1) % len(_NAMES)]
            before = venue
            if venue == "ISLAND":
                rows += _attributed(price / per_unit, shown + sum(one for one, _ in makers), makers)
                makers = []
            else:
                rows.append(Row(price / per_unit, shown, venue))
            places += 1
        if makers and places < ROWS:
            rows += _attributed(price / per_unit, None, makers)
            places += 1
    return tuple(rows)


def _attributed(price: float, size: int | None, makers: list[tuple[int, str]]) -> list[Row]:
    """NASDAQ's rows at a price: the makers' as far as `size` goes, the rest anonymous; None: the makers' alone."""
    rows, left = [], size
    for shown, maker in makers:
        take = shown if left is None else min(shown, left)
        if take > 0:
            rows.append(Row(price, take, "ISLAND", maker))
        left = None if left is None else left - take
    if left:
        rows.append(Row(price, left, "ISLAND", ANONYMOUS))
    return rows
