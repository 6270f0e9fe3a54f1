"""What a replay decided, in the order of market time: signals and their ends, and which gate stopped each strategy.

Read from what `signals` writes; used by `alphatrader replay`. A strategy's gate is told when it is another one than before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.signals import Signal, SignalEvent, WhyNot
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.store import decode


@dataclass(frozen=True)
class Decision:
    ts_ns: int
    symbol: str
    strategy: str
    what: str
    """`new`, `expired`, `withdrawn`, or the gate that stopped it."""
    detail: str

    def __str__(self) -> str:
        return (
            f"{exchange_datetime(self.ts_ns):%H:%M:%S.%f}"[:-3]
            + f" {self.symbol:<5} {self.strategy:<6} {self.what:<14} {self.detail}"
        )


class Decisions:
    def __init__(self, tell: Callable[[str], None] | None) -> None:
        """`tell` hears each decision as it is made."""
        self._tell = tell
        self._made: list[Decision] = []
        self._stopped: dict[tuple[str, str], str] = {}

    def in_order(self) -> list[Decision]:
        return sorted(self._made, key=lambda decision: decision.ts_ns)

    def take(self, market_ns: int, commands: list[list[object]]) -> None:
        """What a module wrote together."""
        for command in commands:
            name, content = str(command[1]), command[-1]
            if name == k.EVENTS_SIGNALS.pattern and isinstance(content, bytes):
                event: SignalEvent = decode(k.EVENTS_SIGNALS, content)
                made = event.signal.ts_ns if event.kind == "new" else market_ns
                self._add(Decision(made, event.signal.symbol, event.signal.strategy, event.kind, _said(event)))
            elif command[0] == "SET" and k.SIGNALS_WHY.parse(name) is not None and isinstance(command[2], bytes):
                self._take_why(decode(_WHY, command[2]))

    def _take_why(self, why: WhyNot) -> None:
        for strategy, gates in why.by_strategy.items():
            stopped = next((gate for gate in gates if not gate.passed), None)
            name = stopped.name if stopped is not None else ""
            if self._stopped.get((why.symbol, strategy)) == name:
                continue
            self._stopped[why.symbol, strategy] = name
            if stopped is not None:
                detail = f"{stopped.value}; needs {stopped.needed}"
                self._add(Decision(why.ts_ns, why.symbol, strategy, f"no: {stopped.name}", detail))

    def _add(self, decision: Decision) -> None:
        self._made.append(decision)
        if self._tell is not None:
            self._tell(str(decision))


_WHY: Key[WhyNot] = k.SIGNALS_WHY


def _said(event: SignalEvent) -> str:
    signal: Signal = event.signal
    if event.kind != "new":
        return f"{signal.id}: {event.reason}"
    return (
        f"{signal.id}: {signal.direction} {signal.quantity} x {signal.contract.occ} at {signal.entry:.2f}, "
        f"stop {signal.stop:.2f}, confidence {signal.confidence:.1f}"
    )
