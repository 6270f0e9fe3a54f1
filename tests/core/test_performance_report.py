"""What closed trades say, against an independent calculation, and the paper gate at its bounds."""

from __future__ import annotations

import random
from dataclasses import replace as with_fields
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.core.performance.paper_gate import paper_gate
from alphatrader.core.performance.statistics import Performance, performance, report
from tests.support.holdings import NOW_NS, SPY

D = Decimal
SESSIONS = [f"2026-10-{day:02d}" for day in range(5, 25)]


def trade(number: int, pnl: str, session: str, strategy: str = "0DTE", slippage: str | None = None) -> ClosedTrade:
    slipped = D(slippage) if slippage else None
    return ClosedTrade(
        f"t{number}",
        strategy,
        "SPY",
        SPY,
        1,
        D(4),
        D(4),
        D("1.30"),
        D(pnl),
        slipped,
        None,
        NOW_NS,
        NOW_NS + number,
        session,
        "stop",
    )


def some_trades() -> list[ClosedTrade]:
    rng = random.Random(11)
    return [
        trade(n, f"{rng.gauss(12, 90):.2f}", SESSIONS[n // 8], rng.choice(["0DTE", "MOC"]), rng.choice([None, "2.50", "4"]))
        for n in range(120)
    ]


def test_the_numbers_agree_with_an_independent_calculation() -> None:
    trades = some_trades()
    found = report(reversed(trades), D(20_000), SESSIONS)
    gains = np.array([float(t.pnl) for t in trades])
    equity = 20_000 + np.concatenate([[0.0], gains.cumsum()])
    peaks = np.maximum.accumulate(equity)
    by_day = np.array([sum(float(t.pnl) for t in trades if t.session == s) for s in SESSIONS])
    returns = by_day / (20_000 + np.concatenate([[0.0], by_day.cumsum()[:-1]]))
    assert found.all.trades == 120
    assert found.all.win_rate == pytest.approx((gains > 0).mean())
    assert float(found.all.pnl) == pytest.approx(gains.sum())
    assert found.all.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert found.all.max_drawdown_share == pytest.approx(((peaks - equity) / peaks).max())
    assert found.all.profit_factor == pytest.approx(gains[gains > 0].sum() / -gains[gains < 0].sum())
    slipped = [float(t.slippage) for t in trades if t.slippage is not None]
    assert float(found.all.slippage or 0) == pytest.approx(np.mean(slipped), abs=0.005)
    # and each strategy is what its own trades say, so that they add up to the whole
    assert set(found.by_strategy) == {"0DTE", "MOC"}
    for name, of_one in found.by_strategy.items():
        assert of_one == performance([t for t in trades if t.strategy == name], D(20_000), SESSIONS)
    assert sum(p.pnl for p in found.by_strategy.values()) == found.all.pnl
    assert sum(p.trades for p in found.by_strategy.values()) == 120


def test_a_known_answer() -> None:
    trades = [trade(1, "100", "2026-10-05"), trade(2, "-50", "2026-10-06")]
    found = performance(trades, D(1000), ["2026-10-05", "2026-10-06", "2026-10-07"])
    # daily returns 0.1, -50/1100, 0; drawdown 50/1100
    assert (found.win_rate, found.pnl, found.average_win, found.average_loss) == (0.5, D(50), D(100), D(-50))
    assert found.max_drawdown_share == pytest.approx(50 / 1100)
    assert found.sharpe == pytest.approx(3.87876, abs=1e-5)


def test_what_the_data_do_not_bear_is_none() -> None:
    empty = performance([], D(1000), [])
    assert (empty.win_rate, empty.sharpe, empty.max_drawdown_share, empty.slippage, empty.profit_factor) == (None,) * 5
    one = performance([trade(1, "5", "2026-10-05")], D(1000), ["2026-10-05"])
    assert one.sharpe is None and one.max_drawdown_share == 0
    for nothing in (D(0), D(-1), D("NaN"), D("Infinity")):
        with pytest.raises(ValueError, match="starting equity"):
            performance([], nothing, [])


def test_a_trade_that_gave_nothing_is_neither_won_nor_lost_and_equity_that_is_gone_has_no_ratio() -> None:
    even = performance([trade(1, "0", SESSIONS[0]), trade(2, "10", SESSIONS[1])], D(1000), SESSIONS[:2])
    assert (even.wins, even.losses, even.win_rate, even.average_win, even.profit_factor) == (1, 0, 0.5, D(10), None)
    assert even.sharpe == pytest.approx(0.005 / (0.01 / np.sqrt(2)) * np.sqrt(252))  # of two sessions already
    gone = [trade(1, "-1000", SESSIONS[0]), trade(2, "10", SESSIONS[1]), trade(3, "10", SESSIONS[2])]
    assert performance(gone, D(1000), SESSIONS[:3]).sharpe is None


def test_a_result_that_is_no_amount_counts_nowhere() -> None:
    nothing = trade(2, "NaN", SESSIONS[0])
    assert report([nothing, replace(nothing, exit_known=False)], D(1000), SESSIONS).unseen_exits == 1
    found = report([trade(1, "5", SESSIONS[0]), nothing], D(1000), SESSIONS)
    assert (found.all.trades, found.all.pnl, found.unseen_exits) == (1, D(5), 0)


def test_trades_by_hand_and_gains_that_nobody_saw_judge_nothing_while_an_unseen_loss_does() -> None:
    trades = [
        trade(1, "5", "2026-10-05"),
        trade(2, "-900", "2026-10-05", "external"),
        replace(trade(3, "-400", "2026-10-05"), exit_known=False),
        replace(trade(4, "700", "2026-10-05"), exit_known=False),
        replace(trade(5, "0", "2026-10-05"), exit_known=False),
        replace(trade(6, "-900", "2026-10-05", "external"), exit_known=False),
    ]
    found = report(trades, D(1000), SESSIONS)
    assert (found.all.trades, found.all.pnl, found.by_hand, found.unseen_exits) == (2, D(-395), 2, 2)


def passing() -> Performance:
    return Performance(100, 46, 54, 0.46, D(1), D(1), None, None, None, 1.01, 0.0999, None, 0)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("closed trades", {"trades": 99}),
        ("win rate", {"win_rate": 0.45}),
        ("win rate", {"win_rate": None}),
        ("Sharpe ratio", {"sharpe": 1.0}),
        ("Sharpe ratio", {"sharpe": None}),
        ("drawdown", {"max_drawdown_share": 0.10}),
        ("drawdown", {"max_drawdown_share": None}),
    ],
)
def test_the_paper_gate_at_its_bounds(name: str, changes: dict[str, Any]) -> None:
    assert paper_gate(passing()).met
    gate = paper_gate(with_fields(passing(), **changes))
    assert not gate.met and [c.name for c in gate.conditions if not c.met] == [name]
