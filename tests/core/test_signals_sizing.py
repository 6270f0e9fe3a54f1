"""How many contracts: a share of Kelly, under the cap on premium, by numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from alphatrader.core.signals import sizing

# Bought at 4.00, stopped at 3.00, sold at 19/3 on average: a quarter of the stake is lost, seven twelfths of it are won.
GIVEN: dict[str, Any] = {
    "equity": 100_000.0, "ask": 4.0, "stop": 3.0, "targets": (5.0, 6.0, 8.0), "win_rate": 0.5, "kelly_share": 0.25,
    "premium_cap_share": 1.0, "multiplier": 100,
}  # fmt: skip
KELLY = Fraction(1, 2) / Fraction(1, 4) - Fraction(1, 2) / Fraction(7, 12)


def size(**changes: Any) -> sizing.Size:
    return sizing.size(**GIVEN | changes)


def test_a_quarter_of_kelly_is_a_quarter_of_it() -> None:
    assert Fraction(8, 7) == KELLY
    found = size()
    assert (found.kelly, found.share) == (pytest.approx(8 / 7), pytest.approx(2 / 7))
    assert found.contracts == int(Fraction(2, 7) * 100_000 / 400) == 71
    assert size(kelly_share=0.5).contracts == 142 and size(equity=50_000.0).contracts == 35
    # twice the price, with everything else in proportion, buys half as many
    assert size(ask=8.0, stop=6.0, targets=(10.0, 12.0, 16.0)).contracts == 35


def test_a_contract_of_fewer_shares_costs_less_and_more_of_them_are_bought() -> None:
    # of 10 shares, a mini option, a contract costs $40 instead of $400; of 150, an adjusted one, $600
    assert [size(multiplier=shares).contracts for shares in (10, 100, 150)] == [714, 71, 47]
    # and under the cap the premium never passes it: 2 % of $100,000
    for shares in (1, 10, 33, 100, 150):
        bought = size(multiplier=shares, premium_cap_share=0.02).contracts
        assert bought * 4 * shares <= 2_000 < (bought + 1) * 4 * shares


@pytest.mark.parametrize(("cap", "contracts"), [(0.02, 5), (0.0199, 4), (0.003, 0)])
def test_the_cap_on_premium_holds_whatever_kelly_says(cap: float, contracts: int) -> None:
    found = size(premium_cap_share=cap)
    assert (found.share, found.contracts) == (cap, contracts) and found.kelly == pytest.approx(8 / 7)


@pytest.mark.parametrize(("win_rate", "kelly"), [(0.3, 0.0), (0.2, 0.2 * 4 - 0.8 * 12 / 7), (0.0, -12 / 7)])
def test_without_an_edge_nothing_is_bought(win_rate: float, kelly: float) -> None:
    found = size(win_rate=win_rate)
    assert (found.contracts, found.share) == (0, pytest.approx(0.0, abs=1e-12))
    assert found.kelly == pytest.approx(kelly, abs=1e-12)


@pytest.mark.parametrize("bad", [{"stop": 4.0}, {"stop": 5.0}, {"targets": (4.0,)}, {"targets": (3.0, 4.0)}])
def test_a_stop_or_targets_on_the_wrong_side_are_no_trade(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        size(**bad)


def test_a_cautious_win_rate_is_a_low_quantile_of_what_was_seen() -> None:
    # without any trade every rate is as likely: the quantile itself; of Beta(2, 1) the square root, of Beta(1, 2) its mirror
    assert sizing.cautious_win_rate(0, 0, 0.2) == pytest.approx(0.2)
    assert sizing.cautious_win_rate(1, 0, 0.25) == pytest.approx(0.5)
    assert sizing.cautious_win_rate(0, 1, 0.36) == pytest.approx(0.2)
    assert sizing.cautious_win_rate(60, 40, 0.2) < 0.6 < sizing.cautious_win_rate(60, 40, 0.8)
