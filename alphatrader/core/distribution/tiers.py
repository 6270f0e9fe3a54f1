"""What each tier is told of an approved signal or a position, and when.

    premium   at once          everything: contract, entry, stop, targets, confidence, size, reasons; positions with their result
    basic     60 s later       contract, entry, stop, confidence; positions with their result; neither targets nor reasons
    free      300 s later      a teaser: symbol, direction, strategy; the first three signals of a session, no positions

The delays are counted in market time from the instant of which is told, so that whoever is told late learns nothing early.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.distribution import Delivery, Tier
from alphatrader.contract.messages.positions import Position, PositionEvent
from alphatrader.contract.messages.signals import Signal
from alphatrader.contract.settings.people import Distribution

SECOND: Final = 1_000_000_000
NEW_YORK: Final = ZoneInfo("America/New_York")
TIERS: Final[tuple[Tier, ...]] = ("premium", "basic", "free")
_SIDES: Final = {"long_call": "call", "long_put": "put"}


def delay_ns(tier: Tier, rules: Distribution) -> int:
    """How much later than premium a tier is told."""
    seconds = {"premium": 0.0, "basic": rules.basic_delay_seconds, "free": rules.free_delay_seconds}[tier]
    return round(seconds * SECOND)


def of_signal(signal: Signal, ordinal: int, rules: Distribution) -> tuple[Delivery, ...]:
    """The deliveries of an approved signal; `ordinal` counts the session's signals from 1."""
    told: tuple[Tier, ...] = TIERS if ordinal <= rules.free_per_day else ("premium", "basic")
    return tuple(_of_signal(signal, tier, rules) for tier in told)


def _of_signal(signal: Signal, tier: Tier, rules: Distribution) -> Delivery:
    side = _SIDES[signal.direction]
    head = {"Strategy": signal.strategy, "Signal of": clock_text(signal.ts_ns)}
    if tier == "free":
        return Delivery(
            id=f"{signal.id}:free",
            tier="free",
            kind="signal",
            symbol=signal.symbol,
            due_ns=signal.ts_ns + delay_ns("free", rules),
            created_ns=signal.ts_ns,
            title=f"{signal.symbol}: {signal.strategy} signal, long {side}",
            lines=("Subscribers were told the contract, the entry and the stop before this message.",),
            fields={"Symbol": signal.symbol, "Direction": f"long {side}", **head},
            disclaimer=rules.disclaimer,
            about=signal.id,
        )
    fields = {
        "Contract": contract_text(signal.contract),
        "Entry": f"{usd(signal.entry)} limit",
        "Stop": usd(signal.stop),
        "Confidence": f"{signal.confidence:.0f} of 100" + ("" if signal.calibrated else ", not yet calibrated"),
    }
    if tier == "premium":
        fields |= {
            "Targets": ", ".join(usd(target) for target in signal.targets) or "none",
            "Our size": f"{signal.quantity} contract{'s' if signal.quantity > 1 else ''} at most",
            "Underlying": usd(signal.under_price),
        }
    return Delivery(
        id=f"{signal.id}:{tier}",
        tier=tier,
        kind="signal",
        symbol=signal.symbol,
        due_ns=signal.ts_ns + delay_ns(tier, rules),
        created_ns=signal.ts_ns,
        title=f"{signal.symbol}: buy the {signal.contract.strike:g} {side} ({signal.strategy})",
        lines=signal.reasons if tier == "premium" else (),
        fields=fields | head,
        disclaimer=rules.disclaimer,
        about=signal.id,
    )


def of_position(event: PositionEvent, rules: Distribution) -> tuple[Delivery, ...]:
    """The deliveries of a position that opened or closed; none for what no signal of ours opened, or for any other change."""
    position = event.position
    words: dict[str, Callable[[Position], tuple[str, dict[str, str]]]] = {"opened": _opened, "closed": _closed}
    if position.signal_id is None or event.kind not in words:
        return ()
    title, fields = words[event.kind](position)
    reason = (event.reason,) if event.reason and event.kind == "closed" else ()
    paying: tuple[Tier, ...] = ("premium", "basic")
    return tuple(
        Delivery(
            id=f"{position.id}:{event.kind}:{tier}",
            tier=tier,
            kind="position",
            symbol=position.symbol,
            due_ns=event.ts_ns + delay_ns(tier, rules),
            created_ns=event.ts_ns,
            title=title,
            lines=reason if tier == "premium" else (),
            fields=fields | {"Strategy": position.strategy, "At": clock_text(event.ts_ns)},
            disclaimer=rules.disclaimer,
            about=position.signal_id,
        )
        for tier in paying
    )


def _opened(position: Position) -> tuple[str, dict[str, str]]:
    return f"{position.symbol}: position opened", {
        "Contract": contract_text(position.contract),
        "Bought": f"{position.opened_quantity} at {usd(position.average_price)} on average",
        "Stop": usd(position.stop) if position.stop is not None else "not known",
    }


def _closed(position: Position) -> tuple[str, dict[str, str]]:
    result = f"{'+' if position.realized >= 0 else '-'}{usd(abs(position.realized))}"
    costs = "after commissions" if position.commissions_known else "before commissions that the broker has not reported yet"
    return f"{position.symbol}: position closed, {result}", {
        "Contract": contract_text(position.contract),
        "Result": f"{result} {costs}, of {position.opened_quantity} bought at {usd(position.average_price)}",
    }


def contract_text(contract: OptionRef) -> str:
    """Such as `SPY 18 Nov 2026 660 call`."""
    day = date(int(contract.expiry[:4]), int(contract.expiry[4:6]), int(contract.expiry[6:8]))
    return f"{contract.symbol} {day.day} {day:%b %Y} {contract.strike:g} {'call' if contract.right == 'C' else 'put'}"


def clock_text(ts_ns: int) -> str:
    """New York time of an instant."""
    return f"{datetime.fromtimestamp(ts_ns / SECOND, tz=NEW_YORK):%H:%M:%S} New York"


def usd(amount: object) -> str:
    return f"${amount:,.2f}"
