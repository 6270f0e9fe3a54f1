"""0DTE: same-day expiry, gamma-driven.

Order flow, book and the last minutes' trend give the direction; the dealers' gamma decides whether a move is followed (they are
short: hedging feeds it) or faded (they are long: hedging and the walls stop it).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from alphatrader.core.strategies.inputs import Features, Inputs, book, clip, flow, short_trend

WALL_SHARE = 0.0025
"""Closer to a wall than this share of spot, a wall of long gamma holds."""


def features(inputs: Inputs) -> Features:
    trend = short_trend(inputs)
    return {"flow": flow(inputs, 60), "book": book(inputs), "trend": trend, "gamma": gamma(inputs, trend)}


def gamma(inputs: Inputs, trend: float | None) -> float | None:
    """Net share of gross gamma against the trend: short gamma backs the move, long gamma leans on it, more so at a wall.

    Spot beyond the flip agrees with the sign of the net, which is how the flip is defined: it needs no weight of its own."""
    net = inputs.part("gex", "net_share")
    spot = inputs.part("gex", "spot")
    if net is None or spot is None or trend is None:
        return None
    leaning = -net * trend
    wall = inputs.part("gex", "call_wall" if trend > 0 else "put_wall")
    ahead = wall is not None and (wall - spot) * trend >= 0 and abs(wall - spot) <= WALL_SHARE * spot
    if net > 0 and ahead:
        leaning -= 0.5 * net * (1.0 if trend > 0 else -1.0)
    return clip(leaning)


def expiry(listed: Sequence[str], today: date, next_session: date) -> str | None:
    name = f"{today:%Y%m%d}"
    return name if name in listed else None


def reasons(inputs: Inputs, found: Features, up: bool) -> tuple[str, ...]:
    """In words a subscriber understands, the strongest first."""
    side = "buyers" if up else "sellers"
    lines: list[tuple[float, str]] = []
    sign = 1.0 if up else -1.0
    flowing, leaning, trend, dealers = (found[name] for name in ("flow", "book", "trend", "gamma"))
    if flowing is not None and flowing * sign > 0.1:
        lines.append((abs(flowing), f"aggressive {side} dominate the last minute's prints ({abs(flowing):.0%} one-sided)"))
    if leaning is not None and leaning * sign > 0.1:
        lines.append((abs(leaning), f"the book leans to the {'bid' if up else 'ask'} ({abs(leaning):.0%})"))
    if trend is not None and trend * sign > 0.1:
        lines.append((abs(trend), f"price moves {'up' if up else 'down'} faster than its usual noise"))
    if dealers is not None and dealers * sign > 0.05:
        net = inputs.part("gex", "net_share") or 0.0
        lines.append(
            (abs(dealers), "dealers are short gamma: hedging feeds the move" if net < 0 else "dealer gamma backs a turn")
        )
    return tuple(text for _, text in sorted(lines, reverse=True)) or ("several weak signs agree",)
