"""Prices and hard limits: what a quote allows. A price that is missing, stale, crossed or not finite prices nothing.

Every refusal is a `Refused` whose text names the rule and the values. The limits here are the last wall before the wire:
they hold whatever risk has approved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.price_steps import step
from alphatrader.contract.settings.trading import Orders

Direction = Literal["down", "up", "nearest"]
_ROUNDING: Final[dict[Direction, str]] = {"down": ROUND_FLOOR, "up": ROUND_CEILING, "nearest": ROUND_HALF_EVEN}


class Refused(ValueError):
    """This order must not be sent: the text says why."""


def to_tick(price: Decimal, tick: Decimal, direction: Direction) -> Decimal:
    """The price on the contract's grid, at least one tick."""
    steps = (price / tick).quantize(Decimal(1), _ROUNDING[direction])
    return max(steps, Decimal(1)) * tick


def _decimal(value: float | None, name: str, con_id: int) -> Decimal:
    if value is None or not math.isfinite(value) or value <= 0:
        raise Refused(f"quotes:{con_id}: {name} is {value}")
    return Decimal(str(round(value, 6)))


class Prices:
    """A quote that has passed: bid, ask and mid as Decimals, and the contract's grid of prices, coarser from $3 on."""

    def __init__(self, quote: ContractQuote | None, con_id: int, machine_ns: int, max_age_seconds: float) -> None:
        if quote is None:
            raise Refused(f"quotes:{con_id}: there is no quote")
        age = (machine_ns - quote.machine_ns) / 1e9
        if not -1.0 <= age <= max_age_seconds:
            raise Refused(f"quotes:{con_id}: is {age:.1f} s old, at most {max_age_seconds:g} s are allowed")
        self.bid = _decimal(quote.bid, "bid", con_id)
        self.ask = _decimal(quote.ask, "ask", con_id)
        self._symbol, self._finest = quote.symbol, _decimal(quote.min_tick, "min_tick", con_id)
        if self.bid > self.ask:
            raise Refused(f"quotes:{con_id}: bid {self.bid} is over ask {self.ask}")
        self.mid = (self.bid + self.ask) / 2

    def step(self, price: Decimal) -> Decimal:
        return step(self._symbol, self._finest, price)

    def on_grid(self, price: Decimal, direction: Direction) -> Decimal:
        return to_tick(price, self.step(price), direction)


def finite(value: Decimal, name: str) -> Decimal:
    if not value.is_finite() or value <= 0:
        raise Refused(f"{name} is {value}")
    return value


@dataclass(frozen=True, slots=True)
class EntryTerms:
    quantity: int
    limit: Decimal


def entry_terms(approval: Approval, prices: Prices, settings: Orders) -> EntryTerms:
    """What to buy at which limit.

    Up to `high_confidence` the limit is the approved one, or the ask where the market has moved up to `entry_slippage_ticks` away
    since: an order that stays behind misses. Above it the limit is through the ask, wherever that stands within the collar.
    Paying more buys less: the premium at the ask stays within what risk approved, and where not even one contract fits into it
    the approved limit stands.
    """
    limit = entry_price(approval, prices, settings)
    approved, ask = finite(approval.limit_price, "limit_price"), prices.on_grid(prices.ask, "up")
    affordable = min(approval.quantity, int(approved * approval.quantity / ask))
    if approval.confidence > settings.high_confidence:
        if affordable >= 1:
            return EntryTerms(affordable, limit)
        if settings.high_confidence_type == "market":
            raise Refused(f"premium: one contract at the ask {ask} is over the approved {approved} for {approval.quantity}")
        return EntryTerms(approval.quantity, prices.on_grid(approved, "down"))
    moved = limit < ask <= limit + settings.entry_slippage_ticks * prices.step(limit)
    if not moved or ask > _collar(prices, settings) or affordable < 1:
        return EntryTerms(approval.quantity, limit)
    return EntryTerms(affordable, ask)


