"""The plan of exits: stop and last target stand at the broker; scaling out, trailing and the time exit are wanted from here.

A third is sold at the first target, half of the rest at those between, and the target order at the broker sells what remains at
the last. Once the gain is `trail_after_r` first risks the stop follows the best mark; it never goes back. What expires today is
flat by the set time. A wanted exit of everything is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Final, Literal

from alphatrader.contract.messages.positions import Position, WantedExit

TRAIL_STEP_R: Final = Decimal("0.1")
"""The stop is moved in steps of this much of the first risk: each change at the broker may fail."""


@dataclass(frozen=True, slots=True)
class Plan:
    hold: int
    stop: Decimal | None
    targets_hit: int
    best_mark: Decimal | None
    reason: str
    urgency: Literal["patient", "now"]


@dataclass(frozen=True, slots=True)
class Trailing:
    after_r: Decimal
    share: Decimal


def remaining(opened: int, hit: int, targets: int) -> int:
    """Contracts to keep after `hit` of so many targets: the first sells a third, the next half of the rest, the last all."""
    keep = opened
    for number in range(1, hit + 1):
        if number == targets:
            return 0
        keep -= keep // (3 if number == 1 else 2)
    return keep


def plan(
    position: Position,
    last: WantedExit | None,
    *,
    flat_reason: str | None,
    trailing: Trailing,
    tick: Decimal,
    bid: Decimal | None = None,
) -> Plan:
    """What should be held of a position and where its stop should stand. `flat_reason`: why all must go now, if so.

    `bid`: what it could be sold for now. A stop is raised only under it, or it would sell at once; where it is not said, under
    the mark."""
    best = position.best_mark
    if position.mark is not None:
        best = position.mark if best is None else max(best, position.mark)
    if position.quantity <= 0:
        reason = "closed" if position.quantity == 0 else f"short {-position.quantity}: more was sold than held"
        return Plan(0, None, position.targets_hit, best, reason, "now")
    if last is not None and last.hold == 0 and last.stop is not None:
        return Plan(0, last.stop, position.targets_hit, best, last.reason, last.urgency)
    if flat_reason is not None:
        return Plan(0, position.stop, position.targets_hit, best, flat_reason, "now")
    hit = position.targets_hit
    if position.mark is not None:
        hit = max(hit, sum(position.mark >= target for target in position.targets[:-1]))
    stop = _trailed(position, best, trailing, tick, bid)
    if hit == 0:
        hold = max(position.planned_quantity, position.quantity)
        reason = "stop and targets of the signal"
    else:
        hold = remaining(position.opened_quantity, hit, len(position.targets))
        reason = f"target {hit} of {len(position.targets)} reached: keep {hold} of {position.opened_quantity}"
    if stop != position.stop:
        reason = f"{reason}; stop trails the best mark {best}"
    return Plan(hold, stop, hit, best, reason, "patient")


def _trailed(position: Position, best: Decimal | None, trailing: Trailing, tick: Decimal, bid: Decimal | None) -> Decimal | None:
    if position.stop is None or position.initial_stop is None or best is None or position.mark is None:
        return position.stop
    risk = position.average_price - position.initial_stop
    gain = best - position.average_price
    if risk <= 0 or gain < trailing.after_r * risk:
        return position.stop
    raised = ((position.average_price + trailing.share * gain) / tick).to_integral_value(ROUND_FLOOR) * tick
    step = max(tick, TRAIL_STEP_R * risk)
    under = position.mark if bid is None else min(bid, position.mark)
    return raised if raised >= position.stop + step and raised < under else position.stop


def wanted(position: Position, plan: Plan, last: WantedExit | None, machine_ns: int) -> WantedExit | None:
    """The next version of the wanted exit, or None where nothing changed for the broker."""
    if last is not None and (last.hold, last.stop) == (plan.hold, plan.stop):
        return None
    return WantedExit(
        position_id=position.id,
        contract=position.contract,
        hold=plan.hold,
        stop=plan.stop,
        reason=plan.reason,
        urgency=plan.urgency,
        version=last.version + 1 if last else 1,
        machine_ns=machine_ns,
    )
