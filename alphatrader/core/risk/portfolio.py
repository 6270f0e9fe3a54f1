"""What is held, taken together: value at risk and correlation of the book. sources.md §7.

Value at risk is the loss of one day that is exceeded on five days in a hundred, by full revaluation: the underlyings move
together (normal log returns, each symbol's own daily volatility, the discovered correlation), and every option is priced anew one
calendar day later at its present implied volatility, or at its intrinsic value where it expires before. A bought option cannot
lose more than it is worth now, which caps the result by itself. An option with less than a day left is given the whole day's
move: careful, and its premium is the cap all the same.
Source: Jorion, Value at Risk, ch. 5 and 10; Hull, Options, Futures and Other Derivatives, ch. 22.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alphatrader.core.options.greeks import MINUTE_NS, Floats, price, years_to_expiry

CONFIDENCE: Final = 0.95
SCENARIOS: Final = 4_000
"""Half of them drawn, the other half their mirror images: the mean is exactly zero."""
SEED: Final = 7
DAY_NS: Final = 24 * 60 * MINUTE_NS
LEAST_RETURNS: Final = 20
"""Fewer daily returns measure no volatility."""
Matrix = Mapping[tuple[str, str], float]
"""(symbol, symbol) -> correlation of their returns, both ways round; a symbol with itself is 1."""


@dataclass(frozen=True, slots=True)
class Held:
    """One option position and how it stands. Prices in USD a share."""

    symbol: str
    contracts: int
    """Signed."""
    multiplier: int
    strike: float
    call: bool
    closes_ns: int
    """Market time at which the session of its expiry closes."""
    mark: float
    spot: float
    vol: float
    """Implied, as a fraction a year."""
    delta: float

    @property
    def delta_usd(self) -> float:
        """Dollars of the underlying that move as the position does."""
        return self.delta * self.contracts * self.multiplier * self.spot


class NotKnown(ValueError):
    """A measure cannot be computed; the message says for want of what."""


def daily_vol(closes: Sequence[float]) -> float:
    """Standard deviation of daily log returns, as a fraction. Raises NotKnown."""
    prices = np.asarray(closes, dtype=np.float64)
    prices = prices[np.isfinite(prices) & (prices > 0)]
    if len(prices) <= LEAST_RETURNS:
        raise NotKnown(f"{max(len(prices) - 1, 0)} daily returns, {LEAST_RETURNS} are needed")
    return float(np.std(np.diff(np.log(prices)), ddof=1))


def value_at_risk(held: Sequence[Held], vols: Mapping[str, float], matrix: Matrix, now_ns: int, rate: float) -> float:
    """USD, positive for a loss, never under zero; 0 with nothing held. `vols`: symbol -> daily. Raises NotKnown."""
    if not held:
        return 0.0
    symbols = sorted({one.symbol for one in held})
    moves = _moves(symbols, vols, matrix)
    losses = np.zeros(SCENARIOS)
    for one in held:
        spots = one.spot * np.exp(moves[symbols.index(one.symbol)])
        worth = _worth(one, spots, now_ns + DAY_NS, rate)
        losses += one.contracts * one.multiplier * (one.mark - worth)
    if not np.isfinite(losses).all():
        raise NotKnown("a position has no price in some scenario")
    return max(0.0, float(np.quantile(losses, CONFIDENCE)))


def book_correlation(held: Sequence[Held], matrix: Matrix) -> float:
    """How alike the positions are, -1 to 1 (all one bet): each pair's correlation, weighted by both signed delta-dollars.

    Raises NotKnown: fewer than two positions with a delta, or a pair of unknown correlation."""
    weights = [(one.symbol, one.delta_usd) for one in held if one.delta_usd]
    if len(weights) < 2:
        raise NotKnown(f"{len(weights)} of two positions at least that move with their underlying")
    together = gross = 0.0
    for i, (symbol, weight) in enumerate(weights):
        for other, another in weights[:i]:
            together += weight * another * _rho(matrix, symbol, other)
            gross += abs(weight * another)
    return together / gross


def _moves(symbols: Sequence[str], vols: Mapping[str, float], matrix: Matrix) -> Floats:
    """Log returns, symbols by scenarios: always the same draws, so that the number moves only with the book and the market."""
    missing = [symbol for symbol in symbols if not vols.get(symbol, 0.0) > 0.0]
    if missing:
        raise NotKnown(f"no daily volatility of {', '.join(missing)}")
    rho = np.array([[_rho(matrix, a, b) for b in symbols] for a in symbols])
    values, vectors = np.linalg.eigh(rho)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = np.random.default_rng(SEED).standard_normal((len(symbols), SCENARIOS // 2))
    sigma = np.array([vols[symbol] for symbol in symbols])[:, None]
    return np.asarray(sigma * (root @ np.hstack((drawn, -drawn))) - 0.5 * sigma**2)


def _worth(one: Held, spots: Floats, at_ns: int, rate: float) -> Floats:
    """USD a share at each spot; the intrinsic value once the contract has expired."""
    if at_ns >= one.closes_ns:
        return np.maximum(spots - one.strike if one.call else one.strike - spots, 0.0)
    return price(spots, one.strike, years_to_expiry(at_ns, one.closes_ns), one.vol, one.call, rate)


def _rho(matrix: Matrix, symbol: str, other: str) -> float:
    if symbol == other:
        return 1.0
    try:
        return matrix[symbol, other]
    except KeyError:
        raise NotKnown(f"no correlation of {symbol} and {other}") from None
