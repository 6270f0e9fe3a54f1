"""What one step of the simulated market changed, gathered while it is played. Used by `simulation.py`."""

from __future__ import annotations

from collections.abc import Callable

from .instrument import Instrument
from .slots import Event, PrintEvent, TruthEvent
from .truth import TruthLog
from .types import Auction, Bar, Print, Step


class Turn:
    def __init__(self) -> None:
        self.quotes: dict[int, None] = {}
        self.books: dict[int, None] = {}
        self.repriced: dict[str, None] = {}
        self.prints: list[Print] = []
        self.bars: list[tuple[int, Bar]] = []
        self.halts: list[tuple[int, int]] = []
        self.auctions: list[Auction] = []

    def everything(self, instruments: dict[int, Instrument]) -> None:
        for con_id, instrument in instruments.items():
            self.quotes[con_id] = None
            if instrument.has_depth:
                self.books[con_id] = None
            if instrument.contract.sec_type == "STK":
                self.repriced[instrument.contract.symbol] = None

    def printer(self, con_id: int, truth: TruthLog) -> Callable[[PrintEvent], None]:
        def note(event: PrintEvent) -> None:
            self.prints.append(Print(con_id, event.ts_ns, event.price, event.size, event.exchange, event.conditions))
            if truth.enabled:
                fields = {"price": event.price, "size": event.size, "venue": event.exchange, "side": event.side,
                          "informed": event.informed, "conditions": event.conditions, "hidden": event.hidden}  # fmt: skip
                truth.write("print", event.ts_ns, con_id, fields)

        return note

    def teller(self, con_id: int, truth: TruthLog) -> Callable[[Event], None]:
        return lambda event: truth.write(event.what, event.ts_ns, con_id, event.fields) if isinstance(event, TruthEvent) else None

    def step(self, now_ns: int) -> Step:
        self.prints.sort(key=lambda made: made.ts_ns)
        self.bars.sort(key=lambda made: made[1].ts_ns)
        return Step(
            now_ns, tuple(self.quotes), tuple(self.books), tuple(self.prints), tuple(self.bars), tuple(self.halts),
            tuple(self.auctions), tuple(self.repriced),
        )  # fmt: skip
