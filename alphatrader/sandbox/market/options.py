"""Option prices, quotes and greeks of the simulated market: Black-Scholes with a smile, spreads, sizes, open interest, volume.

European formula, no dividends, rate `RATE`, time to the close of the expiry date over 365 days (floor one minute). Prices are
lifted to intrinsic value, since the contracts are American; greeks stay European, as the vendor's are. Theta is per day, vega
per volatility point. Quotes of one contract depend on the underlying's price, the day's volatility level and market time only.
Used by `option_desk.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, erf, exp, floor, log, pi, sqrt

from .hashing import key64, unit

RATE = 0.04
_YEAR_NS = 365 * 86_400 * 1_000_000_000
_MINUTE = 1 / (365 * 24 * 60)
_ROOT_2PI = sqrt(2 * pi)


def years_to(expiry_ns: int, now_ns: int) -> float:
    return max((expiry_ns - now_ns) / _YEAR_NS, _MINUTE)


def _cdf(x: float) -> float:
    return 0.5 * (1 + erf(x / 1.4142135623730951))


def price(spot: float, strike: float, years: float, vol: float, right: str) -> float:
    """Theoretical value, at least intrinsic."""
    deviation = vol * sqrt(years)
    d1 = (log(spot / strike) + (RATE + vol * vol / 2) * years) / deviation
    discounted = strike * exp(-RATE * years)
    if right == "C":
        return max(spot * _cdf(d1) - discounted * _cdf(d1 - deviation), spot - strike, 0.0)
    return max(discounted * _cdf(deviation - d1) - spot * _cdf(-d1), strike - spot, 0.0)


def greeks(spot: float, strike: float, years: float, vol: float, right: str) -> tuple[float, float, float, float]:
    """Delta, gamma (a share and $1), theta (a day), vega (a volatility point)."""
    root = sqrt(years)
    deviation = vol * root
    d1 = (log(spot / strike) + (RATE + vol * vol / 2) * years) / deviation
    density = exp(-d1 * d1 / 2) / _ROOT_2PI
    carry = RATE * strike * exp(-RATE * years)
    decay = -spot * density * vol / (2 * root)
    if right == "C":
        delta, theta = _cdf(d1), decay - carry * _cdf(d1 - deviation)
    else:
        delta, theta = _cdf(d1) - 1, decay + carry * _cdf(deviation - d1)
    return delta, density / (spot * deviation), theta / 365, spot * density * root / 100


def implied_vol(atm: float, spot: float, strike: float, years: float) -> float:
    """Smile: a skew to the downside and a curvature in units of the expected move, shorter expiries a little higher."""
    term = atm * (1 + 0.12 * exp(-years / 0.03))
    z = log(strike / spot) / (term * sqrt(max(years, 1 / 365)))
    z = max(-3.0, min(3.0, z))
    return term * (1 - 0.045 * z + 0.022 * z * z)


def spread(theoretical: float, *, tight: bool) -> float:
    """Wide deep in the money, and never under a cent, which is wide for what far out of the money costs."""
    return 0.01 + 0.006 * theoretical if tight else 0.02 + 0.014 * theoretical


def bid_ask(theoretical: float, *, tight: bool) -> tuple[float | None, float]:
    """In cents, in five of them from $3 on where it is not `tight`; a bid that would be nothing is None."""
    half = spread(theoretical, tight=tight) / 2
    bid = floor((theoretical - half) * 100 + 1e-9)
    ask = max(ceil((theoretical + half) * 100 - 1e-9), bid + 1, 1)
    if not tight:
        bid -= bid % 5 if bid >= 300 else 0
        ask += -ask % 5 if ask >= 300 else 0
    return (bid / 100 if bid > 0 else None), ask / 100


@dataclass(frozen=True, slots=True)
class Interest:
    """What is fixed for one contract through a session."""

    open_interest: int
    day_volume: int  # what it would have traded by the close
    key: int


def interest(seed: int, con_id: int, day: str, strike: float, right: str, centre: float, days: int, *, popular: bool,
             third_friday: bool) -> Interest:  # fmt: skip
    """Open interest: calls above the market, puts below, walls at round strikes, more in monthly expiries."""
    key = key64(seed, "interest", con_id)
    away = (strike / centre - 1) * (1 if right == "C" else -1)  # > 0 is out of the money
    hump = exp(-(((away - 0.018) / 0.03) ** 2)) + 0.15 * exp(-((away / 0.08) ** 2))
    roundness = 3.2 if strike % 10 == 0 and centre > 150 else 1.8 if strike % 5 == 0 else 1.0
    base = (9_000 if popular else 3_000) * (1.8 if third_friday else 1.0) * (1.15 if right == "P" else 1.0)
    noise = 0.4 + 1.2 * unit(key, 1)
    held = int(base * hump * roundness * noise * (1 + 0.05 * unit(key64(seed, day, con_id))))
    turnover = (3.0 if days == 0 else 1.5 if days <= 1 else 0.5) * exp(-((away / 0.02) ** 2)) + 0.03
    traded = int(held * turnover * (0.5 + unit(key64(seed, "volume", day, con_id))))
    return Interest(held, traded, key)
