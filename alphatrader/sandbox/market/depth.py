"""The ten-row level-2 book behind a best quote, as a function of that quote and of time.

Rows at the best price are the quote's own size split over its venues; deeper rows come from a hash of their price and of an
epoch that turns at another instant for each price, so single levels change while the others stand. Used by `simulation.py`.
"""

from __future__ import annotations

from math import exp

from .hashing import mix, unit
from .types import Row
from .venues import ANONYMOUS, LIT, MARKET_MAKERS

ROWS = 10
_EPOCH_NS = 2_500_000_000
_NAMES = tuple(LIT)


def _venue(number: int) -> str:
    """By weight: the primary venues come first in the table and show more often."""
    return _NAMES[min(number % 17, number // 17 % 13)]


def _maker(key: int, price: int, ts_ns: int) -> str:
    """Attributed quotes stand for about 20 s; half of NASDAQ's rows are anonymous."""
    number = mix(key ^ 0x5EED, price * 7919 + (ts_ns + price * 977_000_000) // 20_000_000_000)
    return MARKET_MAKERS[number // 2 % len(MARKET_MAKERS)] if number & 1 else ANONYMOUS


def ladder(
    key: int, side: int, best: int, size: int, venues: tuple[str, ...], ts_ns: int,
    *, per_unit: int, lot: int, display: int, step: int, lean: float, is_stock: bool,
) -> tuple[Row, ...]:  # fmt: skip
    """Rows of one side, best first. `side` is +1 for bids; `step` is the usual distance of levels in ticks."""
    rows: list[Row] = []
    share, rest = max(lot, size // len(venues) // lot * lot), size
    for j, venue in enumerate(venues):
        if rest <= 0:
            break
        take = rest if j == len(venues) - 1 else min(share, rest)
        rest -= take
        rows.append(Row(best / per_unit, take, venue, _maker(key, best, ts_ns) if venue == "ISLAND" else ""))
    price, scale = best, display * exp(0.5 * lean * side)
    depth = 0
    while len(rows) < ROWS:
        depth += 1
        number = mix(key, price * 4 + side)
        price -= side * (1 + (number % step if step > 1 else 0))
        if price <= 0:
            break
        number = mix(key, price * 4 + side + 1 + ((ts_ns + (number & 0x7FFFFFFF)) // _EPOCH_NS << 32))
        for j in range(1 + (is_stock and number & 3 == 0)):
            if len(rows) == ROWS:
                break
            level = scale * (0.5 + 1.2 * unit(number, j)) * (1 + 0.12 * min(depth, 8))
            venue = _venue(number >> 8 + 8 * j) if is_stock else venues[0]
            if j and venue == rows[-1].venue:
                venue = _NAMES[(_NAMES.index(venue) + 1) % len(_NAMES)]
            maker = _maker(key, price, ts_ns) if venue == "ISLAND" else ""
            rows.append(Row(price / per_unit, max(lot, round(level / lot) * lot), venue, maker))
    return tuple(rows)
