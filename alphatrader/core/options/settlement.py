"""When an option's time ends: at the close of its expiry's session, or for some of an index at the open.

The monthly options of these indices settle to the opening prices of their third Friday, the Thursday before where that Friday is
no session; VIX's to those of every expiry's day. Weeklies and quarterlies (SPXW, NDXP, RUTW), funds' and stocks' end with the
close. Source: Cboe's product specifications (SPX, RUT, DJX, VIX) and Nasdaq's (NDX): "A.M.-settled".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

MONTHLY_AT_OPEN: Final = frozenset({"SPX", "NDX", "RUT", "DJX"})
ALWAYS_AT_OPEN: Final = frozenset({"VIX"})

InstantOf = Callable[[str], int | None]
"""Of an expiry, YYYYMMDD; None for a day without a session."""


def end_of(symbol: str, open_of: InstantOf, close_of: InstantOf) -> InstantOf:
    """The instant at which options of this root with a given expiry have no time left."""
    if symbol not in MONTHLY_AT_OPEN | ALWAYS_AT_OPEN:
        return close_of

    def end(expiry: str) -> int | None:
        at_open = symbol in ALWAYS_AT_OPEN or _monthly(expiry, close_of)
        return open_of(expiry) if at_open else close_of(expiry)

    return end


def _monthly(expiry: str, close_of: InstantOf) -> bool:
    try:
        day = date.fromisoformat(expiry)
    except ValueError:
        return False
    friday = day + timedelta(days=(4 - day.weekday()) % 7)
    if not 15 <= friday.day <= 21:
        return False
    return day == friday or (day == friday - timedelta(days=1) and close_of(f"{friday:%Y%m%d}") is None)
