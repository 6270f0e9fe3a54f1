"""Which signals are alive: made, approved, refused, run out. Pure bookkeeping of one symbol; the stream writes what changed."""

from __future__ import annotations

from dataclasses import dataclass, field

from alphatrader.contract.messages.signals import Signal, SignalEvent, Strategy


@dataclass
class SignalBook:
    pending: dict[str, Signal] = field(default_factory=dict)
    """By strategy: waits for risk's verdict."""
    active: dict[str, Signal] = field(default_factory=dict)
    """By strategy: approved, until its time is over."""
    last_ns: dict[str, int] = field(default_factory=dict)
    """When each strategy last made one, market time."""

    def alive(self, strategy: Strategy) -> str | None:
        signal = self.pending.get(strategy) or self.active.get(strategy)
        return signal.id if signal is not None else None

    def add(self, signal: Signal) -> SignalEvent:
        self.pending[signal.strategy] = signal
        self.last_ns[signal.strategy] = signal.ts_ns
        return SignalEvent("new", signal)

    def verdict(self, signal_id: str, approved: bool, reason: str) -> tuple[bool, SignalEvent | None]:
        """Risk has spoken: (whether the book changed, what to tell)."""
        for strategy, signal in self.pending.items():
            if signal.id == signal_id:
                del self.pending[strategy]
                if approved:
                    self.active[strategy] = signal
                    return True, None
                return True, SignalEvent("withdrawn", signal, reason)
        return False, None

    def expire(self, now_ns: int) -> tuple[bool, list[SignalEvent]]:
        """End what has run out. Only a signal that never got a verdict is told as expired."""
        told = [
            SignalEvent("expired", signal, "no verdict in its life")
            for signal in self.pending.values()
            if now_ns >= signal.expires_ns
        ]
        ended = len(told) + sum(now_ns >= signal.expires_ns for signal in self.active.values())
        self.pending = {name: signal for name, signal in self.pending.items() if now_ns < signal.expires_ns}
        self.active = {name: signal for name, signal in self.active.items() if now_ns < signal.expires_ns}
        return ended > 0, told
