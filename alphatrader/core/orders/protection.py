"""What must be done so that a position is protected and held as wanted: never naked, never sold twice (invariants.md I13 to I15).

`decide` looks at one intent and says the next step; it is asked again after every change. Orders of one OCA group reduce each
other at the broker, so the live protective quantity of an intent is the largest in its group plus what stands outside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.core.orders.states import is_open

REPROTECT_AFTER_SECONDS = 0.4
"""How long a filled position may be without a confirmed stop before another stop is placed."""
FLATTEN_AFTER_SECONDS = 1.5
"""... and before the position is closed: it must be protected or on its way out within 2 s."""
SETTLE_SECONDS = 0.3
"""The broker reduces and cancels OCA siblings by itself: its own news get this long to come."""


@dataclass(frozen=True, slots=True)
class PlaceStop:
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class PlaceExit:
    quantity: int
    in_group: bool
    """In the intent's OCA group: right for closing all of it. A part must stand outside: a filled member ends its whole group."""
    reason: str


@dataclass(frozen=True, slots=True)
class Modify:
    ref: str
    remaining: int
    """What should still work."""
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    ref: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuyBack:
    quantity: int


Action = PlaceStop | PlaceExit | Modify | Cancel | BuyBack


@dataclass(frozen=True, slots=True)
class Case:
    """One intent: what it holds, its orders, and what is wanted of it."""

    held: int
    records: tuple[OrderRecord, ...]
    hold: int | None
    """Contracts that should remain; None where nothing was asked."""
    stop: Decimal | None
    """Wanted stop price, on the contract's grid; None where nothing was asked."""
    unprotected_seconds: float
    """How long something has been held without a confirmed stop."""
    quiet_seconds: float
    """Since the broker's last word about this intent."""
    ours: bool = True
    """False for a position that was not opened here: it is closed and stopped only as asked, never for want of a stop."""
    short: int = 0
    """Contracts sold beyond what was held: `held` is then 0."""
    coverable: int = 0
    """How many of them the broker's own list shows as short: no more is bought, so that buying back never opens."""
    unbooked: bool = False
    """The broker says that an order has filled, and its executions have not come: what is held is not known."""


def working(record: OrderRecord) -> int:
    """What an open order may still execute."""
    if not is_open(record.state):
        return 0
    return record.remaining if record.remaining is not None else max(0, record.quantity - record.filled)


def _as_it_was(record: OrderRecord, most: int) -> int:
    """What should go on working where only the price changes: a fill or a sibling's reduction that one of the broker's words has
    told and another not yet must not be given back to the order."""
    return min(working(record), max(0, record.quantity - record.filled), most)


def live_protective_quantity(records: tuple[OrderRecord, ...]) -> int:
    """The most that all selling orders together may sell (I14)."""
    groups: dict[str, int] = {}
    for record in records:
        if record.side == "SELL" and record.role != "entry":
            key = record.oca_group or record.id
            groups[key] = max(groups.get(key, 0), working(record))
    return sum(groups.values())


def is_protected(case: Case) -> bool:
    return any(record.role == "stop" and record.state == "WORKING" for record in case.records)


def repriceable(case: Case, actions: Iterable[Action]) -> list[tuple[OrderRecord, int]]:
    """Exits at work whose price may follow the market, with what should go on working of each: no more than is left to close.

    None that `actions` change or cancel: its size as it stands is the one that must not be sent again. None either while a fill
    is known by word alone: what is left to close is not known."""
    if case.unbooked:
        return []
    changed = {action.ref for action in actions if isinstance(action, Modify | Cancel)}
    found = [r for r in case.records if r.role == "exit" and r.state == "WORKING" and r.id not in changed]
    sizes = [(record, _as_it_was(record, case.short if record.side == "BUY" else case.held)) for record in found]
    return [(record, size) for record, size in sizes if size > 0]


def decide(case: Case) -> list[Action]:
    if case.unbooked:
        # To sell what a stop has sold, or to take the stop from what an entry has bought, is worse than to wait.
        return []
    still_open = [record for record in case.records if is_open(record.state)]
    covers = [record for record in still_open if record.role == "exit" and record.side == "BUY"]
    live = {role: [r for r in still_open if r.role == role and r not in covers] for role in ("entry", "stop", "target", "exit")}
    if case.short > 0:
        return _cover(case, live, covers)
    return [*_cancels(covers, "nothing is short"), *_decide_long(case, live)]


def _cover(case: Case, live: dict[str, list[OrderRecord]], covers: list[OrderRecord]) -> list[Action]:
    """First nothing of the intent may sell any more, nor open; then the short is bought back, once, up to flat."""
    others = [record for orders in live.values() for record in orders]
    if others:
        return _cancels(others, "more was sold than held")
    if covers:
        return [Modify(record.id, case.short) for record in covers if working(record) > case.short]
    return [BuyBack(case.coverable)] if case.coverable else []


