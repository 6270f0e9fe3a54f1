"""One look at the whole system, and the alarms it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from alphatrader.contract.messages.market import Timestamps
from alphatrader.contract.messages.operations import RUNNING, Alarm, Health, RoutineRun
from alphatrader.contract.messages.options import Chain
from alphatrader.contract.messages.risk import Halt, Lease
from alphatrader.contract.modules import Module as M
from alphatrader.contract.settings.system import Watchdog
from alphatrader.core.watch.causes import BROKER, STAND_INS
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
    disk_free_bytes: int | None = None
    """Where the servers' logs and the journals stand."""
    resetting: bool = False
    """Whether this is the broker's nightly reset: losing it is no alarm until the window ends."""


LATE_NS: Final = 660 * SECOND
"""Market time. Beat makes up for what fell due in the 600 s before it came (celeryconfig's beat_cron_starting_deadline)."""
LEAST_FREE_BYTES: Final = 500_000_000
FULL_BYTES: Final = 10_000_000
"""With less than this both servers refuse writes: their alarm is the disk's."""
DISK: Final = "disk"
BROKER_MODULES: Final = ("ibkr", "execution", "emergency")
LEAST_WITHOUT_BROKER: Final = 2
"""So many of the broker's modules without it: then it is the broker, and not one connection."""
GATEWAY: Final = "gateway "
"""How a gateway's port is named."""
BEHIND_STATE: Final = (
    *("module", "restarts", "queue", "beat", "unknown orders", "order", "deliveries", "routine", "halt", BROKER),
)
FEEDS: Final = "feed"
CHAINS: Final = "chain"
BEHIND_DATA: Final = (FEEDS, CHAINS)


def unseen(sight: Sight) -> tuple[str, ...]:
    """How the names of alarms begin that this look could neither raise nor end."""
    state = BEHIND_STATE if sight.health is None else ()
    return (*state, *(BEHIND_DATA if sight.feeds is None else ()))


def missed(due_ns: Mapping[str, int], begun: Collection[str], since_ns: int, now_ns: int) -> tuple[str, ...]:
    """Routines that fell due after the watch began, and would have been begun by now. All instants are of market time."""
    return tuple(name for name, due in due_ns.items() if since_ns <= due < now_ns - LATE_NS and name not in begun)


def alarms(sight: Sight, limits: Watchdog) -> dict[str, Alarm]:
    """Alarm name -> what is wrong, in words for the operator, and what may be its cause."""
    return {alarm.name: alarm for alarm in _alarms(sight, limits)}


def _alone(name: str, text: str, *waits_for: str) -> Alarm:
    """Of something that nothing else lives on."""
    return Alarm(name, text, name, waits_for)


def _alarms(sight: Sight, limits: Watchdog) -> Iterator[Alarm]:
    for server, wrong in sight.servers.items():
        if wrong:
            text = f"The {server} server does not work: {wrong}. Opening is off; broker-side stops stand."
            yield Alarm(f"server {server}", text, f"{server} server", (DISK,))
    free = sight.disk_free_bytes
    if free is not None and free < LEAST_FREE_BYTES:
        text = f"The disk of the data folder has {free / 1e6:.0f} MB left: without any nothing is written, and nothing opens."
        yield Alarm(DISK, text, DISK, explains=free < FULL_BYTES)
    for server, share in sight.memory_share.items():
        if share >= limits.memory_alarm_share:
            yield _alone(f"memory {server}", f"The {server} server uses {share:.0%} of its memory.")
    yield from _ports(sight)
    yield from _modules(sight, limits)
    for module in sight.restarting:
        span = f"{SPAN_NS // SECOND // 60} min"
        text = f"{module} has come back {MOST} times or more within {span}: its log says why it ends."
        yield _alone(f"restarts {module}", text)
    if sight.in_session:
        yield from _feeds(sight, limits)
    for queue, late in sight.late_seconds.items():
        if late > limits.queue_late_after_seconds:
            yield _alone(f"queue {queue}", f"{queue}: a message is {late:.0f} s overdue.", M.DELIVERY, M.BEAT)
    if step := sight.clock_set_seconds:
        way = "forward" if step > 0 else "back"
        yield _alone("clock", f"This machine's clock was set {way} by {abs(step):.0f} s: every module begins anew.")
    if sight.beat_silent_seconds > limits.queue_late_after_seconds:
        silent = f"No scheduled task was done for {sight.beat_silent_seconds:.0f} s"
        yield Alarm("beat", f"{silent}: beat, the broker or the delivery worker stands.", M.BEAT, (M.DELIVERY,))
    if sight.unknown_orders:
        text = f"{sight.unknown_orders} orders are in an unknown state; opening is blocked until the broker answers."
        yield _alone("unknown orders", text, M.EXECUTION)
    for order in sight.unconfirmed_orders:
        yield _alone(f"order {order}", f"Order {order} has had no word from the broker for too long.", M.EXECUTION)
    if sight.deliveries_unknown:
        lost = f"{sight.deliveries_unknown} deliveries have an unknown end (the vendor's answer was lost); none is resent."
        yield _alone("deliveries", lost)
    for run in sight.routines:
        age = (sight.machine_ns - run.machine_ns) / SECOND
        if run.outcome == RUNNING and age > limits.queue_late_after_seconds:
            text = f"The routine {run.name} began {age:.0f} s ago and has not ended: its worker is gone."
            yield _alone(f"routine {run.name}", text)
    for name in sight.routines_missed:
        text = f"The routine {name} of this session was due and has not run: beat or its worker was away."
        yield _alone(f"routine {name}", text, M.BEAT)
    if sight.health is not None and sight.halt is None:
        yield _alone("halt unknown", "global:halt is missing: the system counts as halted.")


