"""The table of strategies: which there are, their windows' settings, and what each looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from alphatrader.contract.messages.signals import Strategy
from alphatrader.contract.settings.trading import Strategies, Window
from alphatrader.core.strategies import fourteen_dte, moc, one_dte, zero_dte
from alphatrader.core.strategies.inputs import Features, Inputs


@dataclass(frozen=True)
class StrategyRule:
    name: Strategy
    window: Callable[[Strategies], Window]
    features: Callable[[Inputs], Features]
    expiry: Callable[[Sequence[str], date, date], str | None]
    """(listed expiries, today, next session) -> the one to trade."""
    reasons: Callable[[Inputs, Features, bool], tuple[str, ...]]
    needs: tuple[str, ...]
    """Metrics without which there is no signal at all."""


RULES: Final = (
    StrategyRule(
        "0DTE", lambda s: s.zero_dte, zero_dte.features, zero_dte.expiry, zero_dte.reasons, ("vpin", "obi", "gex", "regime")
    ),
    StrategyRule("1DTE", lambda s: s.one_dte, one_dte.features, one_dte.expiry, one_dte.reasons, ("vpin", "obi", "regime")),
    StrategyRule(
        "14DTE", lambda s: s.fourteen_dte, fourteen_dte.features, fourteen_dte.expiry, fourteen_dte.reasons, ("regime",)
    ),
    StrategyRule("MOC", lambda s: s.moc, moc.features, moc.expiry, moc.reasons, ("vpin",)),
)


def trades(window: Window, symbol: str) -> bool:
    """Whether the strategy looks at this symbol."""
    return window.enabled and (not window.symbols or symbol in window.symbols)