def _decide_long(case: Case, live: dict[str, list[OrderRecord]]) -> list[Action]:
    if case.held <= 0:
        return _nothing_held(case, live)
    if case.ours and case.unprotected_seconds >= FLATTEN_AFTER_SECONDS:
        return [*_cancels(live["entry"], "unprotected"), *_close(case, live, "no stop was confirmed in time")]
    keep = case.held if case.hold is None else max(0, min(case.hold, case.held))
    if keep < case.held and live["entry"]:
        return _cancels(live["entry"], "an exit is wanted")
    if keep == 0:
        return _close(case, live, "exit")
    if keep < case.held:
        return _reduce(case, live, keep)
    return _protect(case, live)


def _nothing_held(case: Case, live: dict[str, list[OrderRecord]]) -> list[Action]:
    """Orphans must go: a stop without a position would open one."""
    if live["entry"] or case.quiet_seconds < SETTLE_SECONDS:
        return []
    return _cancels([*live["stop"], *live["target"], *live["exit"]], "nothing is held")


def _close(case: Case, live: dict[str, list[OrderRecord]], reason: str) -> list[Action]:
    """One order for all of it, in the group: the stop stands until it has filled."""
    exits = live["exit"]
    if not exits:
        return [PlaceExit(case.held, in_group=True, reason=reason)]
    grouped = [record for record in exits if record.oca_group]
    if len(grouped) < len(exits):
        return _cancels([record for record in exits if not record.oca_group], "all is to be closed")
    too_much = [record for record in grouped if working(record) > case.held]
    return [Modify(record.id, case.held) for record in too_much] if case.quiet_seconds >= SETTLE_SECONDS else []


def _reduce(case: Case, live: dict[str, list[OrderRecord]], keep: int) -> list[Action]:
    """First the protection shrinks to what stays, then the rest is sold: together they never exceed what is held."""
    wide: list[Action] = [Modify(record.id, keep) for record in (*live["stop"], *live["target"]) if working(record) > keep]
    surplus = case.held - keep
    # A target or stop that filled meanwhile has sold part of the surplus already.
    wide += [Modify(record.id, surplus) for record in live["exit"] if working(record) > surplus]
    if wide:
        return wide
    actions: list[Action] = [] if live["exit"] else [PlaceExit(surplus, in_group=False, reason="reduce")]
    price = case.stop or _last_stop(case.records)
    stop = next((record for record in live["stop"] if record.state != "UNKNOWN"), None)
    if stop is not None and case.stop not in (None, stop.stop_price):
        # Only the price: a refused change of it must not hold up the size, and the size never grows here.
        actions.append(Modify(stop.id, _as_it_was(stop, keep), case.stop))
    elif not live["stop"] and price is not None:
        actions.append(PlaceStop(keep, price))
    return actions


def _protect(case: Case, live: dict[str, list[OrderRecord]]) -> list[Action]:
    outside = [record for record in live["exit"] if not record.oca_group]
    if outside:  # it could sell beside a stop: it goes first, then the stop is made to fit
        return _cancels(outside, "it is to be held")
    actions: list[Action] = []
    stops = [record for record in live["stop"] if record.state != "UNKNOWN"]
    if not stops:
        if live["stop"] and case.unprotected_seconds < REPROTECT_AFTER_SECONDS:
            return []
        price = case.stop or _last_stop(case.records)
        if price is None and not case.ours:
            return []
        if price is None:
            return [*_cancels(live["entry"], "unprotected"), *_close(case, live, "there is no stop price")]
        return [*_cancels(live["entry"], "its stop is gone"), PlaceStop(case.held, price)]
    settled = case.quiet_seconds >= SETTLE_SECONDS and not live["entry"]
    first, *others = stops
    price = case.stop if case.stop is not None and case.stop != first.stop_price else None
    if price is not None or (settled and working(first) != case.held):
        # While the entry works its stop is of all that it may buy.
        most = first.quantity if live["entry"] else case.held
        actions.append(Modify(first.id, case.held if settled else _as_it_was(first, most), price))
    if settled:
        actions += [Modify(record.id, case.held) for record in live["target"] if working(record) > case.held]
        actions += _cancels(others, "one stop is enough")
        actions += _cancels(live["exit"], "it is to be held")
    return actions


def _cancels(records: list[OrderRecord], reason: str) -> list[Action]:
    return [Cancel(record.id, reason) for record in records if record.state != "INTENT"]


def _last_stop(records: tuple[OrderRecord, ...]) -> Decimal | None:
    stops = [record for record in records if record.role == "stop" and record.stop_price is not None]
    return max(stops, key=lambda r: r.created_ns).stop_price if stops else None