def _ports(sight: Sight) -> Iterator[Alarm]:
    for name in sight.closed_ports:
        if name == STAND_INS:
            text = "The sandbox's stand-ins do not answer: there is no broker and no vendor."
            yield Alarm(f"port {name}", text, STAND_INS)
        elif not (name.startswith(GATEWAY) and sight.resetting):
            yield _alone(f"port {name}", f"{name} does not listen.", BROKER if name.startswith(GATEWAY) else name)


def _modules(sight: Sight, limits: Watchdog) -> Iterator[Alarm]:
    without_broker = []
    for module, health in (sight.health or {}).items():
        alarm = _module(module, health, sight, limits)
        if alarm is None:
            continue
        if health is not None and BROKER in alarm.waits_for:
            without_broker.append(str(health.reason))
        if not (sight.resetting and module in BROKER_MODULES and health is not None and health.state == "waiting"):
            yield alarm
    if len(without_broker) >= LEAST_WITHOUT_BROKER and not sight.resetting:
        text = f"The broker cannot be reached ({without_broker[-1]}). Nothing opens; stops stand at the broker."
        yield Alarm(BROKER, text, BROKER, (STAND_INS,))


def _module(module: str, health: Health | None, sight: Sight, limits: Watchdog) -> Alarm | None:
    def ill(wrong: str) -> Alarm:
        return Alarm(f"module {module}", f"{module}: {wrong}", module)

    if health is None:
        return ill("no heartbeat: it is dead or was never started")
    age = (sight.machine_ns - health.machine_ns) / SECOND
    if age > limits.stalled_after_seconds:
        return ill(f"its heartbeat is {age:.0f} s old: it has stalled")
    return unwell(module, health.state, health.reason, health.waits_for)


def unwell(module: str, state: str, reason: str | None, waits_for: str | None) -> Alarm | None:
    """The alarm of a module that beats, if it says that it is not well."""
    if state not in ("degraded", "waiting"):
        return None
    waits = (waits_for,) if waits_for else ()
    return Alarm(f"module {module}", f"{module}: {state}: {reason}", module, waits, explains=state == "waiting" or bool(waits))


def _feeds(sight: Sight, limits: Watchdog) -> Iterator[Alarm]:
    """Each symbol's, and where several are silent the one alarm that they are part of."""
    silent: dict[str, tuple[M, list[str]]] = {FEEDS: (M.IBKR, []), CHAINS: (M.PULLS, [])}
    for alarm in _symbols(sight, limits):
        kind, _, symbol = alarm.name.partition(" ")
        silent[kind][1].append(symbol)
        yield alarm
    for kind, (module, symbols) in silent.items():
        if len(symbols) > 1:
            what = "market data" if kind == FEEDS else "fresh option chains"
            yield Alarm(f"{kind}s", f"No {what} of {', '.join(symbols)}.", kind, (module,))


def _symbols(sight: Sight, limits: Watchdog) -> Iterator[Alarm]:
    for symbol, stamps in (sight.feeds or {}).items():
        if stamps is None:
            yield _alone(f"feed {symbol}", f"No market data of {symbol}.", FEEDS, M.IBKR)
    for symbol, chain in (sight.chains or {}).items():
        if chain is None:
            yield _alone(f"chain {symbol}", f"No option chain of {symbol}.", CHAINS, M.PULLS)
        elif chain.stale:
            age = (sight.machine_ns - chain.machine_ns) / SECOND
            if age > limits.feed_stale_after_seconds:
                yield _alone(
                    f"chain {symbol}", f"The option chain of {symbol} is {age:.0f} s old: {chain.reason}.", CHAINS, M.PULLS
                )
