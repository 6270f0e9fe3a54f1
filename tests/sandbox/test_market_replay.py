"""The simulated market is a function of its seed and of market time: runs repeat, restarts continue, nights are quiet."""

from __future__ import annotations

from datetime import date

import pytest

from alphatrader.sandbox.market import SimulatedMarket
from tests.support.market_world import AAPL, SECOND, SPY, at, market_at


def everything_shown(market: SimulatedMarket) -> list[object]:
    listed = [c for c in market.contracts() if c.sec_type != "OPT"]
    shown: list[object] = [(market.quote(c.con_id), market.book(c.con_id)) for c in listed]
    return [*shown, market.chain("SPY"), market.chain("AMD"), market.expiries("TSLA"), market.news("QQQ", 20)]


def test_same_seed_same_steps_and_another_seed_another_market() -> None:
    steps = []
    for seed in (7, 7, 8):
        market = market_at(at(10), seed=seed)
        steps.append([market.step(at(10) + i * 250_000_000) for i in range(80)])
    assert steps[0] == steps[1]
    assert steps[0] != steps[2]


@pytest.mark.parametrize("seconds", [1, 61, 187])
def test_a_restart_in_mid_session_finds_the_market_that_was(seconds: int) -> None:
    # given a market that ran in uneven steps until an instant
    running = market_at(at(10))
    stop = at(10) + seconds * SECOND + 123_456_789
    now = at(10)
    while now < stop:
        now = min(stop, now + 1_700_000_000)
        running.step(now)
    # when another process starts at that instant
    restarted = market_at(stop)
    # then everything it shows is the same, and stays so; only running sums may differ in the last binary digits
    for later in (0, 40_000_000, 7 * SECOND):
        running.step(stop + later)
        restarted.step(stop + later)
        assert everything_shown(running) == everything_shown(restarted)


def test_a_restart_on_a_later_date_with_another_session_list_continues() -> None:
    # given a market that ran into Wednesday's close, and one started on Thursday with Thursday's list
    thursday = date(2026, 11, 19)
    old = market_at(at(15, 59, 50))
    old.step(at(9, 45, day=thursday))
    new = market_at(at(9, 45, day=thursday), day=thursday)
    # then they agree on now, on the day before, and on what is listed
    assert everything_shown(old) == everything_shown(new)
    assert old.bars(SPY, at(9, 45, day=thursday), 5 * 86_400, 300) == new.bars(SPY, at(9, 45, day=thursday), 5 * 86_400, 300)
    assert old.expiries("SPY")[0] == "20261119"


def test_after_the_close_quotes_stand_wide_and_nothing_prints_until_the_next_open() -> None:
    market = market_at(at(15, 59, 58))
    closing = market.step(at(16, 0, 1))
    crosses = [p for p in closing.prints if p.con_id == SPY and p.conditions == "6"]
    assert len(crosses) == 1 and SPY in closing.quotes
    night = market.quote(SPY)
    assert night is not None and night.bid is not None and night.ask is not None
    assert night.ask - night.bid >= 0.16 and night.last == crosses[0].price
    # overnight nothing moves
    quiet = market.step(at(9, 29, 59, day=date(2026, 11, 19)))
    assert (quiet.prints, quiet.quotes, quiet.bars) == ((), (), ())
    assert market.quote(SPY) == night
    # at the open the day starts anew, measured from that close
    opening = market.step(at(9, 30, 3, day=date(2026, 11, 19)))
    first = next(p for p in opening.prints if p.con_id == SPY)
    quote = market.quote(SPY)
    assert first.conditions == "O" and quote is not None
    assert quote.prev_close == night.last and quote.open == first.price and quote.volume < night.volume


def test_weekends_and_holidays_have_no_session_and_half_days_end_at_one() -> None:
    friday, thanksgiving_eve = date(2026, 11, 20), date(2026, 11, 25)
    market = market_at(at(16, 0, 1, day=friday))
    assert not market.step(at(12, day=date(2026, 11, 22))).prints
    assert market.step(at(9, 31, day=date(2026, 11, 23))).prints
    market = market_at(at(16, 1, day=thanksgiving_eve))
    assert not market.step(at(15, day=date(2026, 11, 26))).prints
    half_day = date(2026, 11, 27)
    assert market.step(at(9, 31, day=half_day)).prints
    market.step(at(12, 59, 55, day=half_day))
    assert market.step(at(13, day=half_day)).prints and not market.step(at(15, day=half_day)).prints


def test_a_minute_behind_is_played_print_by_print_and_an_hour_behind_is_a_restart() -> None:
    # given one market that steps often and one that hangs for a minute
    often, late = market_at(at(10)), market_at(at(10))
    prints = [p for i in range(1, 241) for p in often.step(at(10) + i * SECOND // 4).prints]
    step = late.step(at(10, 1))
    # then no print is lost and each instrument's quote is told once
    assert list(step.prints) == prints and len(step.quotes) == len(set(step.quotes))
    # when the gap is longer than what is replayed
    jumped = late.step(at(11, 1))
    # then the market stands where it would be, with the prints in the bars instead
    assert not jumped.prints and AAPL in jumped.quotes
    assert late.quote(AAPL) == market_at(at(11, 1)).quote(AAPL)


def test_time_never_goes_back() -> None:
    market = market_at(at(10))
    with pytest.raises(ValueError, match="now_ns"):
        market.step(at(9, 59))
    assert market.now_ns == at(10) and market.is_open
