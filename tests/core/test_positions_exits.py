"""The plan of exits: a third, half of the rest, all; a stop that follows and never goes back; flat in time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.positions import Position, WantedExit
from alphatrader.core.positions.exits import Trailing, plan, remaining, wanted
from tests.support.holdings import NOW_NS, SPY

D = Decimal
TRAILING = Trailing(after_r=D(1), share=D("0.5"))
CENT = D("0.01")


def held(quantity: int = 6, **changes: Any) -> Position:
    """6 contracts at 4.00, stop 3.00, targets 5, 6, 8."""
    position = Position(
        id="i",
        symbol="SPY",
        strategy="0DTE",
        signal_id="s",
        contract=SPY,
        status="open",
        quantity=quantity,
        opened_quantity=6,
        average_price=D("4.00"),
        cost=D(2400),
        realized=D(0),
        commissions=D(0),
        mark=D("4.00"),
        mark_age_ms=10,
        unrealized=D(0),
        stop=D("3.00"),
        targets=(D(5), D(6), D(8)),
        opened_ns=NOW_NS,
        closed_ns=None,
        updated_ns=NOW_NS,
        initial_stop=D("3.00"),
        planned_quantity=6,
    )
    return replace(position, **changes)


def wish(position: Position, last: WantedExit | None = None, flat: str | None = None) -> WantedExit | None:
    return wanted(position, plan(position, last, flat_reason=flat, trailing=TRAILING, tick=CENT), last, 1)


@pytest.mark.parametrize(
    ("opened", "kept"),
    [(1, [1, 1, 0]), (2, [2, 1, 0]), (3, [2, 1, 0]), (4, [3, 2, 0]), (6, [4, 2, 0]), (9, [6, 3, 0]), (10, [7, 4, 0])],
)
def test_a_third_then_half_of_the_rest_then_all(opened: int, kept: list[int]) -> None:
    assert [remaining(opened, hit, 3) for hit in (1, 2, 3)] == kept
    assert remaining(opened, 0, 3) == opened and remaining(opened, 1, 1) == 0


def test_the_first_wish_protects_what_was_planned_even_while_the_entry_still_fills() -> None:
    first = wish(held(quantity=2, opened_quantity=2))
    assert first is not None and (first.hold, first.stop, first.version) == (6, D("3.00"), 1)
    # more of the entry fills: nothing new is wanted
    assert wish(held(quantity=5, opened_quantity=5), first) is None


def test_targets_scale_out_once_and_a_fallback_of_the_mark_buys_nothing_back() -> None:
    first = wish(held())
    second = wish(held(mark=D("5.00")), first)
    assert second is not None and (second.hold, second.version) == (4, 2)
    # the mark falls, the target stays hit
    assert wish(held(quantity=4, mark=D("4.50"), targets_hit=1, stop=second.stop, best_mark=D(5)), second) is None
    third = wish(held(quantity=4, mark=D("6.10"), targets_hit=1, stop=second.stop, best_mark=D(5)), second)
    assert third is not None and third.hold == 2
    # the last target is the broker's own order: nothing is wanted twice
    last = held(quantity=2, mark=D("8.20"), targets_hit=2, stop=D("6.10"), best_mark=D("8.20"))
    assert plan(last, third, flat_reason=None, trailing=TRAILING, tick=CENT).hold == 2


def test_the_stop_trails_after_one_r_and_never_goes_back() -> None:
    # 0.99 R: not yet; 1 R: half of the gain is kept
    assert plan(held(mark=D("4.99")), None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("3.00")
    assert plan(held(mark=D("5.00")), None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.50")
    # the best mark counts, not the present one
    fallen = held(mark=D("4.80"), best_mark=D("5.40"), stop=D("4.50"), targets_hit=1)
    assert plan(fallen, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.70")
    # less than a tenth of R is not worth a change at the broker
    close = held(mark=D("5.10"), best_mark=D("5.10"), stop=D("4.50"), targets_hit=1)
    assert plan(close, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.50")
    # never above the mark, and on the contract's grid
    below = held(mark=D("4.60"), best_mark=D("5.40"), stop=D("4.50"), targets_hit=1)
    assert plan(below, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.50")
    at_it = held(mark=D("4.70"), best_mark=D("5.40"), stop=D("4.50"), targets_hit=1)
    assert plan(at_it, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.50")
    assert plan(held(mark=D("5.33")), None, flat_reason=None, trailing=TRAILING, tick=D("0.05")).stop == D("4.65")


def test_a_stop_is_raised_only_under_the_bid_or_it_would_sell_at_once() -> None:
    # bought at 1.00, marked at 1.16: the stop is wanted at 1.08, half of the gain
    cheap = held(average_price=D("1.00"), initial_stop=D("0.86"), stop=D("0.86"), targets=(D(2), D(3)), mark=D("1.16"))

    def stop(bid: str | None) -> Decimal | None:
        found = D(bid) if bid else None
        return plan(cheap, None, flat_reason=None, trailing=TRAILING, tick=CENT, bid=found).stop

    assert [stop(bid) for bid in (None, "1.09", "1.08", "1.02")] == [D("1.08"), D("1.08"), D("0.86"), D("0.86")]


def test_how_many_first_risks_the_gain_must_be_is_a_setting_and_without_a_risk_nothing_trails() -> None:
    late = Trailing(after_r=D(2), share=D("0.5"))
    assert [plan(held(mark=D(m)), None, flat_reason=None, trailing=late, tick=CENT).stop for m in ("5.99", "6.00")] == [3, 5]
    riskless = held(mark=D("5.00"), initial_stop=D("4.00"), stop=D("4.00"))
    assert plan(riskless, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("4.00")


def test_the_last_contract_is_kept_like_any_other() -> None:
    one = plan(held(quantity=1, opened_quantity=1, planned_quantity=1), None, flat_reason=None, trailing=TRAILING, tick=CENT)
    assert (one.hold, one.stop) == (1, D("3.00"))


def test_without_a_mark_nothing_moves() -> None:
    blind = held(mark=None, best_mark=D("7.00"), stop=D("3.00"))
    assert plan(blind, None, flat_reason=None, trailing=TRAILING, tick=CENT).stop == D("3.00")


def test_flat_in_time_is_final_and_a_close_takes_the_stop_away() -> None:
    first = wish(held())
    out = wish(held(), first, flat="time: expires today, flat by 15:45")
    assert out is not None and (out.hold, out.stop, out.urgency) == (0, D("3.00"), "now")
    assert wish(held(mark=D("9.00")), out) is None
    gone = wish(held(quantity=0, status="closed"), out)
    assert gone is not None and (gone.hold, gone.stop, gone.version, gone.reason) == (0, None, 3, "closed")


def test_more_sold_than_held_is_bought_back() -> None:
    short = wish(held(quantity=-1))
    assert short is not None and short.hold == 0 and "short 1" in short.reason
