"""Analytics and the 0DTE strategy over the simulated market: a signal appears with the informed flow, on its side, and seldom."""

from __future__ import annotations

from datetime import date

from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.settings import load
from tests.core.market_drive import SECOND_NS, Drive


def test_five_minutes_from_ten_oclock_bring_a_signal_soon_and_few_of_them() -> None:
    drive = Drive(load({}), seed=7, start_ns=exchange_instant(date(2026, 11, 18), "10:00"))
    drive.run(300)
    # the first within three minutes, at most a handful in five
    assert drive.made and (drive.made[0].ts_ns - drive.start_ns) / SECOND_NS <= 180
    assert len(drive.made) <= 5
    for made in drive.made:
        # each says what it saw, on its own side, with a contract of today and a size
        p = made.proposal
        sign = 1 if p.direction == "long_call" else -1
        assert (p.features["flow"] or 0) * sign > 0.2 and p.reasons
        assert p.contract.expiry == "20261118" and p.contract.right == ("C" if sign > 0 else "P") and p.size.contracts >= 1
        assert 0 < p.levels.stop < p.bid < p.ask < p.levels.targets[0]
