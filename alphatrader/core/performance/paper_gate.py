"""The paper gate: what closed paper trades must show before real money is traded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alphatrader.core.performance.statistics import Performance

MIN_TRADES: Final = 100
WIN_RATE_OVER: Final = 0.45
SHARPE_OVER: Final = 1.0
DRAWDOWN_UNDER: Final = 0.10


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    value: str
    needed: str
    met: bool


@dataclass(frozen=True, slots=True)
class PaperGate:
    met: bool
    conditions: tuple[Condition, ...]


def paper_gate(performance: Performance) -> PaperGate:
    """Judges all paper trades together. What is not known is not met."""
    win_rate, sharpe, drawdown = performance.win_rate, performance.sharpe, performance.max_drawdown_share
    conditions = (
        Condition("closed trades", str(performance.trades), f"at least {MIN_TRADES}", performance.trades >= MIN_TRADES),
        Condition("win rate", _share(win_rate), f"over {WIN_RATE_OVER:.0%}", win_rate is not None and win_rate > WIN_RATE_OVER),
        Condition(
            "Sharpe ratio",
            "not known" if sharpe is None else f"{sharpe:.2f}",
            f"over {SHARPE_OVER}",
            sharpe is not None and sharpe > SHARPE_OVER,
        ),
        Condition(
            "drawdown", _share(drawdown), f"under {DRAWDOWN_UNDER:.0%}", drawdown is not None and drawdown < DRAWDOWN_UNDER
        ),
    )
    return PaperGate(all(condition.met for condition in conditions), conditions)


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"
