"""One look at the whole system, and the alarms it means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from alphatrader.contract.messages.market import Timestamps
from alphatrader.contract.messages.operations import RUNNING, Health, RoutineRun
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.messages.risk import Halt, Lease
from alphatrader.contract.settings.system import Watchdog
from alphatrader.core.watch.restarts import MOST, SECOND, SPAN_NS


@dataclass(frozen=True)
class Sight:
    """What was seen at one instant. A server that did not answer leaves everything behind it unknown."""

    machine_ns: int
    in_session: bool
    servers: dict[str, str | None]
    """Server -> what is wrong with it; None where it answers."""
    memory_share: dict[str, float]
    health: dict[str, Health | None] | None = None
    """Module -> its heartbeat; None where the state server is away."""
    restarting: tuple[str, ...] = ()
    """Modules that end and come back again and again."""
    feeds: dict[str, Timestamps | None] | None = None
    chains: dict[str, Chain | None] | None = None
    late_seconds: dict[str, float] = field(default_factory=dict)
    """Queue -> machine seconds its earliest message is overdue."""
    clock_set_seconds: float = 0.0
    """By how much the machine's clock was set lately, forward (+) or back."""
    closed_ports: tuple[str, ...] = ()
    """What should listen and does not."""
    beat_silent_seconds: float = 0.0
    """How long no scheduled task has been done."""
    halt: Halt | None = None
    lease: Lease | None = None
    unknown_orders: int = 0
    unconfirmed_orders: tuple[str, ...] = ()
    deliveries_unknown: int = 0
    routines: tuple[RoutineRun, ...] = ()
    """Of the present session, as far as they have begun."""
    routines_missed: tuple[str, ...] = ()
    """Of the present session: fell due under this watch, and were not begun within LATE_NS."""
    resetting: bool = False
    """Whether this is the broker's nightly reset: losing it is no alarm until the window ends."""


LATE_NS: Final = 660 * SECOND
"""Market time. Beat makes up for what fell due in the 600 s before it came (celeryconfig's beat_cron_starting_deadline)."""
BROKER_MODULES = ("ibkr", "execution", "emergency")
BEHIND_STATE = ("module", "restarts", "queue", "beat", "unknown orders", "order", "deliveries", "routine", "halt")
BEHIND_DATA = ("feed", "chain")


def unseen(sight: Sight) -> tuple[str, ...]:
    """How the names of alarms begin that this look could neither raise nor end."""
    state = BEHIND_STATE if sight.health is None else ()
    return (*state, *(BEHIND_DATA if sight.feeds is None else ()))


def missed(due_ns: Mapping[str, int], begun: Collection[str], since_ns: int, now_ns: int) -> tuple[str, ...]:
    """Routines that fell due after the watch began, and would have been begun by now. All instants are of market time."""
    return tuple(name for name, due in due_ns.items() if since_ns <= due < now_ns - LATE_NS and name not in begun)


def alarms(sight: Sight, limits: Watchdog) -> dict[str, str]:
    """Alarm name -> what is wrong, in words for the operator."""
    found: dict[str, str] = {}
    for server, wrong in sight.servers.items():
        if wrong:
            found[f"server {server}"] = f"The {server} server does not work: {wrong}. Opening is off; broker-side stops stand."
    for server, share in sight.memory_share.items():
        if share >= limits.memory_alarm_share:
            found[f"memory {server}"] = f"The {server} server uses {share:.0%} of its memory."
    for module, health in (sight.health or {}).items():
        wrong = _module(sight, health, limits)
        waits_for_reset = sight.resetting and module in BROKER_MODULES and health is not None and health.state == "waiting"
        if wrong and not waits_for_reset:
            found[f"module {module}"] = f"{module}: {wrong}"
    for module in sight.restarting:
        span = f"{SPAN_NS // SECOND // 60} min"
        found[f"restarts {module}"] = f"{module} has come back {MOST} times or more within {span}: its log says why it ends."
    if sight.in_session:
        found |= _feeds(sight, limits)
    for queue, late in sight.late_seconds.items():
        if late > limits.queue_late_after_seconds:
            found[f"queue {queue}"] = f"{queue}: a message is {late:.0f} s overdue."
    if step := sight.clock_set_seconds:
        found["clock"] = (
            f"This machine's clock was set {'forward' if step > 0 else 'back'} by {abs(step):.0f} s: every module begins anew."
        )
    for name in sight.closed_ports:
        found[f"port {name}"] = f"{name} does not listen."
    if sight.beat_silent_seconds > limits.queue_late_after_seconds:
        found["beat"] = (
            f"No scheduled task was done for {sight.beat_silent_seconds:.0f} s: beat, the broker or the delivery worker stands."
        )
    if sight.unknown_orders:
        found["unknown orders"] = (
            f"{sight.unknown_orders} orders are in an unknown state; opening is blocked until the broker answers."
        )
    for order in sight.unconfirmed_orders:
        found[f"order {order}"] = f"Order {order} has had no word from the broker for too long."
    if sight.deliveries_unknown:
        found["deliveries"] = (
            f"{sight.deliveries_unknown} deliveries have an unknown end (the vendor's answer was lost); none is resent."
        )
    for run in sight.routines:
        age = (sight.machine_ns - run.machine_ns) / SECOND
        if run.outcome == RUNNING and age > limits.queue_late_after_seconds:
            found[f"routine {run.name}"] = f"The routine {run.name} began {age:.0f} s ago and has not ended: its worker is gone."
    for name in sight.routines_missed:
        found[f"routine {name}"] = f"The routine {name} of this session was due and has not run: beat or its worker was away."
    if sight.health is not None and sight.halt is None:
        found["halt unknown"] = "global:halt is missing: the system counts as halted."
    return found


def _module(sight: Sight, health: Health | None, limits: Watchdog) -> str | None:
    if health is None:
        return "no heartbeat: it is dead or was never started"
    age = (sight.machine_ns - health.machine_ns) / SECOND
    if age > limits.stalled_after_seconds:
        return f"its heartbeat is {age:.0f} s old: it has stalled"
    if health.state in ("degraded", "waiting"):
        return f"{health.state}: {health.reason}"
    return None


def _feeds(sight: Sight, limits: Watchdog) -> dict[str, str]:
    found = {}
    for symbol, stamps in (sight.feeds or {}).items():
        if stamps is None:
            found[f"feed {symbol}"] = f"No market data of {symbol}."
    for symbol, chain in (sight.chains or {}).items():
        if chain is None:
            found[f"chain {symbol}"] = f"No option chain of {symbol}."
        elif chain.stale:
            age = (sight.machine_ns - chain.machine_ns) / SECOND
            if age > limits.feed_stale_after_seconds:
                found[f"chain {symbol}"] = f"The option chain of {symbol} is {age:.0f} s old: {chain.reason}."
    return found
