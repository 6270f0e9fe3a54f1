"""Settings of what is decided: strategies, signals, risk, orders, positions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Final, Literal

from msgspec import Meta

from alphatrader.contract.settings.market import Share
from alphatrader.contract.settings.system import Clock, Seconds, Section

Usd = Annotated[float, Meta(gt=0, le=1e9)]
Distance = Annotated[float, Meta(gt=0, le=100)]
"""In ATR."""
FEATURES: Final = frozenset({"flow", "book", "trend", "gamma", "unusual", "sentiment", "imbalance"})
"""What the strategies look at (core/strategies)."""


class Window(Section, frozen=True):
    """When a strategy may signal, New York time, half-open; ends move with an early close by the same distance."""

    opens: Annotated[Clock, Meta(description="First minute.")]
    closes: Annotated[Clock, Meta(description="The minute it ends; not in it.")]
    enabled: Annotated[bool, Meta(description="Whether it may signal at all.")] = True
    symbols: Annotated[tuple[str, ...], Meta(description="Only these; empty: all equities.")] = ()
    min_confidence: Annotated[float, Meta(ge=0, le=100, description="Least score that becomes a signal.")] = 60.0
    weights: Annotated[dict[str, float], Meta(description="Feature -> weight in the score.")] = {}  # noqa: RUF012
    cooldown_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)] | None,
        Meta(description="Instead of `signals.cooldown_seconds`, for this strategy; null: that one."),
    ] = None

    def __post_init__(self) -> None:
        if self.opens >= self.closes:
            raise ValueError(f"closes: {self.closes} is not after opens, {self.opens}")
        if unknown := self.weights.keys() - FEATURES:
            allowed = ", ".join(sorted(FEATURES))
            raise ValueError(f"weights: no such feature: {', '.join(sorted(unknown))}; there are {allowed}")
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:  # negative ones would make the sum they are divided by small, and any evidence certain
                raise ValueError(f"weights: {name} is {weight}, must be a number of at least 0")


class Strategies(Section, frozen=True):
    zero_dte: Annotated[Window, Meta(description="0DTE: gamma-driven, same-day expiry.")]
    one_dte: Annotated[Window, Meta(description="1DTE: overnight positioning, next session's expiry.")]
    fourteen_dte: Annotated[Window, Meta(description="14DTE: unusual activity, expiry nearest 14 days in 10 to 18.")]
    moc: Annotated[Window, Meta(description="MOC: closing imbalances.")]


class Signals(Section, frozen=True):
    uncalibrated_cap: Annotated[
        float, Meta(ge=0, le=100, description="Highest score until enough closed trades calibrate it.")
    ] = 84.0
    calibration_trades: Annotated[int, Meta(ge=1, description="Closed trades that calibrate the score.")] = 200
    cooldown_seconds: Annotated[
        Seconds, Meta(description="Least market time between two signals of one symbol and strategy.")
    ] = 120.0
    life_seconds: Annotated[Seconds, Meta(description="A signal without a verdict ends after this.")] = 60.0
    score_slope: Annotated[
        float, Meta(gt=0, le=20, description="Score = 100 / (1 + exp(-slope x |weighted features|)), so 0 evidence is 50.")
    ] = 4.0
    evaluate_seconds: Annotated[
        float, Meta(ge=0.05, le=5, description="Least machine time between two evaluations of one symbol.")
    ] = 0.25
    wanted_contracts: Annotated[int, Meta(ge=2, le=90, description="Most candidate contracts kept quoted at once.")] = 30
    prior_wins: Annotated[
        float, Meta(ge=0, le=1000, description="Sizing before there are trades: as if this many had won. An assumption.")
    ] = 30.0
    prior_losses: Annotated[float, Meta(ge=0, le=1000, description="And this many lost.")] = 30.0
    win_quantile: Annotated[float, Meta(gt=0, lt=0.5, description="Quantile of the win rate's posterior that sizes a trade.")] = (
        0.05
    )
    target_delta: Annotated[float, Meta(gt=0, lt=1, description="Wanted |delta| of the contract.")] = 0.40
    min_delta: Annotated[float, Meta(gt=0, lt=1, description="Least |delta|.")] = 0.30
    max_delta: Annotated[float, Meta(gt=0, lt=1, description="Largest |delta|.")] = 0.55
    max_spread_share: Annotated[float, Meta(gt=0, le=1, description="Largest spread as a share of mid.")] = 0.10
    max_spread_usd: Annotated[float, Meta(ge=0, description="A spread up to this passes whatever its share.")] = 0.05
    min_open_interest: Annotated[int, Meta(ge=0, description="Least open interest, or the least volume below.")] = 100
    min_volume: Annotated[int, Meta(ge=0, description="Least volume of the day, or the least open interest above.")] = 50
    kelly_share: Annotated[float, Meta(gt=0, le=0.25, description="Share of the Kelly fraction; a quarter at most.")] = 0.25
    premium_cap_share: Annotated[float, Meta(gt=0, le=0.1, description="Largest premium of one trade, share of equity.")] = 0.02
    atr_period: Annotated[int, Meta(ge=2, le=100, description="Bars of Wilder's ATR.")] = 14
    stop_atr: Annotated[
        Distance, Meta(description="Stop distance in ATR of the underlying, turned to option price by delta.")
    ] = 1.5
    target_atr: Annotated[tuple[Distance, ...], Meta(min_length=1, description="Target distances in ATR, nearest first.")] = (
        1.5,
        2.5,
        4.0,
    )
    max_quote_age_seconds: Annotated[Seconds, Meta(description="A quote older than this prices nothing.")] = 3.0
    max_metric_age_seconds: Annotated[Seconds, Meta(description="A metric older than this decides nothing.")] = 5.0

    def __post_init__(self) -> None:
        if not self.min_delta <= self.target_delta <= self.max_delta:
            found = f"{self.target_delta:g}, not between min_delta {self.min_delta:g} and max_delta {self.max_delta:g}"
            raise ValueError(f"target_delta: {found}")
        if any(nearer >= farther for nearer, farther in pairwise(self.target_atr)):
            raise ValueError(f"target_atr: {list(self.target_atr)} must rise")


class Risk(Section, frozen=True):
    start_halted: Annotated[bool, Meta(description="Whether a first start waits for `alphatrader resume`.")] = True
    daily_loss_usd: Annotated[
        Usd, Meta(description="Daily loss that latches the halt: the lower of this and the share below.")
    ] = 2000.0
    daily_loss_share: Annotated[float, Meta(gt=0, le=1, description="The same as a share of the day's opening equity.")] = 0.05
    max_consecutive_losses: Annotated[int, Meta(ge=1, description="Losing trades in a row that latch the halt.")] = 3
    max_drawdown_share: Annotated[float, Meta(gt=0, le=1, description="Fall from the peak equity that latches the halt.")] = 0.10
    max_positions: Annotated[int, Meta(ge=1, description="Positions and opening orders in all.")] = 5
    max_positions_per_symbol: Annotated[int, Meta(ge=1, description="The same for one symbol.")] = 2
    max_alike_premium_share: Annotated[
        float,
        Meta(
            gt=0, le=1, description="Most premium, share of equity, in options that win and lose together (correlation over 0.7)."
        ),
    ] = 0.06
    max_account_age_seconds: Annotated[Seconds, Meta(description="Older buying power approves nothing.")] = 60.0
    approval_seconds: Annotated[float, Meta(gt=0, le=1, description="How long an approval is worth acting on.")] = 1.0
    lease_renew_seconds: Annotated[float, Meta(gt=0, le=1, description="How often the lease is renewed; it lives 3 s.")] = 1.0
    max_signal_age_seconds: Annotated[Seconds, Meta(description="An older signal is refused, machine time.")] = 5.0
    max_broker_silence_seconds: Annotated[
        Seconds, Meta(description="Without a statement of the account for this long, what the broker holds is unknown.")
    ] = 10.0
    max_positions_age_seconds: Annotated[
        Seconds, Meta(description="`positions:summary` older than this: nobody watches the positions, nothing is opened.")
    ] = 5.0
    unclaimed_seconds: Annotated[
        float, Meta(gt=1, le=600, description="Without an order record after this, an approval is void and holds no place.")
    ] = 10.0


class Orders(Section, frozen=True):
    high_confidence: Annotated[float, Meta(ge=0, le=100, description="Above this the order is marketable at once.")] = 85.0
    high_confidence_type: Annotated[
        Literal["marketable_limit", "market"], Meta(description="A limit through the ask with a collar, or a plain market order.")
    ] = "marketable_limit"
    collar_share: Annotated[float, Meta(gt=0, le=0.5, description="Farthest a price may stand from the quote's mid.")] = 0.10
    max_quantity: Annotated[int, Meta(ge=1, description="Hard limit of contracts an order.")] = 100
    max_notional_usd: Annotated[Usd, Meta(description="Hard limit of premium an order.")] = 25_000.0
    max_orders_per_minute: Annotated[int, Meta(ge=1, description="Hard limit of opening orders in a minute.")] = 20
    max_quote_age_seconds: Annotated[Seconds, Meta(description="An older quote sends nothing.")] = 5.0
    entry_life_seconds: Annotated[Seconds, Meta(description="A working entry is cancelled after this, market time.")] = 60.0
    unconfirmed_alarm_seconds: Annotated[
        Seconds, Meta(description="An order without the broker's word, or a cancel without its end, alarms after this.")
    ] = 45.0
    account_poll_seconds: Annotated[Seconds, Meta(description="How often the account is published.")] = 1.0
    entry_slippage_ticks: Annotated[
        int, Meta(ge=0, le=20, description="Up to so many ticks over the approved limit, an entry follows the ask at send time.")
    ] = 2
    no_entry_last_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Nothing opens, and no entry works, in so many last seconds of a session.")
    ] = 120.0
    inactive_seconds: Annotated[
        Seconds, Meta(description="An order that the broker lists as Inactive for this long is cancelled; it alarms besides.")
    ] = 10.0


class Positions(Section, frozen=True):
    trail_after_r: Annotated[
        float, Meta(gt=0, description="The stop trails once the gain is this many times the first risk.")
    ] = 1.0
    trail_share: Annotated[Share, Meta(description="Share of the gain the trailing stop keeps.")] = 0.5
    flat_by: Annotated[Clock, Meta(description="0DTE positions are closed at this New York time.")] = "15:45"
    publish_seconds: Annotated[float, Meta(gt=0, le=5, description="How often P&L is published.")] = 0.5
    reconcile_seconds: Annotated[
        Seconds, Meta(description="How long a difference from the broker may stand before it alarms.")
    ] = 10.0

    def __post_init__(self) -> None:
        if not "09:30" < self.flat_by < "16:00":
            raise ValueError(f"flat_by: {self.flat_by} is not between 09:30 and 16:00, when an expiring option can be sold")
