"""When an option's time ends, by the exchanges' published days: the close of its expiry, or of an index the monthly's open."""

from __future__ import annotations

from datetime import datetime

import pytest

from alphatrader.core.options.settlement import end_of
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import EXCHANGE


@pytest.mark.parametrize(
    ("symbol", "expiry", "ends"),
    [
        ("SPX", "20261218", "2026-12-18T09:30"),  # the third Friday: to the opening prices
        ("NDX", "20261120", "2026-11-20T09:30"),
        ("RUT", "20260619", None),  # Juneteenth is the third Friday: no session,
        ("RUT", "20260618", "2026-06-18T09:30"),  # the Thursday before it has the monthly expiry
        ("SPX", "20250417", "2025-04-17T09:30"),  # Good Friday
        ("SPX", "20261217", "2026-12-17T16:00"),  # the Thursday of another month's third Friday is a weekly
        ("SPX", "20261211", "2026-12-11T16:00"),
        ("SPX", "20261127", "2026-11-27T13:00"),  # a weekly on a day that closes early
        ("VIX", "20261216", "2026-12-16T09:30"),  # a Wednesday
        ("SPY", "20261218", "2026-12-18T16:00"),  # a fund on an index is no index
        ("SPX", "20351221", "2035-12-21T09:30"),  # beyond the table of sessions
        ("SPX", "20261332", None),
    ],
)
def test_the_end_is_the_settlements(symbol: str, expiry: str, ends: str | None) -> None:
    end = end_of(symbol, nyse().open_of, nyse().close_of)(expiry)
    told = None if ends is None else int(datetime.fromisoformat(ends).replace(tzinfo=EXCHANGE).timestamp()) * 10**9
    assert end == told
