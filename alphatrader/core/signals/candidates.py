"""One symbol's candidate contracts: for each strategy a call and a put, kept stable while spot moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.settings.trading import Signals
from alphatrader.core.signals.score import Direction
from alphatrader.core.signals.selection import Candidate, Side, listed, prepare, select
from alphatrader.core.strategies.windows import StrategyRule

RIGHTS: dict[Direction, str] = {"long_call": "C", "long_put": "P"}


class Candidates:
    def __init__(self, symbol: str, settings: Signals, rate: float) -> None:
        self.chain: Chain | None = None
        self._symbol = symbol
        self._settings = settings
        self._rate = rate
        self._listed: tuple[str, ...] = ()
        self._sides: dict[tuple[str, str], Side | None] = {}
        self._chosen: dict[tuple[str, Direction], Candidate] = {}

    def take(self, chain: Chain | None) -> None:
        """A refreshed chain, or None when its key is gone: an absent key means stale."""
        self.chain = chain
        self._listed = listed(chain) if chain is not None else ()
        self._sides = {}

    def expiry(self, rule: StrategyRule, today: date, next_session: date) -> str | None:
        return rule.expiry(self._listed, today, next_session)

    def choose(
        self, strategy: str, expiry: str | None, spot: float | None, now_ns: int, close_of: Callable[[str], int | None]
    ) -> dict[Direction, Candidate]:
        """The call and the put of a strategy at this spot; a right without a tradable row is absent."""
        chosen: dict[Direction, Candidate] = {}
        if self.chain is None or expiry is None or spot is None:
            return chosen
        for direction, right in RIGHTS.items():
            if (expiry, right) not in self._sides:
                close = close_of(expiry)
                self._sides[expiry, right] = (
                    prepare(self.chain, expiry, right, close, spot, now_ns, self._rate, self._settings) if close else None
                )
            side = self._sides[expiry, right]
            if side is None:
                continue
            before: OptionRef | None = None
            if (strategy, direction) in self._chosen:
                before = self._chosen[strategy, direction].contract
            found = select(side, self._symbol, right, spot, now_ns, self._rate, self._settings, before)
            if found is not None:
                chosen[direction] = self._chosen[strategy, direction] = found
        return chosen


def wanted(ranked: list[tuple[float, list[OptionRef]]], most: int) -> tuple[OptionRef, ...]:
    """Contracts of the most promising first (by |lean|), each once, at most `most`."""
    ordered: dict[str, OptionRef] = {}
    for _, contracts in sorted(ranked, key=lambda entry: -entry[0]):
        for contract in contracts:
            ordered.setdefault(contract.occ, contract)
    return tuple(ordered.values())[:most]
