"""Closed trades in numbers: win rate, Sharpe, drawdown, slippage. A number that its data do not bear is None.

Trades by hand (strategy `external`) are counted apart and judge nothing. Of trades whose exit nobody saw (an expiry, booked at 0)
losses count and gains do not: left out, what expired worthless would flatter the paper gate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from alphatrader.contract.messages.positions import ClosedTrade

SESSIONS_A_YEAR: Final = 252
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Performance:
    trades: int
    wins: int
    losses: int
    win_rate: float | None
    """Wins in all trades, break-even ones among them; net of commissions."""
    pnl: Decimal
    commissions: Decimal
    average_win: Decimal | None
    average_loss: Decimal | None
    profit_factor: float | None
    """Won dollars a lost dollar; None without a loss."""
    sharpe: float | None
    """Annualised from daily returns on the day's opening equity, days without a trade among them; risk-free rate 0."""
    max_drawdown_share: float | None
    """Largest fall from the running peak of equity, the starting equity among the peaks, by closed trades."""
    slippage: Decimal | None
    """USD beyond the mid, mean of the trades that know it."""
    slippage_trades: int


@dataclass(frozen=True, slots=True)
class Report:
    all: Performance
    by_strategy: dict[str, Performance]
    by_hand: int
    unseen_exits: int
    """Trades without a loss that are left out because their exit price is not known."""


def judged(trades: Iterable[ClosedTrade]) -> list[ClosedTrade]:
    """Those that count, in order of closing."""
    counted = (t for t in trades if t.strategy != "external" and t.pnl.is_finite() and (t.exit_known or t.pnl < 0))
    return sorted(counted, key=lambda t: (t.closed_ns, t.position_id))


def report(trades: Iterable[ClosedTrade], starting_equity: Decimal, sessions: Sequence[str]) -> Report:
    """`sessions`: every trading session covered, by name, so that idle days count in the Sharpe ratio."""
    everything = list(trades)
    counted = judged(everything)
    strategies = sorted({trade.strategy for trade in counted})
    return Report(
        all=performance(counted, starting_equity, sessions),
        by_strategy={
            name: performance([t for t in counted if t.strategy == name], starting_equity, sessions) for name in strategies
        },
        by_hand=sum(trade.strategy == "external" for trade in everything),
        unseen_exits=sum(t.strategy != "external" and not t.exit_known and t not in counted for t in everything),
    )


def performance(trades: Sequence[ClosedTrade], starting_equity: Decimal, sessions: Sequence[str]) -> Performance:
    """Of trades in order of closing. Raises ValueError where the starting equity is no amount."""
    if not starting_equity.is_finite() or starting_equity <= 0:
        raise ValueError(f"starting equity {starting_equity} must be more than 0")
    won = [trade.pnl for trade in trades if trade.pnl > 0]
    lost = [trade.pnl for trade in trades if trade.pnl < 0]
    slipped = [trade.slippage for trade in trades if trade.slippage is not None]
    return Performance(
        trades=len(trades),
        wins=len(won),
        losses=len(lost),
        win_rate=len(won) / len(trades) if trades else None,
        pnl=sum((trade.pnl for trade in trades), _ZERO),
        commissions=sum((trade.commissions for trade in trades), _ZERO),
        average_win=_mean(won),
        average_loss=_mean(lost),
        profit_factor=float(sum(won, _ZERO) / -sum(lost, _ZERO)) if lost else None,
        sharpe=sharpe(trades, starting_equity, sessions),
        max_drawdown_share=max_drawdown_share(trades, starting_equity),
        slippage=_mean(slipped),
        slippage_trades=len(slipped),
    )


def sharpe(trades: Sequence[ClosedTrade], starting_equity: Decimal, sessions: Sequence[str]) -> float | None:
    """None with fewer than two sessions, without variation, or once the equity is gone."""
    by_session = dict.fromkeys(sessions, _ZERO)
    for trade in trades:
        by_session[trade.session] = by_session.get(trade.session, _ZERO) + trade.pnl
    returns, equity = [], starting_equity
    for session in sorted(by_session):
        if equity <= 0:
            return None
        returns.append(float(by_session[session] / equity))
        equity += by_session[session]
    if len(returns) < 2:
        return None
    spread = statistics.stdev(returns)
    return statistics.fmean(returns) / spread * math.sqrt(SESSIONS_A_YEAR) if spread > 0 else None


def max_drawdown_share(trades: Sequence[ClosedTrade], starting_equity: Decimal) -> float | None:
    if not trades:
        return None
    equity = peak = starting_equity
    worst = _ZERO
    for trade in trades:
        equity += trade.pnl
        peak = max(peak, equity)
        worst = max(worst, (peak - equity) / peak)
    return float(worst)


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return (sum(amounts, _ZERO) / len(amounts)).quantize(Decimal("0.01")) if amounts else None
