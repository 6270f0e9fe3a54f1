"""Score, calibration, Kelly, stops and the choice of the contract: known answers and edges."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.settings.trading import Signals
from alphatrader.core.options.greeks import greeks
from alphatrader.core.signals.book import SignalBook
from alphatrader.core.signals.candidates import wanted
from alphatrader.core.signals.levels import levels
from alphatrader.core.signals.score import calibrate, score
from alphatrader.core.signals.selection import prepare, select
from alphatrader.core.signals.sizing import cautious_win_rate, kelly, size

WEIGHTS = {"flow": 0.35, "book": 0.25, "trend": 0.25, "gamma": 0.15}
DAY_NS = 86_400 * 10**9


# -- score ---------------------------------------------------------------------------------------------------------------


def test_the_score_is_the_logistic_of_the_weighted_features_and_its_sign_the_direction() -> None:
    features: dict[str, float | None] = {"flow": -0.8, "book": -0.4, "trend": -0.6, "gamma": 0.2}
    lean = 0.35 * -0.8 + 0.25 * -0.4 + 0.25 * -0.6 + 0.15 * 0.2
    found = score(features, WEIGHTS, 4.0, 100.0)
    assert found.lean == pytest.approx(lean) and found.direction == "long_put"
    assert found.confidence == pytest.approx(100 / (1 + math.exp(4 * lean)))
    assert not found.calibrated


@given(st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0.01, 1.0), min_size=1))
def test_a_missing_input_lowers_the_score_and_never_counts_as_neutral_company(features: dict[str, float]) -> None:
    whole: dict[str, float | None] = dict(features)
    for name in features:
        less = whole | {name: None}
        assert score(less, WEIGHTS, 4.0, 100.0).confidence < score(whole, WEIGHTS, 4.0, 100.0).confidence


def test_no_evidence_has_no_direction_and_the_cap_holds_until_calibrated() -> None:
    nothing = score(dict.fromkeys(WEIGHTS), WEIGHTS, 4.0, 100.0)
    assert nothing.direction is None and nothing.confidence == 50.0
    assert score({}, {}, 4.0, 100.0).direction is None
    strong: dict[str, float | None] = dict.fromkeys(WEIGHTS, 1.0)
    assert score(strong, WEIGHTS, 4.0, 84.0).confidence == 84.0
    draw = random.Random(1)
    trades = [(c, draw.random() < 0.9) for c in (draw.uniform(55, 99) for _ in range(300))]
    calibration = calibrate(trades, 200)
    assert calibration is not None and calibration.trades == 300
    calibrated = score(strong, WEIGHTS, 4.0, 84.0, calibration)
    assert calibrated.calibrated and 84.0 < calibrated.confidence < 100.0


def test_calibration_finds_the_link_that_made_the_outcomes() -> None:
    # given trades won with the probability 1 / (1 + exp(-(0.5 x - 0.3))) of the raw score's logit x
    draw = random.Random(2)
    trades = []
    for _ in range(20_000):
        x = draw.uniform(0.1, 4.0)
        trades.append((100 / (1 + math.exp(-x)), draw.random() < 1 / (1 + math.exp(-(0.5 * x - 0.3)))))
    found = calibrate(trades, 200)
    assert found is not None
    assert found.a == pytest.approx(0.5, abs=0.05) and found.b == pytest.approx(-0.3, abs=0.1)


def test_too_few_trades_or_one_kind_of_outcome_calibrate_nothing() -> None:
    assert calibrate([(80.0, True)] * 199, 200) is None
    assert calibrate([(80.0, True)] * 500, 200) is None
    assert calibrate([], 1) is None


# -- size ----------------------------------------------------------------------------------------------------------------


def test_kelly_known_answers() -> None:
    # a fair even bet: nothing; 60 % at even odds with all at stake: a fifth
    assert kelly(0.5, 1.0, 1.0) == pytest.approx(0.0)
    assert kelly(0.6, 1.0, 1.0) == pytest.approx(0.2)
    # p/a - q/b in exact fractions
    assert kelly(0.4, 0.2, 0.5) == pytest.approx(float(Fraction(2, 5) / Fraction(1, 5) - Fraction(3, 5) / Fraction(1, 2)))
    for loss, win in ((0.0, 0.5), (0.5, 0.0), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="positive"):
            kelly(0.5, loss, win)


def test_the_cautious_rate_is_the_posteriors_quantile() -> None:
    assert cautious_win_rate(30, 30, 0.05) == pytest.approx(stats.beta(31, 31).ppf(0.05))
    assert cautious_win_rate(0, 0, 0.05) == pytest.approx(0.05)
    assert cautious_win_rate(300, 200, 0.05) < 0.6


def sized(**changes: float) -> int:
    values = {
        "equity": 100_000.0,
        "ask": 1.22,
        "stop": 0.92,
        "win_rate": 0.396,
        "kelly_share": 0.25,
        "premium_cap_share": 0.02,
        "multiplier": 100,
    } | changes
    return size(targets=(1.52, 1.72, 2.02), **values).contracts  # type: ignore[arg-type]


def test_a_typical_0dte_premium_is_sized_under_the_cap_and_no_edge_is_no_trade() -> None:
    assert 1 <= sized() <= 2_000 // 122
    assert sized(equity=5_000.0) == 0  # 2 % of it buys no contract
    assert sized(win_rate=0.30) == 0  # f <= 0
    assert sized(premium_cap_share=0.001) == 0


@given(
    ask=st.floats(0.2, 30),
    equity=st.floats(1e3, 1e7),
    rate=st.floats(0.01, 0.99),
    risk=st.floats(0.05, 0.95),
    shares=st.integers(1, 1000),
)
def test_the_premium_never_exceeds_its_cap(ask: float, equity: float, rate: float, risk: float, shares: int) -> None:
    found = size(
        equity=equity, ask=ask, stop=ask * (1 - risk), targets=(ask * 1.2, ask * 1.8), win_rate=rate, kelly_share=0.25,
        premium_cap_share=0.02, multiplier=shares,
    )  # fmt: skip
    assert 0 <= found.contracts * ask * shares <= 0.02 * equity + 1e-6


# -- stops and targets -----------------------------------------------------------------------------------------------------


def test_stops_and_targets_are_atrs_of_the_underlying_through_delta_on_ticks() -> None:
    found = levels(bid=1.20, ask=1.22, symbol="SPY", finest=0.01, delta=-0.4, atr=0.5, stop_atr=1.5, target_atr=(1.5, 2.5, 4.0))
    assert found is not None
    assert (found.entry, found.stop) == (1.22, 0.92)
    assert found.targets == (1.52, 1.72, 2.02)
    # a quiet market still leaves room under the bid and steps between targets
    quiet = levels(bid=1.20, ask=1.25, symbol="SPY", finest=0.05, delta=0.4, atr=0.001, stop_atr=1.5, target_atr=(1.5, 2.5))
    assert quiet is not None and quiet.stop == 1.10 and quiet.targets == (1.30, 1.35)
    # from $3 on most classes move by nickels, below it by cents
    steps = levels(bid=3.05, ask=3.10, symbol="AAPL", finest=0.01, delta=0.4, atr=0.42, stop_atr=1.5, target_atr=(1.5, 2.5))
    assert steps is not None and steps.stop == 2.85 and steps.targets == (3.35, 3.50)
    # and an option worth a few cents cannot be protected: the lowest stop there is stands at one step
    low = levels(bid=0.03, ask=0.04, symbol="SPY", finest=0.01, delta=0.4, atr=0.001, stop_atr=1.5, target_atr=(1.5,))
    assert low is not None and low.stop == 0.01
    assert levels(bid=0.02, ask=0.03, symbol="SPY", finest=0.01, delta=0.4, atr=1.0, stop_atr=1.5, target_atr=(1.5,)) is None


# -- the contract ------------------------------------------------------------------------------------------------------------


def chain(spot: float = 660.0, **bad: dict[str, float | int | None]) -> Chain:
    """One day to expiry at 20 % volatility, spreads of two cents, every dollar from 645 to 675; `bad` changes rows by strike."""
    rows = []
    for strike in range(645, 676):
        value = float(greeks(spot, strike, 1 / 365, 0.2, True, 0.04).price)
        row = OptionRow(
            "20261119", float(strike), "C", value - 0.01, value + 0.01, None, value, 500, 500, None, None, None, None, None
        )
        changes = bad.get(f"k{strike}", {})
        rows.append(OptionRow(**{name: changes.get(name, getattr(row, name)) for name in row.__struct_fields__}))  # type: ignore[arg-type]
    return Chain("SPY", 0, 0, 1.0, False, None, 0, tuple(rows))


def chosen(
    given_chain: Chain, spot: float = 660.0, incumbent: OptionRef | None = None, settings: Signals | None = None
) -> float | None:
    settings = settings or Signals()
    side = prepare(given_chain, "20261119", "C", DAY_NS, 660.0, 0, 0.04, settings)
    found = select(side, "SPY", "C", spot, 0, 0.04, settings, incumbent)
    return None if found is None else found.contract.strike


def test_the_strike_nearest_the_target_delta_is_chosen_by_our_own_greeks() -> None:
    deltas = {k: float(greeks(660.0, k, 1 / 365, 0.2, True, 0.04).delta) for k in range(645, 676)}
    best = min(deltas, key=lambda k: abs(deltas[k] - 0.40))
    assert chosen(chain()) == best
    # spot moves, the choice follows
    assert (chosen(chain(), spot=663.0) or 0) > best
    # nothing within the bounds: none
    assert chosen(chain(), settings=Signals(min_delta=0.4000001, target_delta=0.4000001, max_delta=0.4000002)) is None
    assert chosen(chain(), spot=500.0) is None


@pytest.mark.parametrize("flaw", [{"bid": 0.0}, {"bid": None}, {"ask": 9.9}, {"open_interest": 3, "volume": 3}, {"ask": 0.001}])
def test_a_row_that_cannot_be_traded_is_passed_over(flaw: dict[str, float | int | None]) -> None:
    best = chosen(chain())
    assert best is not None
    other = chosen(chain(**{f"k{best:.0f}": flaw}))
    assert other is not None and other != best


def test_volume_or_open_interest_is_enough_and_the_incumbent_is_kept_while_it_is_near() -> None:
    best = chosen(chain())
    assert best is not None
    assert chosen(chain(**{f"k{best:.0f}": {"open_interest": 0, "volume": 50}})) == best
    # between two strikes that are about as near, the one already quoted stays
    for strike in (662.0, 663.0):
        incumbent = OptionRef(symbol="SPY", expiry="20261119", strike=strike, right="C")
        assert chosen(chain(), spot=660.55, incumbent=incumbent) == strike
    far = OptionRef(symbol="SPY", expiry="20261119", strike=best + 4, right="C")
    assert chosen(chain(), incumbent=far) == best


def test_wanted_contracts_are_the_most_promising_once_each_and_bounded() -> None:
    a, b, c = (OptionRef(symbol="SPY", expiry="20261118", strike=float(k), right="C") for k in (1, 2, 3))
    assert wanted([(0.1, [a]), (0.9, [b, a]), (0.5, [c])], 2) == (b, a)
    assert wanted([], 5) == ()


def test_the_book_of_signals_ignores_verdicts_on_what_it_does_not_have() -> None:
    assert SignalBook().verdict("x", True, "") == (False, None)
    assert SignalBook().expire(5) == (False, [])