def _collar(prices: Prices, settings: Orders) -> Decimal:
    """The most that may be bid."""
    return prices.on_grid(prices.mid * (1 + Decimal(str(settings.collar_share))), "down")


def check_collar(limit: Decimal, prices: Prices, settings: Orders) -> None:
    """Raises Refused."""
    most = _collar(prices, settings)
    if limit > most:
        raise Refused(f"collar: limit {limit} is over {most}, {settings.collar_share:.0%} from mid {prices.mid}")


def check_stop(stop: Decimal, prices: Prices) -> None:
    """Raises Refused where the stop would sell at once what the entry buys: the market has fallen to it since the signal."""
    stands = prices.on_grid(finite(stop, "stop_price"), "nearest")
    if stands >= prices.bid:
        raise Refused(f"stop {stands} is not under the bid {prices.bid}: it would sell at once")


def entry_price(approval: Approval, prices: Prices, settings: Orders) -> Decimal:
    """The entry's limit: risk's, or one tick through the ask above `high_confidence`; never outside the collar."""
    most = _collar(prices, settings)
    if approval.confidence > settings.high_confidence:
        price = prices.on_grid(prices.ask + prices.step(prices.ask), "up")
        if prices.ask > most:
            raise Refused(f"collar: ask {prices.ask} is over {most}, {settings.collar_share:.0%} from mid {prices.mid}")
        return min(price, most)
    price = prices.on_grid(finite(approval.limit_price, "limit_price"), "down")
    if price > approval.limit_price:
        raise Refused(f"limit_price {approval.limit_price} is under {price}, the least price of the contract")
    check_collar(price, prices, settings)
    return price


def exit_price(prices: Prices, urgent: bool, attempt: int, collar_share: float) -> Decimal:
    """A selling limit: at mid first when there is time, then through the bid, each attempt a tick further, within the collar."""
    if not urgent and attempt == 0:
        return prices.on_grid(prices.mid, "up")
    floor = prices.on_grid(prices.mid * (1 - Decimal(str(collar_share))), "up")
    through = prices.on_grid(prices.bid - prices.step(prices.bid) * (1 + attempt), "down")
    # A wide market's bid may lie under the collar: an exit must get out, so it may always reach the bid itself.
    return max(through, min(floor, prices.on_grid(prices.bid, "down")))


def cover_price(prices: Prices, attempt: int, collar_share: float) -> Decimal:
    """A buying limit that closes a short: through the ask, each attempt a tick further, within the collar or at the ask."""
    ceiling = prices.on_grid(prices.mid * (1 + Decimal(str(collar_share))), "down")
    through = prices.on_grid(prices.ask + prices.step(prices.ask) * (1 + attempt), "up")
    return min(through, max(ceiling, prices.on_grid(prices.ask, "up")))


def check_limits(approval: Approval, terms: EntryTerms, settings: Orders, sent_last_minute: int) -> None:
    """The hard limits of one opening order. Raises Refused."""
    quantity, price = terms.quantity, terms.limit
    if not 1 <= quantity <= settings.max_quantity:
        raise Refused(f"quantity {quantity} is outside 1 to {settings.max_quantity}")
    if approval.contract.multiplier < 1:
        raise Refused(f"multiplier {approval.contract.multiplier} is none")
    if approval.symbol != approval.contract.symbol:
        raise Refused(f"approved of {approval.symbol}, but the contract is of {approval.contract.symbol}")
    notional = price * quantity * approval.contract.multiplier
    if notional > Decimal(str(settings.max_notional_usd)):
        raise Refused(f"notional {notional} USD is over {settings.max_notional_usd:g}")
    if sent_last_minute >= settings.max_orders_per_minute:
        raise Refused(f"{sent_last_minute} orders in the last minute, {settings.max_orders_per_minute} are allowed")
    stop, target = finite(approval.stop_price, "stop_price"), finite(approval.target_price, "target_price")
    if not stop < price < target:
        raise Refused(f"stop {stop}, entry {price} and target {target} are not in order")
